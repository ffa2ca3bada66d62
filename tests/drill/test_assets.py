# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs writer and the module order."""

import os
import tempfile
import unittest

from remus_drill import DrillError, assets


def read_cpio(data):
    """A reader written from the format's description, not from the writer: [(name, mode, device, body)]."""
    entries, at = [], 0
    while True:
        assert data[at:at + 6] == b"070701", at
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, device, name_size = fields[1], fields[6], tuple(fields[9:11]), fields[11]
        name = data[at + 110:at + 110 + name_size - 1].decode()
        at = (at + 110 + name_size + 3) & ~3
        body = data[at:at + size]
        at = (at + size + 3) & ~3
        if name == "TRAILER!!!":
            return entries
        entries.append((name, mode, device, body))


class Cpio(unittest.TestCase):
    def test_round_trip(self):
        cpio = assets.Cpio()
        cpio.directory("dev")
        cpio.character_device("dev/console", 5, 1)
        for size in range(9):
            cpio.file("f" * (size + 1), bytes(range(size)), 0o755)
        entries = read_cpio(cpio.finish())
        self.assertEqual(entries[0][:2], ("dev", 0o40755))
        self.assertEqual(entries[1][:3], ("dev/console", 0o20600, (5, 1)))
        for size, (name, mode, _, body) in enumerate(entries[2:]):
            self.assertEqual((name, mode, body), ("f" * (size + 1), 0o100755, bytes(range(size))))

    def test_whole_blocks(self):
        self.assertEqual(len(assets.Cpio().finish()) % 512, 0)

    def test_initramfs(self):
        with tempfile.NamedTemporaryFile() as init:
            init.write(b"program")
            init.flush()
            data = assets.initramfs(init.name, [("virtio", b"v"), ("virtio_net", b"n")])
        entries = {name: body for name, _, _, body in read_cpio(data)}
        self.assertEqual(entries["init"], b"program")
        self.assertEqual(entries["modules/order"], b"virtio.ko\nvirtio_net.ko\n")
        self.assertEqual(entries["modules/virtio_net.ko"], b"n")


class Modules(unittest.TestCase):
    def tree(self, modules, builtin=""):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, depends in modules.items():
            with open(os.path.join(folder.name, name + ".ko"), "wb") as f:
                f.write(b"\x7fELF...\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0")
        with open(os.path.join(folder.name, "modules.builtin"), "w", encoding="utf-8") as f:
            f.write(builtin)
        return folder.name

    def names(self, tree, wanted):
        return [name for name, _ in assets.module_order(tree, wanted)]

    def test_dependencies_come_first(self):
        tree = self.tree({"net": "ring,virtio,net-failover", "virtio": "ring", "ring": "", "net-failover": "failover",
                          "failover": "", "other": ""})
        order = self.names(tree, ["net"])
        self.assertEqual(sorted(order), ["failover", "net", "net_failover", "ring", "virtio"])
        for earlier, later in (("ring", "virtio"), ("failover", "net_failover"), ("net_failover", "net")):
            self.assertLess(order.index(earlier), order.index(later))

    def test_builtin_is_left_out(self):
        self.assertEqual(self.names(self.tree({"net": "ring"}, "kernel/drivers/ring.ko\n"), ["net"]), ["net"])

    def test_missing_is_named(self):
        with self.assertRaisesRegex(DrillError, "ring"):
            self.names(self.tree({"net": "ring"}), ["net"])

    def test_unreadable_compression_is_named(self):
        tree = self.tree({"net": ""})
        os.rename(os.path.join(tree, "net.ko"), os.path.join(tree, "net.ko.zst"))
        with self.assertRaisesRegex(DrillError, "net.ko.zst"):
            self.names(tree, ["net"])


if __name__ == "__main__":
    unittest.main()
