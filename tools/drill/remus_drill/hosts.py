# SPDX-License-Identifier: GPL-2.0-or-later
"""One of the two "hosts": a network namespace, a folder, a remusd, and maybe the guest's QEMU.

A process belongs to a host when it lives in the host's network namespace, however it came to be there: that is
what is killed when the host dies, and what litter is looked for in.

    FOLDER/run       remusd's --run-dir, with the control socket
    FOLDER/trace     its --trace
    FOLDER/tls       the keys of its link to the other
    FOLDER/guest     the sockets of the QEMU that the drill starts (host a)
    FOLDER/*.log     what they said
"""

import os
import shutil
import signal
import subprocess
import time

from . import DrillError, control
from .topology import ADDRESS, GUEST_IP4, GUEST_IP6, GUEST_MAC
from .waiting import wait_for


def find_program(name):
    """remusd and remusctl: the build that is asked for, the build tree beside this source, an installed copy."""
    here = os.path.dirname(os.path.realpath(__file__))
    top = os.path.realpath(os.path.join(here, "../../.."))
    folders = [os.environ.get("REMUS_BUILD"), os.path.join(top, "build"), os.getcwd()]
    for folder in filter(None, folders):
        for path in (os.path.join(folder, name), os.path.join(folder, "tools", name, name),
                     os.path.join(folder, "tools/drill", name), os.path.join(folder, "tools/lab", name)):
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        if folder == os.environ.get("REMUS_BUILD"):
            raise DrillError(f"REMUS_BUILD is {folder}, but {name} is not there; run make in it")
    installed = [os.environ.get("REMUS_LIBEXEC", ""), os.path.join(here, ".."), os.environ.get("REMUS_BINDIR", ""),
                 os.path.join(os.environ.get("REMUS_BINDIR", ""), "../sbin"), "/usr/local/sbin", "/usr/sbin"]
    path = shutil.which(name, path=os.pathsep.join([*filter(None, installed), os.environ.get("PATH", "")]))
    if not path:
        raise DrillError(f"{name} was not found: build remus (./quickstart does) or set REMUS_BUILD to its build "
                         "tree")
    return path


