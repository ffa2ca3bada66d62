# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest boots from: a kernel, its modules, an initramfs.

The kernel is Debian's cloud image package, downloaded with apt-get and unpacked (never installed) into a cache
folder; only the kernel and the few modules that the guest needs are kept. The initramfs is written here, as a
"newc" cpio archive: the guest program as /init, the modules, and their load order.
"""

import lzma
import os
import re
import shutil
import subprocess
import tempfile
import zlib

from . import DrillError

PACKAGE = "linux-image-cloud-amd64"
MODULES = ("virtio_mmio", "virtio_net", "virtio_console", "virtio_rng")
# The cloud kernel has no driver for the generation id (CONFIG_VMGENID), the general one has it built in.
GENERAL_PACKAGE = "linux-image-amd64"
PCI_MODULES = ("virtio_pci", "virtio_net", "virtio_console", "virtio_rng")


class Cpio:
    """Writes an initramfs (newc, the format of Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.data = bytearray()
        self.inode = 0

    def _add(self, name, mode, body=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(body), 0, 0, *device, len(encoded), 0)
        self.data += b"070701" + b"".join(b"%08X" % f for f in fields) + encoded
        self._pad()
        self.data += body
        self._pad()

    def _pad(self):
        self.data += bytes(-len(self.data) % 4)

    def directory(self, name):
        self._add(name, 0o040755)

    def file(self, name, body, mode=0o644):
        self._add(name, 0o100000 | mode, body)

    def link(self, name, target):
        self._add(name, 0o120777, target.encode())

    def character_device(self, name, major, minor):
        self._add(name, 0o020600, device=(major, minor))

    def finish(self):
        self._add("TRAILER!!!", 0)
        self.data += bytes(-len(self.data) % 512)
        return bytes(self.data)


def module_name(path):
    """The module's name as the kernel writes it: "virtio-rng.ko.xz" is virtio_rng."""
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def read_module(path):
    with open(path, "rb") as f:
        data = f.read()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    if not path.endswith(".ko"):
        raise DrillError(f"module {path} is compressed in a way that Python cannot read; use a kernel whose "
                         "modules are .ko or .ko.xz files")
    return data


def module_depends(data):
    """What the module's .modinfo section says it depends on."""
    found = re.search(rb"(?:^|\0)depends=([^\0]*)\0", data)
    return [d.replace("-", "_") for d in found.group(1).decode().split(",") if d] if found else []


def module_order(tree, wanted=MODULES):
    """[(name, bytes)] in load order: each module after what it depends on. Built-in ones are left out."""
    paths, builtin, order = {}, set(), {}
    for folder, _, files in os.walk(tree):
        for file in files:
            if ".ko" in file:
                paths[module_name(file)] = os.path.join(folder, file)
    listed = os.path.join(tree, "modules.builtin")
    if os.path.exists(listed):
        with open(listed, encoding="utf-8") as f:
            builtin = {module_name(line.strip()) for line in f}

    def visit(name):
        if name in order or name in builtin:
            return
        if name not in paths:
            raise DrillError(f"the kernel's modules in {tree} have no {name}, which the guest needs")
        data = read_module(paths[name])
        for dependency in module_depends(data):
            visit(dependency)
        order[name] = data

    for name in wanted:
        visit(name)
    return list(order.items())


def initramfs(guest_program, modules, agent=None):
    """The archive: @guest_program and @agent (remus-agent, or none) are paths, @modules come from module_order()."""
    cpio = Cpio()
    for name in ("dev", "proc", "sys", "modules"):
        cpio.directory(name)
    cpio.character_device("dev/console", 5, 1)
    with open(guest_program, "rb") as f:
        program = f.read()
    cpio.file("init", program, 0o755)
    if agent:
        with open(agent, "rb") as f:
            cpio.file("agent", f.read(), 0o755)
        for name in ("etc", "etc/remus", "etc/remus/resume.d"):
            cpio.directory(name)
        cpio.link("etc/remus/resume.d/drill", "/init")
    for name, data in modules:
        cpio.file(f"modules/{name}.ko", data)
    if modules:
        cpio.file("modules/order", "".join(f"{name}.ko\n" for name, _ in modules).encode())
    return cpio.finish()


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "remus")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as e:
        raise DrillError(f"cannot make the cache folder {folder}: {e.strerror}; set XDG_CACHE_HOME to a folder "
                         "that can be written") from e
    return folder


