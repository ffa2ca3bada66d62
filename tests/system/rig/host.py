# SPDX-License-Identifier: GPL-2.0-or-later
"""One host: a remusd on an address of its own (127.x.y.z, so that tests can run side by side), its folders, and
what an operator does there with remusctl.
"""

import json
import os
import signal
import socket
import subprocess

from . import alive, program, wait_for

PORT = 7368


class Done:
    """How a remusctl ended."""

    def __init__(self, arguments, status, out, err):
        self.arguments, self.status, self.out, self.err = arguments, status, out, err

    def __str__(self):
        return f"remusctl {' '.join(self.arguments)}: exit {self.status}\n{self.out}{self.err}"


class Host:
    """See above. `files()` is what lies in its run folder."""

    def __init__(self, case, name, number):
        self.case, self.name = case, name
        self.address = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.{number}"
        self.folder = case.make_folder("host-" + name)
        self.run = os.path.join(self.folder, "run")
        self.control = os.path.join(self.run, "control")
        self.log = os.path.join(self.folder, "remusd.log")
        self.remusd = None
        self.insecure = False

    # ---- the daemon ----
    def command(self, *options):
        self.insecure = "--insecure" in options
        keys = () if self.insecure or "--tls" in options else ("--tls", self.case.keys())
        return [program("remusd"), "--run-dir", self.run, "--listen", self.address, *keys, *options]

    def start(self, *options, environment=None, preexec=None):
        self.remusd = self.case.spawn(self.command(*options), self.log, environment, preexec)
        wait_for(f"remusd on host {self.name} to answer", self._answers)
        return self

    def _answers(self):
        assert self.remusd.poll() is None, f"remusd on host {self.name} ended at once: {self.read_log()}"
        return self.request({"verb": "status"}, quiet=True)

    def fails_to_start(self, *options, preexec=None):
        """Start a remusd that must not come up; (status, what it said)."""
        done = subprocess.run(self.command(*options), capture_output=True, text=True, timeout=10, check=False,
                              env=self.case.environment(), preexec_fn=preexec)
        return done.returncode, done.stderr

    def kill(self):
        """SIGKILL to the daemon alone."""
        self.remusd.kill()
        self.remusd.wait(5)

    def stop(self):
        """In order. The exit status."""
        self.remusd.send_signal(signal.SIGTERM)
        return self.remusd.wait(12)

    def runs(self):
        return self.remusd is not None and self.remusd.poll() is None

    def read_log(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def files(self):
        found = []
        for place, folders, files in os.walk(self.run):
            found += [os.path.relpath(os.path.join(place, f), self.run) for f in [*folders, *files]]
        return sorted(found)

    def children(self):
        """{pid: name} of remusd's children."""
        with open(f"/proc/{self.remusd.pid}/task/{self.remusd.pid}/children", encoding="ascii") as f:
            pids = [int(p) for p in f.read().split()]
        names = {}
        for pid in filter(alive, pids):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    names[pid] = f.read().strip()
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended between the two looks
        return names

    def child(self, role):
        """The pid of the only child of that role: primary, backup, relay (by the name it was made with)."""
        pids = [p for p, name in self.children().items() if name == "remus-" + role]
        assert len(pids) == 1, f"host {self.name} has {len(pids)} children for {role}: {self.children()}"
        return pids[0]

    # ---- the operator ----
    def ctl(self, *arguments, timeout=30, control=None):
        command = [program("remusctl"), "--control", control or self.control, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False,
                              stdin=subprocess.DEVNULL, env=self.case.environment(), cwd=self.case.folder)
        return Done(arguments, done.returncode, done.stdout, done.stderr)

    def protect(self, guest, to, *options, **kw):
        """With a long deadline for silence, unless told: no test's outcome shall hang on a busy machine. In plaintext
        to a host that takes it, and to an address, where a peer made by hand listens."""
        if "--insecure" not in options and (not isinstance(to, Host) or to.insecure):
            options = (*options, "--insecure")
        if "--dead" not in options:
            options = (*options, "--dead", "2000")
        return self.ctl("protect", guest if isinstance(guest, str) else guest.locator, "--to",
                        to.address if isinstance(to, Host) else to, *options, **kw)

    def request(self, request, quiet=False, seconds=5):
        """A request straight to the control socket: the last line, parsed. Every line must be JSON."""
        data = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(seconds)
                s.connect(self.control)
                s.sendall(data)
                answer = b"".join(iter(lambda: s.recv(65536), b""))
        except OSError:
            if quiet:
                return None
            raise
        return [json.loads(line) for line in answer.splitlines()][-1:]

    def status(self, name="vm1"):
        """The domain's status object, or {}."""
        last = self.request({"verb": "status"})[0]["ok"]
        return next((d for d in last["domains"] if d["name"] == name), {})

    def state(self, name="vm1"):
        return self.status(name).get("state")

    def wait_state(self, *states, name="vm1", seconds=10):
        try:
            return wait_for(f"{name} on host {self.name} to be {' or '.join(map(str, states))}",
                            lambda: self.state(name) in states and (self.state(name) or True), seconds)
        except AssertionError as e:
            raise type(e)(f"{e}; it is {self.state(name)}: {self.status(name).get('reason')}") from None

    def events(self):
        done = self.ctl("events", "--json")
        assert done.status == 0, done
        return [json.loads(line) for line in done.out.splitlines()]

    def kinds(self):
        """Of the events, but for those of the clocks: what these say is this machine's affair."""
        return [e["kind"] for e in self.events() if e["kind"] != "clock"]
