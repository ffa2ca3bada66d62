# SPDX-License-Identifier: GPL-2.0-or-later
"""One Xen host: a QEMU that emulates an AMD processor with SVM and nested paging, its files, its agent.

    FOLDER/HOST/pid           the QEMU, and when it was started: a number alone may be somebody else's by now
    FOLDER/HOST/console.log   Xen's and dom0's console        FOLDER/HOST/qemu.log   what QEMU said
    FOLDER/HOST/xl, guest-console, trace                      written by dom0 (it sees FOLDER as /lab)
"""

import os
import re
import shutil
import signal
import subprocess

from remus_drill.hosts import kill_pid
from remus_drill.topology import ADDRESS
from remus_drill.waiting import wait_for

from . import LabError
from .agent import Agent

NUMBER = {"a": 1, "b": 2}
CPU = "qemu64,+svm,+npt"  # others crash Xen or its guests under emulation, or lack what PV needs
XEN_ARGUMENTS = ("console=com1 com1=115200,8n1 noreboot loglvl=warning guest_loglvl=warning spec-ctrl=no xpti=no "
                 "bootscrub=0")
LINUX_ARGUMENTS = "console=hvc0 mitigations=off loglevel=4 raid=noautodetect panic=5"


def start_time(pid):
    """When a process was started (clock ticks since boot); None when there is none, or only its zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


class Machine:
    """See above."""

    def __init__(self, name, folder):
        self.name = name
        self.lab = folder
        self.folder = os.path.join(folder, name)
        self.agent = Agent(name, ADDRESS[name])
        self.console = os.path.join(self.folder, "console.log")

    def _file(self, name):
        return os.path.join(self.folder, name)

    def command(self, plan):
        """QEMU's command line."""
        number, size = NUMBER[self.name], plan["dom0_memory"]
        xen = f"{XEN_ARGUMENTS} dom0_mem={size}M,max:{size}M dom0_max_vcpus={plan['vcpus']} {plan['xen_arguments']}"
        linux = (f"{LINUX_ARGUMENTS} lab.host={self.name} lab.repl={ADDRESS[self.name]}/24 "
                 f"lab.modules={plan['dom0_modules'].replace(',', ',,')}")  # QEMU splits -initrd at single commas
        command = ["nice", "-n", "10", "qemu-system-x86_64", "-name", f"remus-lab-{self.name}", "-machine", "pc",
                   "-accel", "tcg,thread=multi,tb-size=512", "-cpu", CPU, "-smp", str(plan["vcpus"]),
                   "-m", str(plan["memory"]), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-serial", f"file:{self.console}", "-kernel", plan["xen"], "-append", xen,
                   "-initrd", f"{plan['vmlinux']} {linux},{plan['dom0']}",
                   "-virtfs", f"local,path={self.lab},mount_tag=lab,security_model=none,multidevs=remap"]
        for bridge, subnet in (("lan", 77), ("repl", 78)):
            command += ["-netdev", f"tap,id={bridge},ifname={bridge}-{self.name},script=no,downscript=no",
                        "-device", f"virtio-net-pci,netdev={bridge},mac=52:54:00:{subnet}:01:0{number},romfile="]
        return command

    # ---- the process ----
    def pid(self):
        """The QEMU's process id while it runs, else None."""
        try:
            with open(self._file("pid"), encoding="ascii") as f:
                pid, started = map(int, f.read().split())
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == started else None

    def start(self, plan):
        os.makedirs(self.folder, exist_ok=True)
        shutil.rmtree(self._file("guest-console"), ignore_errors=True)  # what another boot's guest said misleads
        with open(self._file("qemu.log"), "wb") as log:
            child = subprocess.Popen(self.command(plan), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)
        with open(self._file("pid"), "w", encoding="ascii") as f:
            f.write(f"{child.pid} {start_time(child.pid)}\n")
        return child

    def kill(self, which=signal.SIGKILL):
        """As if its power was cut."""
        pid = self.pid()
        if pid:
            kill_pid(pid, which)
            wait_for(f"host {self.name}'s QEMU to die", 5, lambda: not self.pid(), 0.005)

    # ---- what its console says ----
    def said(self):
        try:
            with open(self.console, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def ready(self):
        """True once its dom0 takes commands; LabError as soon as it never will."""
        said = self.said()
        failed = re.search(r"LAB-FAILED (.*)|(Kernel panic.*)|(Panic on CPU.*(?:\s.*){0,2})", said)
        if failed:
            raise LabError(f"host {self.name} did not boot: {failed.group(0).strip()}")
        if not self.pid():
            with open(self._file("qemu.log"), encoding="utf-8", errors="replace") as f:
                raise LabError(f"host {self.name}'s QEMU ended: {f.read().strip()[-400:] or said.strip()[-400:]}")
        return "LAB-READY" in said and self.agent.answers()

    def stage(self):
        """How far its boot has come, for a message."""
        stages = re.findall(r"LAB-STAGE (.*)", self.said())
        return stages[-1].strip() if stages else "Xen or dom0's kernel"
