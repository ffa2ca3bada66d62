# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix by itself: no cell is silently left out, each says what it does, and its seed makes it again."""

import io
import json
import os
import tempfile
import time
import unittest
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

from remus_drill import DrillError, blows, cells, matrix, options, ordeal


class Cells(unittest.TestCase):
    def test_all_are_there(self):
        everything = cells.all_cells()
        self.assertEqual(len(everything), len(cells.FAULTS) * len(cells.PHASES) * 3)
        self.assertEqual(len({c.name for c in everything}), len(everything))

    def test_each_is_held_or_says_why_not(self):
        for cell in cells.all_cells():
            with self.subTest(cell=cell.name):
                if cell.why_not() is not None:
                    self.assertGreater(len(cell.why_not()), 20)
                    continue
                self.assertTrue(set(cell.survivors()) <= set("ab") and cell.survivors())
                self.assertIn(cell.goes_on(), (True, False, None))
                self.assertIn(cell.fault, blows.TO_HOST if cell.host else blows.TO_ARBITER)
                trigger = cell.trigger(7)
                if trigger:
                    self.assertIn(trigger.host, ("a", "b"))
                    self.assertGreater(trigger.nth, 0)
                    self.assertTrue(trigger.point.split("-")[0] in ("primary", "backup", "engine"))
                else:
                    self.assertEqual((cell.side, cell.phase), ("arbiter", "failover"))

    def test_few_are_left_out(self):
        left_out = {(c.fault, c.side, c.phase) for c in cells.all_cells() if c.why_not()}
        self.assertEqual({side for _, side, _ in left_out if side == "primary"}, {"primary"})
        self.assertEqual({(f, p) for f, s, p in left_out if s == "primary"},
                         {("kill-host", "setup"), ("kill-host", "full-copy")})
        self.assertEqual({(f, p) for f, s, p in left_out if s == "backup"},
                         {("cut-both", "copying"), ("cut-both", "releasing")})
        self.assertEqual({f for f, s, _ in left_out if s == "arbiter"}, {"kill-host", "corrupt-tls", "enomem"})

    def test_who_is_held_at_its_own_point(self):
        for name, host, action in (("kill.copying.primary", "a", "kill"), ("kill.copying.backup", "a", "stop"),
                                   ("kill.sending.backup", "b", "kill"), ("kill-host.sending.backup", "b", "stop"),
                                   ("enospc.before-ack.primary", "a", "fail=ENOSPC"),
                                   ("enomem.releasing.backup", "a", "stop"), ("cut-both.failover.backup", "b", "stop"),
                                   ("kill.setup.arbiter", "a", "stop")):
            trigger = cells.find(name).trigger(1)
            self.assertEqual((trigger.host, trigger.action), (host, action), name)

    def test_a_seed_makes_the_same_cell(self):
        one, other = cells.find("kill.copying.primary"), cells.find("kill.copying.backup")
        self.assertEqual(one.seed(1), cells.find(one.name).seed(1))
        self.assertNotEqual(one.seed(1), one.seed(2))
        self.assertNotEqual(one.seed(1), other.seed(1))
        self.assertEqual(one.trigger(one.seed(1)), one.trigger(one.seed(1)))

    def test_unknown(self):
        self.assertIsNone(cells.find("kill.copying"))


class Choice(unittest.TestCase):
    def test_patterns(self):
        self.assertEqual([c.name for c in matrix.choose(["kill.copying.*"], 0, 1)],
                         ["kill.copying.primary", "kill.copying.backup", "kill.copying.arbiter"])
        with self.assertRaises(DrillError):
            matrix.choose(["kill.copying.*", "nothing.*"], 0, 1)

    def test_a_sample_is_the_seed_s(self):
        one = matrix.choose(None, 8, 5)
        self.assertEqual([c.name for c in one], [c.name for c in matrix.choose(None, 8, 5)])
        self.assertNotEqual([c.name for c in one], [c.name for c in matrix.choose(None, 8, 6)])
        self.assertEqual(len(one), 8)
        self.assertTrue(all(c.why_not() is None for c in matrix.choose(None, 60, 3)))

    def test_options(self):
        self.assertEqual(options.parse(["--matrix"]).seed, 1)
        for wrong in (["--only", "x"], ["--matrix", "--kill", "host", "--runs", "2"], ["--matrix", "--sample", "-1"]):
            with self.assertRaises(SystemExit), open(os.devnull, "w", encoding="ascii") as null:
                with redirect_stderr(null):
                    options.parse(wrong)


def passes(cell):
    return {"result": "pass", "survivor": "a", "goes_on": True, "seconds": 1.0, "failures": [], "cell": cell}