def processes_in(inode):
    """{pid: name} of the live processes in that network namespace. Zombies are none."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.stat(f"/proc/{entry}/ns/net").st_ino != inode:
                continue
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
        except (OSError, IndexError):
            continue
        if rest.split()[0] not in "ZX":
            found[int(entry)] = name
    return found


def kill_pid(pid, which=signal.SIGKILL):
    try:
        os.kill(pid, which)
    except ProcessLookupError:
        pass


class Host:
    """See above."""

    def __init__(self, namespace, folder):
        self.name = namespace.name
        self.namespace = namespace
        self.folder = folder
        self.run, self.trace, self.guest = (os.path.join(folder, d) for d in ("run", "trace", "guest"))
        for d in (self.run, self.trace, self.guest):
            os.makedirs(d, mode=0o700)
        self.control = os.path.join(self.run, "control")
        self.keys = os.path.join(folder, "tls")
        self.remusd_options = []
        self.environment = {}  # of its processes, besides the drill's own
        self.qmp = os.path.join(self.guest, "qmp")
        self.serial = os.path.join(folder, "serial.log")
        self.children = []
        self.remusd = None

    # ---- processes ----
    def spawn(self, command, log):
        with open(os.path.join(self.folder, log), "ab") as out:
            child = subprocess.Popen([*self.namespace.prefix, *command], stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=out, cwd=self.folder, start_new_session=True,
                                     env={**os.environ, **self.environment})
        self.children.append(child)
        return child

    def processes(self):
        for child in self.children:
            child.poll()
        return processes_in(self.namespace.inode)

    def guests(self):
        """The QEMU processes on this host."""
        return [pid for pid, name in self.processes().items() if name.startswith("qemu-system")]

    def kill_everything(self, pids=None):
        """SIGKILL to all at once, then to whatever was being started meanwhile."""
        for pid in pids or self.processes():
            kill_pid(pid)
        wait_for(f"the processes of host {self.name} to die", 5, lambda: not self._kill_rest(), 0.005)

    def _kill_rest(self):
        rest = self.processes()
        for pid in rest:
            kill_pid(pid)
        return rest

    # ---- remusd ----
    def make_keys(self, kind, ca):
        """The keys of this host, as an operator makes them; @ca is a folder that only the drill sees."""
        self.remusd_options = ["--insecure"] if kind == "plaintext" else ["--tls", self.keys]
        peer = "b" if self.name == "a" else "a"
        if kind == "psk":
            if not os.path.exists(ca):
                self._keys("psk", "--dir", ca)
            os.mkdir(self.keys, mode=0o700)
            shutil.copy(os.path.join(ca, "psk"), self.keys)
        elif kind == "x509":
            if not os.path.exists(ca):
                self._keys("ca", "--dir", ca)
            self._keys("host", "--dir", ca, "--out", self.keys, "--name", "host-" + self.name, "--name",
                       ADDRESS[self.name], "--peer", "host-" + peer)

    @staticmethod
    def _keys(*arguments):
        done = subprocess.run([find_program("remusctl"), "keys", *arguments], capture_output=True, text=True,
                              timeout=30, check=False)
        if done.returncode:
            raise DrillError(f"remusctl keys {' '.join(arguments)}: {done.stderr.strip()}")

    def start_remusd(self):
        command = [find_program("remusd"), "--run-dir", self.run, "--listen", ADDRESS[self.name], "--control",
                   self.control, "--trace", self.trace, "--log-level", "info", *self.remusd_options]
        self.remusd = self.spawn(command, "remusd.log")
        wait_for(f"remusd on host {self.name} to answer on {self.control}", 5, self._answers)

    def _answers(self):
        if self.remusd.poll() is not None:
            raise DrillError(f"remusd on host {self.name} ended at once with status {self.remusd.returncode}")
        try:
            return bool(self.status())
        except DrillError:
            return False

    def stop_remusd(self):
        """In order, by SIGTERM; returns what was wrong with how it went, or None."""
        if self.remusd is None or self.remusd.poll() is not None:
            return f"remusd on host {self.name} was not running any more"
        self.remusd.send_signal(signal.SIGTERM)
        try:
            status = self.remusd.wait(12)
        except subprocess.TimeoutExpired:
            self.remusd.kill()
            return f"remusd on host {self.name} did not end within 12 s of SIGTERM"
        return f"remusd on host {self.name} ended with status {status}" if status else None

    def ctl(self, *arguments, timeout):
        """Run remusctl as a person would; DrillError with its message when it fails."""
        command = [find_program("remusctl"), "--control", self.control, *arguments]
        environment = dict(os.environ, REMUS_CONTROL=self.control)
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout,
                                  check=False)
        except subprocess.TimeoutExpired as e:
            raise DrillError(f"remusctl {' '.join(arguments)} took longer than {timeout} s") from e
        if done.returncode:
            raise DrillError(f"remusctl {' '.join(arguments)} failed ({done.returncode}): "
                             f"{done.stderr.strip()[-800:]}")
        return done.stdout

    def status(self):
        """What remusd answers to "status"."""
        return control.request(self.control, "status")[0]

    def domains(self):
        """Status objects; [] when remusd cannot be asked."""
        try:
            return self.status().get("domains", [])
        except DrillError:
            return []

    def events(self):
        """All events so far, oldest first."""
        try:
            lines = control.request(self.control, "events", follow=False)[1]
            return [line["event"] for line in lines if "event" in line]
        except DrillError:
            return []

    # ---- the guest ----
    def start_guest(self, plan):
        """QEMU, with the command of the field's recipe: microvm, memory in a memfd, a datagram netdev. A q35 is there for
        its generation id, which a microvm cannot have."""
        q35 = plan.get("machine") == "q35"
        bus = "pci" if q35 else "device"
        append = (f"console=ttyS0 quiet tsc_early_khz={plan['tsc_khz']} lpj={plan['tsc_khz'] * 4} no_timer_check "
                  f"reboot=t panic=-1 remus.ip={GUEST_IP4}/24 remus.ip6={GUEST_IP6}/64 "
                  f"remus.dirty={plan['dirty']} remus.region_mib={plan['region']} "
                  f"remus.agent={int(plan['agent'])} remus.sample_ms={plan.get('sample_ms', 0)}")
        if plan.get("sample_ms"):  # without it the kernel counts timer interrupts, and a busy host lets some of them fall
            append += " clocksource=tsc tsc=reliable"
        net, switch = os.path.join(self.guest, "net"), os.path.join(self.guest, "switch")
        machine = "microvm,acpi=on,pit=on,pic=on,suppress-vmdesc=on,memory-backend=ram0"
        if q35:
            machine = "q35,suppress-vmdesc=on,memory-backend=ram0"
            append = append.replace("quiet", "loglevel=6")
        command = ["qemu-system-x86_64", "-M", machine, "-accel", "tcg",
                   "-m", str(plan["memory"]),
                   "-object", f"memory-backend-memfd,id=ram0,size={plan['memory']}M,share=on,prealloc=on",
                   "-global", "migration.send-configuration=off", "-display", "none", "-no-reboot", "-nodefaults",
                   "-serial", f"file:{self.serial}", "-qmp", f"unix:{self.qmp},server=on,wait=off",
                   "-kernel", plan["kernel"], "-initrd", plan["initramfs"], "-append", append,
                   "-netdev", f"dgram,id=n0,local.type=unix,local.path={net},remote.type=unix,remote.path={switch}",
                   "-device", f"virtio-net-{bus},netdev=n0,mac={GUEST_MAC}" + (",romfile=" if q35 else ""),
                   "-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", f"virtio-rng-{bus},rng=rng0",
                   "-device", f"virtio-serial-{bus}", "-chardev",
                   f"socket,id=agent,path={os.path.join(self.guest, 'agent')},server=on,wait=off",
                   "-device", "virtserialport,chardev=agent,name=org.remus.agent.0"]
        if plan.get("generation"):
            command += ["-device", "vmgenid,guid=auto,id=generation0"]
        qemu = self.spawn(command, "qemu.log")

        def ready():
            if qemu.poll() is not None:
                raise DrillError(f"the guest's QEMU ended with status {qemu.returncode} while booting")
            text = self.console()
            if "DRILL-FAILED" in text or "Kernel panic" in text:
                raise DrillError("the guest could not start: " + text.strip()[-300:])
            return "DRILL-READY" in text
        began = time.monotonic()
        wait_for("the guest to boot (DRILL-READY on its console)", 60, ready, 0.05)
        return time.monotonic() - began

    def console(self):
        try:
            with open(self.serial, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""
