# SPDX-License-Identifier: GPL-2.0-or-later
"""Strangers on the replication port and on the control socket: remusd lives on, keeps its memory bounded (I11), says
in its log who it was, and serves those who know the protocol; a guest that is protected doesn't notice.
"""

import json
import os
import random
import socket
import time

from rig import wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main
from rig.peer import HELLO, MANDATORY, STATE, connect, header, read_to_end
from rig.strangers import HANDSHAKE_S, STRANGERS_MAX, StrangersTest, memory_kib


class ReplicationPort(StrangersTest):
    """In plaintext; who has no key doesn't come so far over TLS (test-strangers.py)."""

    options = ("--insecure",)

    def test_random_bytes(self):
        for seed in range(5):
            self.throw(random.Random(seed).randbytes(4096))
        self.check_undisturbed("127.0.0.1", "not a remus")

    def test_http(self):
        self.throw(b"GET / HTTP/1.1\r\nHost: backup.example\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n")
        self.check_undisturbed("not a remus")

    def test_tls(self):
        self.throw(bytes.fromhex("16030100c8010000c40303") + bytes(200))
        self.check_undisturbed("speaks TLS")

    def test_huge_length(self):
        before = memory_kib(self.b)
        for kind in (HELLO, STATE, 99):
            self.throw(header(type_=kind, length=0xffffffff) + b"x" * 1000)
        self.assertLess(memory_kib(self.b) - before, 16 * 1024)
        self.check_undisturbed("4294967295 bytes", "at most 65536", "type 99")

    def test_other_version(self):
        self.throw(header(version=7))
        self.check_undisturbed("version 7")

    def test_unknown_type(self):
        self.throw(header(type_=4000, flags=MANDATORY))
        self.check_undisturbed("type 4000")

    def test_bad_checksum(self):
        self.throw(header(length=100) + b"h" * 100)
        self.check_undisturbed("checksum")

    def test_half_a_frame(self):
        with connect(self.b) as s:
            s.sendall(header(length=60000)[:40])
        with connect(self.b) as s:
            s.sendall(header(length=60000) + b"x" * 100)
        self.check_undisturbed("closed the connection in the middle of a frame")

    def test_slow_drip(self):
        """A byte now and then keeps nobody's place: the hello has a deadline."""
        began, data, closed = time.monotonic(), header(length=60000), False
        with connect(self.b) as s:
            try:
                while time.monotonic() - began < 3 * HANDSHAKE_S:
                    s.sendall(data[:1])
                    data = data[1:] or b"x"
                    time.sleep(0.1)
            except (BrokenPipeError, ConnectionResetError):
                closed = True
        self.assertTrue(closed, "nobody closed it")
        self.check_undisturbed("no hello in time")

    def test_a_hundred_at_once(self):
        """More strangers than there is room for are turned away; those that wait are ended by their deadline."""
        before, crowd = memory_kib(self.b), []
        for _ in range(100):
            crowd.append(connect(self.b))
        wait_for("the crowd to be let in or turned away",
                 lambda: "turned away" in self.b.read_log() and len(self.b.children()) <= STRANGERS_MAX + 1, 5)
        self.assertLess(memory_kib(self.b) - before, (STRANGERS_MAX + 1) * 8 * 1024)
        self.assertTrue(self.b.status()["protected"])
        for s in crowd:
            s.close()
        self.check_undisturbed("a connection is turned away")
        # And there is room again.
        self.throw(b"x" * 64)
        self.check_undisturbed()