class Matrix(unittest.TestCase):
    """With an inner process that does nothing."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.held, self.answers = [], {}
        self.said = []

    def one_run(self, plan, place):
        os.mkdir(place)
        self.held.append(plan["cell"])
        answer = self.answers.get(plan["cell"], passes(plan["cell"]))
        if isinstance(answer, DrillError):
            raise answer
        return {"result": answer, "text": ["text"]}

    def hold(self, *arguments):
        out = io.StringIO()
        opts = options.parse(["--matrix", *arguments])
        with redirect_stdout(out):
            good = matrix.hold(opts, self.folder, self.one_run, self.said.append)
        for place in os.listdir(self.folder):
            if place.startswith("run-"):
                os.rmdir(os.path.join(self.folder, place))
        return good, out.getvalue()

    def test_passes(self):
        good, text = self.hold("--only", "kill.*.primary", "--only", "kill-host.setup.*")
        self.assertTrue(good)
        self.assertEqual(len(self.held), 9)
        self.assertEqual(text.splitlines()[-1], "9 passed, 0 failed, 2 not applicable")
        self.assertIn("| kill | primary | a+ | a+ |", text)
        self.assertIn("| kill-host | primary | n/a 1 |", text)
        self.assertIn("not applicable: kill-host.setup.primary: nothing is committed", "\n".join(self.said))

    def test_fails(self):
        self.answers["kill.sending.primary"] = {**passes(""), "result": "fail", "failures": ["it was bad"]}
        self.answers["kill.setup.primary"] = DrillError("it broke down")
        good, text = self.hold("--only", "kill.*.primary")
        self.assertFalse(good)
        self.assertEqual(text.splitlines()[-1], "6 passed, 2 failed, 0 not applicable")
        self.assertIn("| kill | primary | **FAIL** | a+ | a+ | **FAIL** |", text)
        self.assertIn("again: remus-drill --matrix --only kill.sending.primary --seed 1", self.said)
        self.assertIn("it broke down", "\n".join(self.said))

    def test_goes_on_where_it_was(self):
        results = ["--results", os.path.join(self.folder, "results"), "--only", "kill.*.primary"]
        self.answers["kill.sending.primary"] = {**passes(""), "result": "fail", "failures": ["it was bad"]}
        self.assertFalse(self.hold(*results)[0])
        self.held.clear()
        self.answers.clear()
        good, text = self.hold(*results)
        self.assertTrue(good)
        self.assertEqual(self.held, ["kill.sending.primary"])
        self.assertEqual(text.splitlines()[-1], "8 passed, 0 failed, 0 not applicable")
        self.held.clear()
        self.assertTrue(self.hold(*results, "--seed", "2")[0])
        self.assertEqual(len(self.held), 8)

    def test_results_that_are_none(self):
        path = os.path.join(self.folder, "results")
        with open(path, "w", encoding="ascii") as f:
            f.write(json.dumps({"cell": "x"}) + "\n")
        with self.assertRaises(DrillError):
            matrix.read_results(path)

    def test_interrupted(self):
        chosen = matrix.choose(["kill.*.primary"], 0, 1)
        self.assertEqual(matrix.summary({}, chosen), "0 passed, 0 failed, 0 not applicable, 8 not held")


class Ordeal(unittest.TestCase):
    """What counts as decided."""

    def ordeal(self, guests, a, b, late=10.0):
        made = object.__new__(ordeal.Ordeal)
        made.client = SimpleNamespace(check=lambda: None)
        made.a, made.b = "a", "b"
        made.domain = {"a": a, "b": b}.get
        made.guests = lambda: dict(zip("ab", guests))
        made.blow = SimpleNamespace(hold=0.0)
        made.struck = time.monotonic() - late
        made.goes_on = None
        return made

    def test_decided(self):
        on = {"protected": True, "state": "protected"}, {"protected": True, "state": "standby"}
        for guests, a, b, late, decided, goes_on in (
                ((1, 0), {"state": "solo"}, {}, 10, True, False),
                ((1, 0), {"state": "claiming"}, {}, 10, False, False),
                ((0, 1), {"state": "discarded"}, {"state": "active"}, 10, True, False),
                ((0, 1), {}, {"state": "claiming"}, 10, False, False),
                ((1, 1), *on, 10, True, True),
                ((1, 1), *on, 1, False, True),
                ((1, 1), {"state": "claiming"}, {"state": "claiming"}, 10, False, False),
                ((1, 1), on[0], {"state": "active"}, 10, False, False),
                ((0, 0), {}, {}, 10, False, False)):
            made = self.ordeal(guests, a, b, late)
            self.assertEqual((bool(made.is_decided()), made.goes_on), (decided, goes_on), (guests, a, b, late))


if __name__ == "__main__":
    unittest.main()
