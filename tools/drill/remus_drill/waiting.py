# SPDX-License-Identifier: GPL-2.0-or-later
"""Every wait of the drill: it has a deadline, and says what it waited for when that passes."""

import time

from . import DrillError


def wait_for(what, seconds, condition, every=0.02):
    """Poll @condition until it returns something true; return that. A few polls a second, never a busy loop."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise DrillError(f"waited {seconds:g} s for {what}, in vain")
        time.sleep(every)
