# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's base: Debian packages, downloaded by apt-get (which checks them against the signed lists), unpacked
into a cache folder, never installed.

    CACHE/lab/base-ID/root      all packages, unpacked over each other
                      xen       the hypervisor, uncompressed
                      vmlinux   the kernel of dom0s and guests, uncompressed: an emulated CPU takes long to unpack
                      manifest  JSON: the packages, and the SHA-256 of the files that are booted

ID names the list of packages. A base appears whole or not at all, and is checked each time it is used.
"""

import glob
import gzip
import hashlib
import json
import lzma
import os
import re
import shutil
import struct
import tempfile

from remus_drill import assets

from . import LabError

XEN = "4.17"
KERNEL = "linux-image-amd64"
PACKAGES = f"""xen-hypervisor-{XEN}-amd64 xen-utils-{XEN} xen-utils-common xenstore-utils
    libxenmisc{XEN} libxencall1 libxendevicemodel1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1
    libxenstore4 libxentoolcore1 libxentoollog1 libyajl2 libfdt1 libncurses6 libtinfo6 libnl-3-200 libnl-route-3-200
    busybox-static bash coreutils iproute2 libc6 libgcc-s1 libbpf1 libelf1 libmnl0 libdb5.3 libcap2 libxtables12
    libbsd0 libmd0 libselinux1 libpcre2-8-0 zlib1g liblzma5 libzstd1 libgmp10 libacl1 libattr1 libuuid1 libbz2-1.0
    liblzo2-2 libsystemd0 liblz4-1 libgcrypt20 libgpg-error0 libjansson4 libxxhash0""".split()
BOOTED = ("xen", "vmlinux")


def _sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
            else hashlib.sha256(f.read()).hexdigest()


def vmlinux(image):
    """The ELF kernel inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset and _length)."""
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start:start + length]
    try:
        if payload[:6] == b"\xfd7zXZ\0":
            kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)  # the size follows the stream
        elif payload[:2] == b"\x1f\x8b":
            kernel = gzip.decompress(payload)
        else:
            raise LabError(f"the kernel is compressed in an unknown way ({payload[:6].hex()})")
    except (lzma.LZMAError, OSError) as e:
        raise LabError(f"the kernel cannot be uncompressed: {e}") from e
    if kernel[:4] != b"\x7fELF":
        raise LabError("what the kernel image holds is no ELF file")
    return kernel


def _download(folder, say):
    depends = assets.run("looking up the kernel", ["apt-cache", "depends", "--important", KERNEL])
    names = re.findall(r"Depends: (linux-image-\S+)", depends)
    if not names:
        raise LabError(f"apt knows no {KERNEL}; run \"apt-get update\" as root")
    wanted = [names[0], *PACKAGES]
    say(f"fetching {len(wanted)} Debian packages (100 MB, unpacked into the cache, not installed)")
    assets.run("downloading packages", ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", *wanted], folder)
    files = sorted(glob.glob(os.path.join(folder, "*.deb")))
    if len(files) != len(wanted):
        raise LabError(f"{len(wanted)} packages were asked for, but apt-get left {len(files)}")
    return files


def _build(lab_cache, name, say):
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=lab_cache) as folder:
        files = _download(folder, say)
        base = os.path.join(folder, "base")
        root = os.path.join(base, "root")
        os.makedirs(root)
        for file in files:
            assets.run("unpacking " + os.path.basename(file), ["dpkg-deb", "-x", file, root])
        kernel, = glob.glob(os.path.join(root, "boot/vmlinuz-*"))
        with gzip.open(os.path.join(root, f"boot/xen-{XEN}-amd64.gz")) as f:
            with open(os.path.join(base, "xen"), "wb") as to:
                shutil.copyfileobj(f, to)
        with open(kernel, "rb") as f, open(os.path.join(base, "vmlinux"), "wb") as to:
            to.write(vmlinux(f.read()))
        manifest = {"packages": [os.path.basename(f)[:-len(".deb")] for f in files],
                    "kernel": os.path.basename(kernel)[len("vmlinuz-"):],
                    "sha256": {file: _sha256(os.path.join(base, file)) for file in BOOTED}}
        with open(os.path.join(base, "manifest"), "w", encoding="utf-8") as f:
            json.dump(manifest, f, indent=1)
        try:
            os.rename(base, os.path.join(lab_cache, name))
        except OSError:
            pass  # another lab was faster


class Base:
    """A checked base: paths into it."""

    def __init__(self, folder):
        self.folder = folder
        self.root, self.xen, self.vmlinux = (os.path.join(folder, f) for f in ("root", "xen", "vmlinux"))
        with open(os.path.join(folder, "manifest"), encoding="utf-8") as f:
            self.manifest = json.load(f)
        for file, digest in self.manifest["sha256"].items():
            if _sha256(os.path.join(folder, file)) != digest:
                raise ValueError(f"{file} is not what was stored")
        kernel = self.manifest["kernel"]
        self.modules = next(m for m in (f"{self.root}/lib/modules/{kernel}", f"{self.root}/usr/lib/modules/{kernel}")
                            if os.path.isdir(m))


def base(say, refresh=False):
    """The base, from the cache when it is there and whole."""
    lab_cache = os.path.join(assets.cache_folder(), "lab")
    os.makedirs(lab_cache, exist_ok=True)
    name = "base-" + hashlib.sha256(" ".join([KERNEL, *PACKAGES]).encode()).hexdigest()[:10]
    folder = os.path.join(lab_cache, name)
    if refresh:
        shutil.rmtree(folder, ignore_errors=True)
    if not os.path.isdir(folder):
        _build(lab_cache, name, say)
    try:
        return Base(folder)
    except (OSError, ValueError, KeyError, StopIteration) as e:
        say(f"the cached base {folder} is damaged ({e}): fetching it again")
    shutil.rmtree(folder, ignore_errors=True)
    _build(lab_cache, name, say)
    return Base(folder)
