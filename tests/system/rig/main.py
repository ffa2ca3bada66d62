# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a file's tests and say how it went: exit 0, 1, or 77 when all of them were skipped."""

import fcntl
import os
import sys
import time
import unittest

from . import SKIP


class Result(unittest.TextTestResult):
    """One line a test, with its time."""

    def startTest(self, test):
        self.moment = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.stream.writeln(f"ok ({time.monotonic() - self.moment:.1f} s)")


def main(alone=True):
    """@alone: one such file at a time in a build, however many jobs make was told to run."""
    with open(os.path.join(os.environ.get("REMUS_BUILD", os.getcwd()), "system-tests.lock"), "w", encoding="ascii") as lock:
        if alone:
            fcntl.flock(lock, fcntl.LOCK_EX)
        run()


def run():
    program = unittest.main(module="__main__", exit=False, verbosity=2,
                            testRunner=unittest.TextTestRunner(resultclass=Result, verbosity=2))
    result = program.result
    bad, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"# total {result.testsRun}, passed {result.testsRun - bad - skipped}, failed {bad}, skipped {skipped}")
    for test, reason in result.skipped:
        print(f"# skipped {test.id()}: {reason}")
    sys.exit(1 if bad else SKIP if skipped == result.testsRun else 0)