def run(what, command, cwd=None):
    """A helper program's output; DrillError, with what it said, when it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise DrillError(f"{what}: {e}") from e
    if done.returncode:
        raise DrillError(f"{what}: {' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _download(folder, package, say):
    depends = run("looking up the kernel", ["apt-cache", "depends", "--important", package])
    names = re.findall(r"Depends: (linux-image-\S+)", depends)
    if not names:
        raise DrillError(f"apt knows no {package}; run \"apt-get update\" as root, or give --kernel and --modules")
    say(f"fetching {names[0]} ({27 if package == PACKAGE else 70} MB, unpacked into {os.path.dirname(folder)}, not installed)")
    run("downloading the kernel", ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", names[0]], folder)
    packages = [f for f in os.listdir(folder) if f.endswith(".deb")]
    if len(packages) != 1:
        raise DrillError(f"apt-get download {names[0]} left no package in {folder}")
    run("unpacking the kernel", ["dpkg-deb", "-x", packages[0], "tree"], folder)
    return os.path.join(folder, "tree"), packages[0]


def _unpack(cache, package, wanted, say):
    """Fill the cache: vmlinuz and NN-NAME.ko files, in load order. Appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
        tree, file = _download(folder, package, say)
        boot = [f for f in os.listdir(os.path.join(tree, "boot")) if f.startswith("vmlinuz-")]
        version = boot[0][len("vmlinuz-"):]
        modules = os.path.join(tree, "lib/modules", version)
        result = os.path.join(folder, "result")
        os.mkdir(result)
        shutil.copy(os.path.join(tree, "boot", boot[0]), os.path.join(result, "vmlinuz"))
        for i, (name, data) in enumerate(module_order(modules, wanted)):
            with open(os.path.join(result, f"{i:02}-{name}.ko"), "wb") as f:
                f.write(data)
        with open(os.path.join(result, "package"), "w", encoding="utf-8") as f:
            f.write(file + "\n")
        try:
            os.rename(result, os.path.join(cache, cache_name(version, wanted)))
        except OSError:
            pass  # another drill was faster
    return cache_name(version, wanted)


def cache_name(version, wanted):
    """A folder whose modules are others than those wanted today is not taken for what is there."""
    return f"kernel-{version}-{zlib.crc32(' '.join(wanted).encode()):08x}"


def _version(name):
    return [int(n) for n in re.findall(r"\d+", name)]


def kernel(options, say, package=PACKAGE, wanted=MODULES):
    """(path of the kernel, [(module name, bytes)] in load order)."""
    if options.kernel:
        if not os.access(options.kernel, os.R_OK):
            raise DrillError(f"--kernel {options.kernel} cannot be read")
        return os.path.abspath(options.kernel), module_order(options.modules, wanted) if options.modules else []
    cache = cache_folder()
    known = sorted((k for k in os.listdir(cache) if k.startswith("kernel-") and k.endswith(cache_name("", wanted)[7:])),
                   key=_version)
    folder = os.path.join(cache, known[-1] if known else _unpack(cache, package, wanted, say))
    files = sorted(f for f in os.listdir(folder) if f.endswith(".ko"))
    modules = [(f[3:-3], read_module(os.path.join(folder, f))) for f in files]
    return os.path.join(folder, "vmlinuz"), modules


def tsc_khz(guest_program):
    """The host's time stamp counter, measured: microvm guests do not find out by themselves on a busy host."""
    return int(run("measuring the time stamp counter", [guest_program, "--tsc-khz"]))
