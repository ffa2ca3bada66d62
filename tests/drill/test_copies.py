# SPDX-License-Identifier: GPL-2.0-or-later
"""The continuity drill's comparison of consoles: made-up ones in, the verdict out."""

import unittest

from remus_drill import copies

HOOK = "DRILL-HOOK activation=1 reseeded=1"
FORK = "[   12.3] random: crng reseeded due to virtual machine fork"


def sample(number, value, real=0):
    return f"SAMPLE {number} {real or 1000 + number} {number} {value:064x}"


def console(*lines):
    return "\r\n".join(lines) + "\r\n"


def copy(name, renewal, *lines):
    return copies.Copy(name, console(*lines), renewal)


class Consoles(unittest.TestCase):
    def test_before_and_after(self):
        c = copy("c", "agent", "f77 half a line", sample(5, 0xa), HOOK, sample(6, 0xb), sample(7, 0xc))
        # the first line after the word of the renewal may have been drawn before it
        self.assertEqual((list(c.before), list(c.after), c.renewed), ([5, 6], [7], True))
        self.assertFalse(copy("c", "vmgenid", HOOK).renewed)
        self.assertTrue(copy("c", "vmgenid", FORK).renewed)
        self.assertFalse(copy("c", "none", HOOK, FORK).renewed)

    def test_half_a_sample_is_none(self):
        c = copy("c", "none", sample(5, 1)[:-1], sample(6, 2) + "x", "AMPLE 7 7 7 " + "0" * 64, sample(8, 3))
        self.assertEqual(list(c.draws()), [8])

    def test_clock(self):
        self.assertEqual(copy("c", "none", sample(1, 1, 500), sample(2, 2, 500), sample(3, 3, 600)).backwards_ns, 0)
        self.assertEqual(copy("c", "none", sample(1, 1, 500), sample(2, 2, 400), sample(3, 3, 399)).backwards_ns, 100)


class Verdicts(unittest.TestCase):
    def test_nobody_renews(self):
        same = [sample(n, n) for n in range(5, 15)]
        a, b = copy("a", "none", *same), copy("b", "none", *same[1:])
        self.assertEqual(copies.same_draws(a, b), (9, 9))
        self.assertEqual(copies.failures([a, b], "none"), [])
        # A drill that cannot show that they are equal proves nothing when they differ.
        c = copy("c", "none", *[sample(n, n + 100) for n in range(5, 15)])
        self.assertEqual(len(copies.failures([a, c], "none")), 1)
        d = copy("d", "none", *[sample(n, n) for n in range(20, 25)])
        self.assertIn("could not tell", copies.failures([a, d], "none")[0])

    def test_renewed(self):
        def renewed(name, base):
            return copy(name, "agent", sample(5, 5), HOOK, *[sample(n, n + base) for n in range(6, 12)])
        self.assertEqual(copies.failures([renewed("a", 100), renewed("b", 200)], "agent"), [])
        found = copies.failures([renewed("a", 100), renewed("b", 101)], "agent")  # the same stream, shifted by one
        self.assertEqual(len(found), 1)
        self.assertIn("after they were renewed", found[0])

    def test_renewed_too_late(self):
        """One that drew on with the old generator meets what the other one drew before it was renewed."""
        a = copy("a", "agent", HOOK, *[sample(n, n) for n in range(5, 9)])
        b = copy("b", "agent", *[sample(n, n) for n in range(5, 9)], HOOK, sample(9, 99), sample(10, 100))
        self.assertEqual(len(copies.failures([a, b], "agent")), 1)

    def test_bad_memory(self):
        a = copy("a", "none", *[sample(n, n) for n in range(5, 9)])
        b = copy("b", "none", *[sample(n, n) for n in range(5, 9)], "DRILL-BAD page 7 is stale, expected 1, found 2")
        self.assertEqual(copies.failures([a, b], "none"),
                         ["b found its own memory bad (I3): DRILL-BAD page 7 is stale, expected 1, found 2"])

    def test_not_renewed(self):
        a = copy("a", "agent", HOOK, *[sample(n, n) for n in range(5, 9)])
        self.assertEqual(copies.failures([a, copy("b", "agent", sample(5, 55))], "agent"), ["b was not renewed by agent"])
        self.assertEqual(copies.failures([a, copy("b", "agent", sample(5, 55), HOOK)], "agent"),
                         ["b drew nothing after it was renewed"])
        self.assertEqual(copies.failures([a, copy("b", "agent", HOOK)], "agent"), ["b wrote no samples on its console"])


if __name__ == "__main__":
    unittest.main()