class ControlSocket(SystemTest):
    def setUp(self):
        super().setUp()
        self.a = self.host("a")

    def ask(self, data, shut=True):
        """The answer to raw bytes: a JSON object, or None."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(8)
            s.connect(self.a.control)
            try:
                s.sendall(data)
                if shut:
                    s.shutdown(socket.SHUT_WR)
            except BrokenPipeError:
                pass
            answer = read_to_end(s)
        lines = [json.loads(line) for line in answer.splitlines()]
        return lines[-1] if lines else None

    def check_lives(self):
        self.assertEqual(self.a.ctl("status").status, 0)
        wait_for("remusd to be without children", lambda: not self.a.children(), 5)

    def test_garbage(self):
        for data in (b"GET / HTTP/1.1\r\n", b"\0\1\2\xff\xfe\n", b"[]\n", b"null\n", b"42\n", b"\"status\"\n", b"\n",
                     b"{\"verb\":}\n", b"{" * 5000 + b"\n", b"{\"verb\":\"\xff\"}\n", b"[" * 60000 + b"\n"):
            answer = self.ask(data)
            self.assertIn("error", answer, data[:40])
            self.assert_says(answer["error"]["message"], "JSON object")
        self.check_lives()

    def test_oversized(self):
        answer = self.ask(b"{\"verb\":\"" + b"x" * 200000 + b"\"}\n")
        self.assertIn("error", answer)
        self.assert_says(answer["error"]["message"], "65536")
        self.check_lives()

    def test_verbs_and_members(self):
        """Every member may be missing, of another type, or absurd."""
        absurd = [None, 0, -1, 1.5, True, [], {}, "", "x" * 60000, "\u0000", 2 ** 62, "qemu:", ":", "fake:",
                  ["x"] * 5000, "../../etc/passwd"]
        members = {"protect": ["domain", "to", "name", "interval_ms", "arbiter", "egress", "on_backup_loss",
                               "standby_egress", "cache_mib", "hold_mib", "tracking", "heartbeat_ms", "dead_ms",
                               "renew_wait_ms"],
                   "unprotect": ["domain", "force"], "failover": ["domain", "force"], "attach": ["domain", "egress"],
                   "detach": ["domain"], "status": ["domain"], "events": ["since"]}
        plain = {"domain": "fake:/nowhere/vm", "to": "127.0.0.1:9"}
        for verb, names in members.items():
            for name in names:
                for value in absurd:
                    request = {"verb": verb, **plain, name: value}
                    line = json.dumps(request).encode() + b"\n"
                    if verb == "status":
                        request.pop("to")
                    answer = self.ask(line, shut=False)
                    self.assertIsNotNone(answer, (verb, name, str(value)[:40]))
                    if verb not in ("status", "events"):
                        self.assertIn("error", answer, (verb, name, str(value)[:40]))
        answer = self.ask(b"{\"verb\":\"explode\"}\n")
        self.assert_says(answer["error"]["message"], "unknown verb", "explode")
        wait_for("the engines to end", lambda: not self.a.children(), 5)
        self.check_lives()
        self.assertEqual(self.a.files(), ["arbiter", "control"])

    def test_absurd_numbers(self):
        """Of a guest that is there: refused before anything is begun, or harmless."""
        guest, sink = FakeGuest.start(self), self.sink()
        plain = {"verb": "protect", "domain": guest.locator, "to": "127.0.0.1:9", "egress": [sink.uri]}
        for name in ("interval_ms", "cache_mib", "hold_mib", "heartbeat_ms", "dead_ms"):
            for value in (0, -1, 1.5, "5", True, None, [], 2 ** 40, 2 ** 62):
                answer = self.ask(json.dumps({**plain, name: value}).encode() + b"\n", shut=False)
                self.assertIn("error", answer, (name, value))
                self.assert_says(answer["error"]["message"], name)
        for name, value in (("tracking", "magic"), ("on_backup_loss", "panic"), ("name", "../x"), ("name", "x" * 300),
                            ("egress", "unix:/x"), ("egress", [1]), ("standby_egress", {}), ("force", "yes"),
                            ("wait", 1), ("to", "h:99999"), ("arbiter", "nonsense"), ("domain", "no\nlines")):
            answer = self.ask(json.dumps({**plain, name: value}).encode() + b"\n", shut=False)
            self.assertIn("error", answer, (name, value))
            self.assert_says(answer["error"]["message"], name)
        guest.check_untouched()
        self.assertEqual(self.a.files(), ["arbiter", "control"])
        self.check_lives()

    def test_mute_clients(self):
        """Those that say nothing are dropped; they keep out nobody for long."""
        crowd = []
        for _ in range(63):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.connect(self.a.control)
            crowd.append(s)
        self.assertEqual(self.a.ctl("status").status, 0)
        crowd[0].settimeout(8)
        self.assertEqual(crowd[0].recv(10), b"", "a client that asks nothing is dropped")
        for s in crowd:
            s.close()
        self.check_lives()

    def test_clients_that_do_not_read(self):
        """A follower whose buffer is full is dropped, the others are served."""
        mute = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        mute.connect(self.a.control)
        mute.sendall(b"{\"verb\":\"events\",\"follow\":true}\n")
        for _ in range(20):
            self.ask(b"{\"verb\":\"protect\",\"domain\":\"fake:/nowhere/" + b"x" * 90 + b"\",\"to\":\"h\"}\n", shut=False)
        self.check_lives()
        mute.close()

    def test_mode(self):
        """For its owner only."""
        self.assertEqual(os.stat(self.a.control).st_mode & 0o777, 0o600)


if __name__ == "__main__":
    main()
