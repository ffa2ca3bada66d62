# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines, configurations, names, deadlines."""

import contextlib
import io
import unittest

from remus_lab import LabError, guest, options, place, steps
from remus_lab.machine import Machine


class Options(unittest.TestCase):
    def refuse(self, *arguments):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            options.parse(arguments)

    def test_run_keeps_the_command(self):
        opts = options.parse(["run", "--timeout", "3", "a", "ls", "/"])
        self.assertEqual((opts.host, opts.command, opts.timeout), ("a", ["ls", "/"], 3))

    def test_ranges(self):
        self.refuse("up", "--memory", "100")
        self.refuse("drill", "--guest-memory", "64", "--region", "32")
        self.refuse("run", "c", "ls")
        self.refuse()

    def test_continuity(self):
        self.assertIsNone(options.parse(["drill"]).continuity)
        self.assertEqual(options.parse(["drill", "--continuity"]).continuity, "all")
        self.assertEqual(options.parse(["drill", "--continuity=none"]).continuity, "none")
        self.refuse("drill", "--continuity=vmgenid")
        self.refuse("drill", "--continuity", "--kill", "link")
        self.refuse("drill", "--continuity", "--no-agent")

    def test_names(self):
        for bad in ("", "a/b", ".", "..", "-x", "a b", "x" * 60):
            with self.assertRaises(LabError):
                place.Place(bad)
        self.assertNotEqual(place.Place("one").folder, place.Place("two").folder)


class Plans(unittest.TestCase):
    def test_guest(self):
        text = guest.config({"type": "pv", "memory": 96, "dirty": 7, "region": 2})
        self.assertIn('name="pv1"\ntype="pv"\n', text)
        self.assertIn("memory=96\n", text)
        self.assertIn("remus.dirty=7 ", text)
        self.assertIn("remus.sample_ms=0", text)
        self.assertIn("remus.sample_ms=100", guest.config({"type": "pvh", "memory": 96, "dirty": 7, "region": 2,
                                                           "sample_ms": 100}))

    def test_host(self):
        command = Machine("b", "/x").command({
            "dom0_memory": 300, "memory": 700, "vcpus": 2, "xen": "/xen", "dom0": "/d0", "xen_arguments": "more",
            "vmlinux": "/k", "dom0_modules": "one,two"})
        initrd = command[command.index("-initrd") + 1]
        self.assertIn("lab.host=b lab.repl=10.78.0.2/24 lab.modules=one,,two,/d0", initrd)
        self.assertTrue(command[command.index("-append") + 1].endswith("dom0_mem=300M,max:300M dom0_max_vcpus=2 more"))

    def test_xl_list(self):
        text = ("Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
                "Domain-0                                     0   512     1     r-----      35.8\n"
                "pvh1                                         1   128     1     ------     230.1\n"
                "pvh1--incoming                               4   128     1     --p---       0.0\n")
        self.assertEqual(guest.domains(text), [("pvh1", 1, "------"), ("pvh1--incoming", 4, "--p---")])
        self.assertEqual(guest.domains(""), [])


class Deadlines(unittest.TestCase):
    def test_a_failed_step_is_named(self):
        with self.assertRaisesRegex(LabError, 'step "tea" failed after .* no water'):
            with steps.Steps(lambda _: None).step("tea", 3):
                raise LabError("no water")

    def test_no_time_left(self):
        with self.assertRaisesRegex(LabError, 'step "tea".*no end within 0 s'):
            with steps.Steps(lambda _: None).step("tea", 0) as step:
                step.left()


if __name__ == "__main__":
    unittest.main()
