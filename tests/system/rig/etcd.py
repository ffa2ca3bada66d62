# SPDX-License-Identifier: GPL-2.0-or-later
"""A real etcd on loopback, one member or three, with ports and data of its own; and endpoints that misbehave."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading

from . import installed, program, wait_for


def missing():
    """Why there can be no etcd here, or None."""
    if not installed("etcd") or not installed("etcdctl"):
        return "etcd is not installed (Debian: etcd-server etcd-client)"
    probe = subprocess.run([program("tests/system/arbiter-ask"), "etcd:http://h", "none", "1", "0"], capture_output=True,
                           text=True, check=False, timeout=20)
    if probe.returncode:
        return "this build has no etcd arbiter: " + probe.stderr.strip()
    return None


def free_ports(count):
    """Ports that nobody listens on now. etcd is told its ports before it starts."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Etcd:
    """A cluster of @members. @tls: a folder with ca.pem, server.pem, server.key; clients need a certificate too."""

    def __init__(self, case, members=1, tls=None, name="etcd"):
        self.case, self.tls = case, tls
        self.folder = case.make_folder(name)
        ports = free_ports(2 * members)
        self.client, self.peer = ports[:members], ports[members:]
        self.scheme = "https" if tls else "http"
        self.processes = [None] * members
        case.addCleanup(shutil.rmtree, self.folder, True)
        for i in range(members):
            self.start(i)
        wait_for(f"an etcd of {members} to have a leader", lambda: self.leader() is not None, 30)

    def start(self, i):
        """Member @i, anew or again with its data."""
        url, peer = f"{self.scheme}://127.0.0.1:{self.client[i]}", f"http://127.0.0.1:{self.peer[i]}"
        cluster = ",".join(f"m{n}=http://127.0.0.1:{port}" for n, port in enumerate(self.peer))
        options = ["--name", f"m{i}", "--data-dir", os.path.join(self.folder, f"m{i}"), "--listen-client-urls", url,
                   "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                   "--initial-cluster", cluster, "--heartbeat-interval", "100", "--election-timeout", "1000",
                   "--initial-cluster-token", os.path.basename(self.case.folder) + os.path.basename(self.folder)]
        if self.tls:
            options += ["--cert-file", f"{self.tls}/server.pem", "--key-file", f"{self.tls}/server.key",
                        "--trusted-ca-file", f"{self.tls}/ca.pem", "--client-cert-auth"]
        self.processes[i] = self.case.spawn([installed("etcd"), *options], f"etcd-{os.path.basename(self.folder)}-{i}.log")

    # ---- an operator's view ----
    def ctl(self, *arguments, member=0, timeout=20):
        command = [installed("etcdctl"), "--endpoints", f"{self.scheme}://127.0.0.1:{self.client[member]}"]
        if self.tls:
            command += ["--cacert", f"{self.tls}/ca.pem", "--cert", f"{self.tls}/client.pem", "--key",
                        f"{self.tls}/client.key"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=timeout,
                              env=self.case.environment({"ETCDCTL_API": "3"}))
        return done.stdout if done.returncode == 0 else None

    def leader(self):
        """Its index, or None."""
        for i, process in enumerate(self.processes):
            if process.poll() is not None:
                continue
            out = self.ctl("endpoint", "status", "-w", "json", "--command-timeout", "1s", member=i)
            status = json.loads(out)[0]["Status"] if out else {}
            if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                return i
        return None

    def records(self):
        """{key: value} of all sessions, without the name of the last one opened."""
        lines = self.ctl("get", "--prefix", "/remus/").splitlines()
        return {k: v for k, v in zip(lines[::2], lines[1::2]) if not k.endswith("/last-opened")}

    def uri(self, *endpoints, options=""):
        urls = [e if isinstance(e, str) else f"{self.scheme}://127.0.0.1:{self.client[e]}"
                for e in endpoints or range(len(self.client))]
        return "etcd:" + ",".join(urls) + options

    # ---- what may happen to members ----
    def signal(self, i, number):
        os.kill(self.processes[i].pid, number)

    def kill(self, *members):
        for i in members:
            self.signal(i, signal.SIGKILL)
            self.processes[i].wait(5)

    def stop(self):
        """The end of all members."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)


class Endpoint:
    """Somebody at an endpoint who isn't an etcd: answers each request with @answer (bytes; None = never)."""

    def __init__(self, answer):
        self.answer, self.requests, self.connections = answer, 0, []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        try:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536) or b"\r\n\r\n"
            self.requests += 1
            if self.answer is not None:
                connection.sendall(self.answer)
                connection.close()
        except OSError:
            pass

    def close(self):
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Proxy:
    """Before an etcd: passes requests on; answers only while `answers` is set (else they are lost)."""

    def __init__(self, port):
        self.port, self.answers, self.lost = port, True, 0
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, target, is_answer):
        try:
            while data := source.recv(65536):
                if is_answer and not self.answers:
                    self.lost += 1
                    continue
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
