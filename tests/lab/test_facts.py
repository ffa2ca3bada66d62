# SPDX-License-Identifier: GPL-2.0-or-later
"""What a dom0 says about itself, and what of it counts as left behind."""

import unittest

from remus_lab import cases, facts

CLEAN = """domain 3 pvh1 running off
link lo
link vif3.0
link xenbr0
key /local/domain/3/control/shutdown = ""
process 211 S remusd
file /run/remus/control
file /run/remus/arbiter
"""
RELAYED = CLEAN + """process 240 S remus-primary
file /run/remus/2.session
file /run/remus/primary-2
"""


class Left(unittest.TestCase):
    def left(self, text, here=True):
        return facts.left(facts.read(text), "pvh1", here)

    def test_nothing(self):
        self.assertEqual(self.left(CLEAN), [])
        self.assertEqual(self.left(RELAYED), [])

    def test_one_line_more(self):
        for line, word in (("domain 4 pvh1--incoming paused off", "pvh1--incoming"), ("domain 2 - dying off", "dying"),
                           ("qdisc plug 7265: dev remus-5 root", "plug"), ("link remus-5", "remus-5"),
                           ("link vif2.0", "vif2.0"), ('key /local/domain/3/remus = "240"', "240"),
                           ('key /local/domain/3/control/shutdown = "suspend"', "suspend"),
                           ("process 250 Z remus-backup", "zombie"), ("process 251 S libxl-save-help", "libxl"),
                           ("process 252 S remusd", "252"),
                           ("socket ESTAB 0 0 10.78.0.1:7368 10.78.0.2:40000", "7368"),
                           ("file /run/remus/3.session.new", "3.session.new")):
            found = self.left(RELAYED + line + "\n")
            self.assertEqual(len(found), 1, (line, found))
            self.assertIn(word, found[0])

    def test_the_guest_itself(self):
        for state in ("paused off", "suspended off", "running on", "running none"):
            self.assertEqual(len(self.left(CLEAN.replace("running off", state))), 1, state)
        self.assertEqual(len(self.left(CLEAN.replace("domain 3 pvh1 running off\nlink lo\nlink vif3.0\n", ""))), 1)

    def test_elsewhere(self):
        """Where the guest isn't, its relay, its keeper and itself are too much."""
        self.assertEqual(len(self.left(RELAYED, here=False)), 4)
        self.assertEqual(len(self.left(CLEAN + "process 9 S remus-xen-keep\n", here=False)), 2)
        self.assertEqual(self.left(CLEAN + "process 9 S remus-xen-keep\n"), [])

    def test_of_the_survivor(self):
        """What goes with a guest that was activated here is no litter, and is where it isn't."""
        own = ('key /local/domain/1/data/remus = ""\nkey /local/domain/1/remus-time-offset = "-1"\n'
               "file /run/remus/backup-1/entropy\n")
        self.assertEqual(self.left(RELAYED + own), [])
        self.assertEqual(len(self.left(RELAYED + own, here=False)), 4 + 3)
        self.assertEqual(len(self.left(RELAYED + 'key /local/domain/1/data/remus/other = ""\n')), 1)

    def test_closing_connections(self):
        self.assertEqual(self.left(CLEAN + "socket FIN-WAIT-1 0 9 10.78.0.1:7368 10.78.0.2:40000\n"), [])


class Cases(unittest.TestCase):
    def test_table(self):
        self.assertEqual(len(set(cases.NAMES)), len(cases.NAMES))
        for case in cases.CASES:
            self.assertIn(case.record, ("none", "one"), case.name)
            self.assertTrue(set(case.survivors) <= set("ab"), case.name)
            self.assertTrue(set(case.options) <= {"reboot", "stays", "mend", "poll", "back"}, case.name)


if __name__ == "__main__":
    unittest.main()
