# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of a real QEMU: one that fits, and all those that must be refused, untouched, with the remedy named."""

import os
import socket
import sys
import threading

from rig import installed, program, wait_for
from rig.case import SystemTest
from rig.main import main
from rig.qemu import MAC, Qemu


def everybody_may_enter(folder):
    folder = os.path.realpath(folder)
    return bool(os.stat(folder).st_mode & 1) and (folder == "/" or everybody_may_enter(os.path.dirname(folder)))


class QemuTest(SystemTest):
    def setUp(self):
        if not installed("qemu-system-x86_64"):
            self.skipTest("qemu-system-x86_64 is not installed (Debian: qemu-system-x86)")
        super().setUp()

    def refused(self, guest, *words, status=5, options=(), a=None):
        """@guest is refused on the primary, before anything is asked of the backup."""
        a = a or self.hosts.get("a") or self.host("a")
        before = a.files()
        done = a.protect(guest, "127.0.0.1:9", "--egress", self.sinks[0].uri if self.sinks else self.sink().uri,
                         *options)
        self.assert_refused(done, status, *words)
        wait_for(f"the run folder to be as before: {before}", lambda: a.files() == before, 5)
        if isinstance(guest, Qemu):
            guest.check_untouched()
        self.assertEqual(a.request({"verb": "status"})[0]["ok"]["domains"], [], "a guest that never was protected")


class Fits(QemuTest):
    def test_protect_unprotect_failover(self):
        self.claims = 1
        a, b, sink = self.host("a"), self.host("b"), self.sink()
        guest = Qemu(self)
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        guest.check_runs()
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        guest.check_untouched(relayed=True)
        wait_for("the standby to be dropped", lambda: not b.children(), 5)
        done = a.protect("vm1", b)
        self.assertEqual(done.status, 0, done)
        count = guest.count()
        os.kill(guest.pid, 9)
        b.wait_state("active")
        # The survivor is protected in its turn: what remusd needs of it, its QMP socket too, outlives a restart.
        self.assertEqual(b.stop(), 0)
        b.start("--arbiter", "file:" + self.arbiter())
        done = b.protect("vm1", a)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(b.ctl("unprotect", "vm1").status, 0)
        pid = b.status()["guest_pid"]
        self.assertGreater(count, 0)
        os.kill(pid, 9)
        wait_for("host b to see that the guest is gone", lambda: not b.children(), 5)

    def test_receiver_killed_as_its_standby_starts(self):
        """Nobody was told the pid of the standby's QEMU yet: it is found all the same."""
        a, b, sink = self.host("a"), self.host("b", environment={"REMUS_FAULT": "backup-standby:1:kill"}), self.sink()
        guest = Qemu(self)
        self.assertNotEqual(a.protect(guest, b, "--egress", sink.uri).status, 0)
        self.assertIn("standby-dropped", b.kinds())
        wait_for("the standby's QEMU to be ended", lambda: not b.children(), 5)
        self.assertEqual([f for f in b.files() if "backup" in f or "session" in f], [])
        guest.check_runs()
        self.assertEqual(a.protect(guest, b, "--egress", sink.uri).status, 0)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_receiver_and_remusd_killed(self):
        """The next remusd finds the standby's QEMU, which nobody can activate any more."""
        self.claims = 1
        a, b, sink = self.host("a"), self.host("b"), self.sink()
        guest = Qemu(self)
        self.assertEqual(a.protect(guest, b, "--egress", sink.uri).status, 0)
        receiver, standby = b.child("backup"), b.status()["guest_pid"]
        os.kill(receiver, 19)
        b.kill()
        os.kill(receiver, 9)
        a.wait_state("solo")
        b.start("--arbiter", "file:" + self.arbiter())
        wait_for("the standby's QEMU to be ended", lambda: not os.path.exists(f"/proc/{standby}"), 5)
        self.assertEqual([f for f in b.files() if "backup" in f or "session" in f], [])
        guest.check_untouched(relayed=True)


