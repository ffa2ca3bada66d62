# SPDX-License-Identifier: GPL-2.0-or-later
"""Which libraries a program needs, and the tables that modprobe reads."""

import struct
import sys
import unittest

from remus_drill import assets
from remus_lab import LabError, elf, modules


class Needed(unittest.TestCase):
    def test_a_real_program(self):
        with open(sys.executable, "rb") as f:
            names = elf.needed(f.read())
        self.assertIn("libc.so.6", names)
        self.assertTrue(any("ld-linux" in n for n in names))

    def test_a_script_needs_nothing(self):
        self.assertEqual(elf.needed(b"#!/bin/sh\n"), [])

    def test_cut_short(self):
        with open(sys.executable, "rb") as f:
            data = f.read(4096)
        for size in (6, 30, 60, 100):
            with self.assertRaises(LabError):
                elf.needed(data[:size])

    def test_no_string_table(self):
        head = b"\x7fELF\x02\x01" + bytes(26) + struct.pack("<Q", 64) + bytes(14)
        head += struct.pack("<HH", 56, 1) + bytes(6)
        segment = struct.pack("<IIQQQQQQ", elf.PT_DYNAMIC, 0, 120, 0, 0, 16, 16, 8)
        with self.assertRaises(LabError):
            elf.needed(head + segment + struct.pack("<QQ", elf.DT_NEEDED, 1))


def module(*depends, alias=()):
    text = b"".join(b"alias=" + a.encode() + b"\0" for a in alias)
    return b"\0license=GPL\0" + text + b"depends=" + ",".join(depends).encode() + b"\0"


class Tables(unittest.TestCase):
    def test_dependencies_come_after_what_needs_them(self):
        bridge = module("llc", "stp", alias=["rtnl-link-bridge"])
        order = [("llc", module()), ("stp", module("llc")), ("bridge", bridge)]
        tables = modules.tables(order, assets.module_depends)
        self.assertEqual(tables["modules.dep"], "llc.ko:\nstp.ko: llc.ko\nbridge.ko: stp.ko llc.ko\n")
        self.assertEqual(tables["modules.alias"], "alias rtnl-link-bridge bridge\n")

    def test_neighbouring_aliases(self):
        self.assertEqual(modules.aliases(module(alias=["one", "two"])), ["one", "two"])


if __name__ == "__main__":
    unittest.main()
