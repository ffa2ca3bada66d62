# SPDX-License-Identifier: GPL-2.0-or-later
"""Named steps, each with a deadline. A step that fails says which one it was, and how long it had."""

import contextlib
import time

from remus_drill.waiting import wait_for

from . import LabError


class Step:
    """What is left of a step's time."""

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds
        self.began = time.monotonic()

    def took(self):
        return time.monotonic() - self.began

    def left(self, at_most=None):
        """Seconds; LabError when there are none."""
        rest = self.seconds - self.took()
        if rest <= 0:
            raise LabError(f"no end within {self.seconds:g} s")
        return rest if at_most is None else min(rest, at_most)

    def wait(self, what, condition, every=0.05):
        """Until @condition is true, but no longer than the step may take."""
        return wait_for(what, self.left(), condition, every)


class Steps:
    """Prints each step when it has ended."""

    def __init__(self, say):
        self.say = say
        self.began = time.monotonic()

    def note(self, text):
        self.say(f"{time.monotonic() - self.began:6.1f}  {text}")

    @contextlib.contextmanager
    def step(self, name, seconds):
        step = Step(name, seconds)
        try:
            yield step
        except LabError as e:
            raise LabError(f"step \"{name}\" failed after {step.took():.1f} s (it had {seconds:g}): {e}") from e
        self.note(f"{name} ({step.took():.1f} s)")
