# SPDX-License-Identifier: GPL-2.0-or-later
"""Who decides in a drill: a folder that both hosts reach, or an etcd of the drill's own, in its own network beside the
hosts. An etcd dies in the moment of the fault and comes back after AWAY seconds.
"""

import os
import subprocess
import time

from . import DrillError, litter
from .topology import ETCD_ADDRESS
from .waiting import wait_for

AWAY = 6.0  # s: a question is answered UNKNOWN after 5 at the latest


class Folder:
    """file:DIR"""

    away = 0.0

    def __init__(self, folder):
        self.folder = os.path.join(folder, "arbiter")
        os.mkdir(self.folder)
        self.uri = "file:" + self.folder

    def start(self):
        pass

    def kill(self):
        pass

    def stop(self):
        pass

    def records(self):
        """What it keeps: claims, and keys that nobody put away."""
        return litter.in_folder(self.folder)


class Etcd:
    """etcd:URL of one member that runs in the drill's own network namespace, as on a third machine."""

    away = AWAY

    def __init__(self, folder):
        self.folder = folder
        self.url = f"http://{ETCD_ADDRESS}:2379"
        self.uri = "etcd:" + self.url
        self.process = None

    def start(self):
        """Anew, or again with its data."""
        with open(os.path.join(self.folder, "etcd.log"), "ab") as log:
            self.process = subprocess.Popen(
                ["etcd", "--data-dir", os.path.join(self.folder, "etcd"), "--name", "drill", "--listen-client-urls", self.url,
                 "--advertise-client-urls", self.url, "--listen-peer-urls", "http://127.0.0.1:2380",
                 "--initial-advertise-peer-urls", "http://127.0.0.1:2380", "--initial-cluster", "drill=http://127.0.0.1:2380"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        wait_for("the drill's etcd to answer", 20, lambda: self._ctl("endpoint", "health") is not None, 0.1)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.kill()

    def _ctl(self, *arguments):
        done = subprocess.run(["etcdctl", "--endpoints", self.url, "--command-timeout", "2s", *arguments], capture_output=True,
                              text=True, timeout=10, check=False, env={**os.environ, "ETCDCTL_API": "3"})
        return done.stdout if done.returncode == 0 else None

    def records(self):
        listed = self._ctl("get", "--prefix", "/remus/", "--keys-only")
        if listed is None:
            raise DrillError("the drill's etcd does not list its keys")
        return [key for key in listed.split() if not key.endswith("/last-opened")]


class Manual:
    """The operator decides: until he does, a backup that lost its primary stands still."""

    away = 0.0
    uri = "manual"

    def start(self):
        pass

    kill = stop = start

    def records(self):
        return []


def make(kind, folder):
    if kind == "manual":
        return Manual()
    return Etcd(folder) if kind == "etcd" else Folder(folder)


def watch(seconds, look):
    """Call @look every 50 ms for @seconds; the sentences it returned, each once."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        found += [sentence for sentence in look() if sentence not in found]
        time.sleep(0.05)
    return found
