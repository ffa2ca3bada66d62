# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab boots: dom0's initramfs (Xen's userland, a few tools, our programs, all with their libraries) and
the guest's (the drill's guest program and xen-netfront). Neither is unpacked or changed after that: a host that is
booted again is a new host.
"""

import glob
import os

from remus_drill import assets
from remus_drill.hosts import find_program

from . import LabError, elf, modules
from .packages import XEN

HERE = os.path.dirname(os.path.realpath(__file__))
FOLDERS = ("bin", "dev", "etc/xen", "lab", "lib", "lib64", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin",
           "usr/lib/tc", "var/lib/xen", "var/lib/xenstored", "var/log")
LIB = "usr/lib/x86_64-linux-gnu"
XEN_BIN = f"usr/lib/xen-{XEN}/bin"
XEN_PROGRAMS = ("xl", "xenstored", "xenconsoled", "xenconsole", "libxl-save-helper", "xen-init-dom0", "xenpm", "xenctx",
                "xen-hptool", "xentop", "lsevtchn", "readnotes")
XENSTORE_PROGRAMS = ("read", "write", "ls", "list", "rm", "watch", "exists", "chmod")
# What Xen's hotplug scripts want of GNU's tools, and what the lab itself calls. The rest is busybox.
TOOLS = ("bash", "ip", "tc", "bridge", "ss", "stat", "date", "readlink", "realpath", "sort", "timeout", "dd")
OURS = {"remusd": "usr/sbin", "remusctl": "usr/bin", "remus-xen-keeper": "usr/sbin", "remus-xen-saver": "usr/sbin",
        "remus-lab-xen": "usr/bin"}
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "group": "root:x:0:\n",
    "hosts": "127.0.0.1 localhost\n10.78.0.1 hosta\n10.78.0.2 hostb\n",
    "xen/xl.conf": 'autoballoon=0\nlockfile="/run/xl.lock"\nvif.default.bridge="xenbr0"\n',
}


class Tree:
    """An initramfs that is filled from programs: each comes with its libraries, once."""

    def __init__(self, root):
        self.root = root
        self.cpio = assets.Cpio()
        self.programs = []
        self.names = set()
        self.libraries = [os.path.join(root, place) for place in (LIB, "lib/x86_64-linux-gnu", "lib64", "lib")]
        self.libraries += ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/local/lib", "/lib64",
                           "/usr/lib64"]

    def directory(self, name):
        parts = name.split("/")
        for i in range(1, len(parts) + 1):
            if (place := "/".join(parts[:i])) and place not in self.names:
                self.names.add(place)
                self.cpio.directory(place)

    def data(self, name, body, mode=0o644):
        if name in self.names:
            return
        self.directory(os.path.dirname(name))
        self.names.add(name)
        self.cpio.file(name, body, mode)

    def copy(self, path, name, mode=None):
        with open(path, "rb") as f:
            self.data(name, f.read(), mode or os.stat(path).st_mode & 0o777)

    def link(self, name, target):
        if name not in self.names:
            self.directory(os.path.dirname(name))
            self.names.add(name)
            self.cpio.link(name, target)

    def program(self, path, name):
        self.copy(path, name, 0o755)
        self.programs.append(path)

    def package_program(self, *places):
        """The first of @places that the base has, at the same place."""
        for place in places:
            path = os.path.join(self.root, place)
            if os.path.isfile(path):
                self.program(path, place)
                return
        raise LabError(f"none of {', '.join(places)} is in the packages")

    def finish(self):
        for name, path in elf.closure(self.programs, self.libraries).items():
            self.copy(path, ("lib64/" if name.startswith("ld-linux") else "lib/") + name, 0o755)
        return self.cpio.finish()


def _busybox(tree):
    path = next(p for p in (os.path.join(tree.root, place) for place in ("bin/busybox", "usr/bin/busybox"))
                if os.path.isfile(p))
    tree.copy(path, "bin/busybox", 0o755)
    for applet in assets.run("asking busybox what it can do", [path, "--list"]).split():
        if applet not in ("busybox", *TOOLS):
            tree.link(f"bin/{applet}", "/bin/busybox")
    for name in ("modprobe", "insmod"):
        tree.link(f"sbin/{name}", "/bin/busybox")


def _xen(tree):
    for name in XEN_PROGRAMS:
        tree.package_program(f"{XEN_BIN}/{name}")
    tree.link("usr/lib/xen", f"xen-{XEN}")
    tree.link("usr/sbin/xl", f"/{XEN_BIN}/xl")
    for name in XENSTORE_PROGRAMS:
        tree.package_program(f"usr/bin/xenstore-{name}", f"usr/sbin/xenstore-{name}")
    scripts = os.path.join(tree.root, "etc/xen/scripts")
    for file in sorted(os.listdir(scripts)):
        tree.copy(os.path.join(scripts, file), f"etc/xen/scripts/{file}", 0o755)


def _modules(tree, base):
    order = assets.module_order(base.modules, modules.DOM0_LOADED + modules.DOM0_LOADABLE)
    place = "lib/modules/" + base.manifest["kernel"]
    for name, data in order:
        tree.data(f"{place}/{name}.ko", data)
    for name, text in modules.tables(order, assets.module_depends).items():
        tree.data(f"{place}/{name}", text.encode())
    return {name for name, _ in order}


def _ours(tree, extra, say):
    tree.program(find_program("remus-lab-agent"), "usr/bin/remus-lab-agent")
    for name, place in OURS.items():
        try:
            tree.program(find_program(name), f"{place}/{name}")
        except LabError as e:
            say(f"dom0 gets no {name}: {e}")
    for path in extra:
        if not os.path.isfile(path):
            raise LabError(f"--extra {path} is no file")
        tree.program(path, "usr/bin/" + os.path.basename(path))


def dom0(base, extra, say):
    """(initramfs, the modules that its init shall load)."""
    tree = Tree(base.root)
    for folder in FOLDERS:
        tree.directory(folder)
    tree.cpio.character_device("dev/console", 5, 1)
    tree.link("var/run", "/run")
    tree.link("var/lock", "/run/lock")
    for name, text in ETC.items():
        tree.data("etc/" + name, text.encode())
    _ours(tree, extra, say)
    for name in TOOLS:
        tree.package_program(f"bin/{name}", f"usr/bin/{name}", f"sbin/{name}", f"usr/sbin/{name}")
    for file in glob.glob(os.path.join(base.root, "usr/lib/tc/*")):
        tree.copy(file, "usr/lib/tc/" + os.path.basename(file))
    _busybox(tree)
    _xen(tree)
    known = _modules(tree, base)
    # libgcc is opened by name when a thread ends; no DT_NEEDED tells.
    tree.copy(next(p for p in (os.path.join(f, "libgcc_s.so.1") for f in tree.libraries) if os.path.exists(p)),
              "lib/libgcc_s.so.1")
    tree.copy(os.path.join(HERE, "../host/init"), "init", 0o755)
    return tree.finish(), [name for name in modules.DOM0_LOADED if name in known]


def guest(base):
    """The guest's initramfs: the drill's, with the modules of a Xen guest."""
    return assets.initramfs(find_program("remus-drill-guest"), assets.module_order(base.modules, modules.GUEST),
                            find_program("remus-agent"))