class Sockets(QemuTest):
    def test_missing(self):
        self.refused("qemu:/nowhere/vm1.qmp", "/nowhere/vm1.qmp", "no such socket", "-qmp", status=4)

    def test_no_socket(self):
        path = os.path.join(self.make_folder("x"), "plain.log")
        with open(path, "w", encoding="ascii"):
            pass
        self.refused("qemu:" + path, path, "not a socket", "-qmp", status=1)

    def test_not_qmp(self):
        """A server that says something else."""
        path = os.path.join(self.make_folder("x"), "s")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.bind(path)
            s.listen()

            def serve():
                client, _ = s.accept()
                client.sendall(b"220 mail.example ESMTP\r\n")
                client.recv(1000)
                client.close()
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            self.refused("qemu:" + path, path, "doesn't speak QMP", status=1)
            thread.join(5)
        os.unlink(path)

    def test_dead_qemu(self):
        guest = Qemu(self)
        guest.process.kill()
        guest.process.wait(5)
        self.refused(guest.locator, guest.path, "connection refused", "dead", status=1)

    def test_busy(self):
        guest = Qemu(self)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.connect(guest.path)
            other.recv(10)
            self.refused(guest, guest.path, "another QMP client", "second -qmp", status=1)

    def test_of_another_user(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to run remusd as another user than QEMU")
        os.chmod(self.folder, 0o755)
        guest = Qemu(self)
        os.chmod(guest.folder, 0o755)
        os.chmod(guest.path, 0o777)
        if not everybody_may_enter(os.path.dirname(program("remusd"))):
            self.skipTest("the build lies in a folder that user nobody cannot enter")
        host_folder = self.make_folder("host-a")
        os.chown(host_folder, 65534, 65534)
        os.chown(self.arbiter(), 65534, 65534)

        def become_nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        a = self.host("a", "--insecure", preexec=become_nobody)
        self.refused(guest, "permission denied", "user of the guest's QEMU", status=1, a=a)


class CommandLine(QemuTest):
    def test_memory_not_memfd(self):
        self.refused(Qemu(self, change={"-object": None, "-M": "microvm,acpi=on"}),
                     "memory isn't a shared memfd", "memory-backend-memfd", "share=on")

    def test_memory_of_another_kind(self):
        self.refused(Qemu(self, change={"-object": "memory-backend-ram,id=ram0,size=32M"}),
                     "memory-backend-ram", "memory-backend-memfd")

    def test_memory_not_shared(self):
        self.refused(Qemu(self, change={"-object": "memory-backend-memfd,id=ram0,size=32M,share=off"}),
                     "share=on is missing", "memory-backend-memfd")

    def test_netdev_user(self):
        self.refused(Qemu(self, nic=False, more=["-netdev", "user,id=n0", "-device",
                                                 f"virtio-net-device,netdev=n0,mac={MAC}"]),
                     "netdev n0, type user", "can't be held", "-netdev dgram")

    def test_vhost(self):
        path, stop = os.path.join(self.make_folder("x"), "vhost"), threading.Event()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.bind(path)
            s.listen()
            thread = threading.Thread(target=_vhost_backend, args=(s, stop), daemon=True)
            thread.start()
            guest = Qemu(self, nic=False, more=["-chardev", f"socket,id=c0,path={path}", "-netdev",
                                                "vhost-user,id=n0,chardev=c0", "-device",
                                                f"virtio-net-device,netdev=n0,mac={MAC}"])
            self.refused(guest, "vhost", "dirty tracking doesn't see")
            guest.stop()
            stop.set()
            thread.join(5)
        os.unlink(path)

    def test_balloon(self):
        self.refused(Qemu(self, more=["-device", "virtio-balloon-device"]), "virtio-balloon-device", "balloon")

    def test_writable_disk(self):
        disk = os.path.join(self.make_folder("x"), "disk.log")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        self.refused(Qemu(self, more=["-drive", f"file={disk},format=raw,if=none,id=d0", "-device",
                                      "virtio-blk-device,drive=d0"]),
                     "-drive", "isn't replicated", "readonly=on")

    def test_unknown_option(self):
        self.refused(Qemu(self, more=["-fw_cfg", "name=opt/org.example,string=x"]), "-fw_cfg", "isn't on the list")

    def test_no_send_configuration(self):
        self.refused(Qemu(self, change={"-global": None}), "migration.send-configuration=off")

    def test_not_running(self):
        """A guest that was never started."""
        guest = Qemu(self, more=["-S"])
        done = self.host("a").protect(guest, "127.0.0.1:9", "--egress", self.sink().uri)
        self.assert_refused(done, 5, "prelaunch", "only a running guest")
        self.assertEqual(guest.qmp("query-status")["status"], "prelaunch")


def _vhost_backend(listener, stop):
    """As little of a vhost-user backend as makes QEMU start: every question is answered with 0 (1 queue pair)."""
    client, _ = listener.accept()
    client.settimeout(0.2)
    buffer = b""
    while not stop.is_set():
        try:
            data = client.recv(4096)
        except TimeoutError:
            continue
        if not data:
            break
        buffer += data
        while len(buffer) >= 12:
            request, flags, size = (int.from_bytes(buffer[i:i + 4], "little") for i in (0, 4, 8))
            if len(buffer) < 12 + size:
                break
            buffer = buffer[12 + size:]
            if request in (1, 15, 17, 11, 36) or flags & 8:  # GET_..., or a reply is asked for
                value = (1 << 32 if request == 1 else 0).to_bytes(8, "little")  # VERSION_1
                client.sendall(request.to_bytes(4, "little") + (5).to_bytes(4, "little") +
                               (8).to_bytes(4, "little") + value)
    client.close()


class Mismatch(QemuTest):
    def test_version(self):
        """The standby's host has another QEMU."""
        folder = self.make_folder("bin")
        wrapper = os.path.join(folder, "qemu-system-x86_64")
        with open(wrapper, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\necho 'QEMU emulator version 9.9.9 (elsewhere)'\n")
        os.chmod(wrapper, 0o755)
        self.props.append("bin/qemu-system-x86_64")
        a, b = self.host("a"), self.host("b", environment={"PATH": folder + ":" + os.environ["PATH"]})
        guest = Qemu(self)
        before = b.files()
        done = a.protect(guest, b, "--egress", self.sink().uri)
        self.assert_refused(done, 5, "backup refuses", "9.9.9", guest_version(guest), wrapper)
        guest.check_untouched(relayed=True)
        wait_for(f"the run folder to be as before: {before}", lambda: b.files() == before, 5)
        self.assertEqual(a.state(), "failed")

    def test_file_missing(self):
        """A file of the command line that isn't there any more (both hosts see the same files here)."""
        a, b = self.host("a"), self.host("b")
        disk = os.path.join(self.make_folder("x"), "disk.log")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        guest = Qemu(self, more=["-drive", f"file={disk},format=raw,readonly=on,if=none,id=d0", "-device",
                                 "virtio-blk-device,drive=d0"])
        os.unlink(disk)
        done = a.protect(guest, b, "--egress", self.sink().uri)
        self.assert_refused(done, 5, disk, "No such file")
        guest.check_untouched()


def guest_version(guest):
    v = guest.qmp("query-version")["qemu"]
    return f"{v['major']}.{v['minor']}.{v['micro']}"


if __name__ == "__main__":
    main()
