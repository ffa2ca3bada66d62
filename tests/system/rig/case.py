# SPDX-License-Identifier: GPL-2.0-or-later
"""A test, and what must be true after every one: daemons end in order with status 0, no process is left, no file
but logs (I13), and guests that were started still run unless the test says otherwise.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from . import Late, processes_marked, program, wait_for
from .fake import FakeGuest
from .host import Host

MARK = "REMUS_SYSTEM_TEST"


class Sink:
    """The other end of a unix egress: counts the guest's frames (fake.h: number and writes are in them)."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)
        self.uri = "unix:" + path

    def drain(self):
        """The numbers of the frames that came since the last time."""
        numbers = []
        while True:
            try:
                frame = self.socket.recv(65536)
            except BlockingIOError:
                return numbers
            if len(frame) == 60 and frame[12:14] == b"\x88\xb5":
                numbers.append(int.from_bytes(frame[22:30], "little"))

    def close(self):
        self.socket.close()
        os.unlink(self.path)


class SystemTest(unittest.TestCase):
    """setUp makes an empty folder; hosts, guests and the sink are made by the test."""

    claims = 0  # records that the arbiter may keep: a claim that was made is kept for good

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rmt-", dir="/tmp")  # short: socket paths have 107 bytes
        self.mark = f"{MARK}={self.folder}"
        self.children, self.guests, self.hosts, self.sinks, self.props = [], [], {}, [], []
        self.began = time.monotonic()
        self.addCleanup(self._clear)  # also when a subclass's setUp fails

    def environment(self, more=None):
        clean = {k: v for k, v in os.environ.items() if k not in ("REMUS_CONTROL", "XDG_RUNTIME_DIR")}
        return {**clean, MARK: self.folder, **(more or {})}

    def make_folder(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def spawn(self, command, log, environment=None, preexec=None):
        with open(os.path.join(self.folder, log), "ab") as out:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder,
                                     env=self.environment(environment), preexec_fn=preexec, start_new_session=True)
        self.children.append(child)
        return child

    # ---- the usual stage ----
    def host(self, name, *options, **kw):
        self.hosts[name] = Host(self, name, len(self.hosts) + 1)
        return self.hosts[name].start("--arbiter", "file:" + self.arbiter(), *options, **kw)

    def arbiter(self):
        return self.make_folder("arbiter")

    def keys(self):
        """The folder of the key that the hosts share; made when it is first asked for."""
        folder = os.path.join(self.folder, "tls")
        if not os.path.exists(folder):
            self.make_keys("psk", "--dir", folder)
        return folder

    def make_keys(self, *arguments, status=0):
        """remusctl keys; what it said."""
        done = subprocess.run([program("remusctl"), "keys", *arguments], capture_output=True, text=True, check=False,
                              timeout=20, env=self.environment(), cwd=self.folder)
        self.assertEqual(done.returncode, status, done)
        return done.stdout + done.stderr

    def sink(self, name="switch"):
        self.sinks.append(Sink(os.path.join(self.folder, name)))
        return self.sinks[-1]

    def protected_pair(self, *options, a=(), b=(), **guest):
        """Hosts a and b, a guest, a sink; protected. Returns them."""
        a, b = self.host("a", *a), self.host("b", *b)
        guest, sink = FakeGuest.start(self, **guest), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri, *options)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.state(), "protected")
        return a, b, guest, sink

    def survivor(self, host, name="vm1"):
        """The guest that @host activated. It outlives remusd, and is stopped when the test ends."""
        locator = host.status(name)["domain"]
        self.assertTrue(locator.startswith("fake:" + host.run), locator)
        guest = FakeGuest(locator[len("fake:"):])
        guest.pid = host.status(name)["guest_pid"]
        self.guests.append(guest)
        return guest

    # ---- assertions ----
    def left_for_the_next(self, host):
        """remusd ended while a guest runs on: all that is left is the record for the next one."""
        self.assertEqual([f for f in host.files() if not f.endswith(".session")], [])

    def assert_says(self, text, *words):
        for word in words:
            self.assertIn(word.lower(), text.lower(), f"the message lacks \"{word}\":\n{text}")

    def assert_refused(self, done, status, *words):
        """remusctl failed with @status and said all of @words."""
        self.assertEqual(done.status, status, done)
        self.assertEqual(done.out, "", done)
        self.assert_says(done.err, *words)

    # ---- the end ----
    def tearDown(self):
        try:
            if not self._failed():
                self._end_in_order()
        except (AssertionError, subprocess.TimeoutExpired):
            self._show_logs()
            raise
        if self._failed():
            self._show_logs()

    def _failed(self):
        outcome = self._outcome
        problems = getattr(outcome, "errors", None)
        if problems is None:  # Python >= 3.11
            result = outcome.result
            return any(test is self for test, _ in [*result.errors, *result.failures])
        return any(problem for _, problem in problems)

    def _end_in_order(self):
        for guest in self.guests:
            guest.stop()
        for host in self.hosts.values():
            if not host.runs() and [f for f in host.files() if f.endswith(".session")]:
                host.start()  # the next daemon clears up after a guest that ended while there was none
            if host.runs():
                wait_for(f"guests on host {host.name} to be seen to have ended", lambda h=host: not h.children(), 5)
                self.assertEqual(host.stop(), 0, f"remusd on host {host.name} after SIGTERM")
        for sink in self.sinks:
            sink.close()
        try:
            wait_for("processes to end", lambda: not processes_marked(self.mark), 3)
        except Late:
            self.fail(f"processes are left: {processes_marked(self.mark)}")
        shutil.rmtree(os.path.join(self.folder, "tls"), ignore_errors=True)
        left = []
        for place, _, files in os.walk(self.folder):
            left += [os.path.relpath(os.path.join(place, f), self.folder) for f in files if not f.endswith(".log")]
        records = [f for f in left if "arbiter/" in f]
        self.assertEqual([f for f in left if f not in records and f not in self.props], [],
                         "files are left")
        self.assertLessEqual(len(records), self.claims, f"the arbiter keeps {records}")
        for host in self.hosts.values():
            self.assertEqual([f for f in host.files() if not f.startswith("arbiter")], [],
                             f"in the run folder of host {host.name}")
            for word in ("Sanitizer", "runtime error:"):
                self.assertNotIn(word, host.read_log(), f"a sanitizer speaks on host {host.name}")

    def _show_logs(self):
        print(f"--- {self.id()} failed after {time.monotonic() - self.began:.1f} s; logs:", file=sys.stderr)
        for place, _, files in sorted(os.walk(self.folder)):
            for file in sorted(f for f in files if f.endswith(".log")):
                with open(os.path.join(place, file), encoding="utf-8", errors="replace") as f:
                    last = f.read().splitlines()[-25:]
                print(f"--- {file} in {os.path.basename(place)}\n    " + "\n    ".join(last), file=sys.stderr)

    def _clear(self):
        for _ in range(20):
            left = processes_marked(self.mark)
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not left:
                break
            time.sleep(0.05)
        for child in self.children:
            child.wait(5)
        for sink in self.sinks:
            sink.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)
