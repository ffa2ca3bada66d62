# SPDX-License-Identifier: GPL-2.0-or-later
"""Which shared libraries a program needs, read from the file (ELF64, little-endian): no program of the other
system is run to find out, as ldd would.
"""

import os
import struct

from . import LabError

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


def _segments(data):
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, _, at, address, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        yield kind, at, address, length


def _string(data, at):
    return data[at:data.index(b"\0", at)].decode()


def needed(data):
    """The names in DT_NEEDED, and the interpreter's path; [] for what is no ELF file or is static."""
    if data[:6] != b"\x7fELF\x02\x01":
        return []
    try:
        return _needed(data)
    except (struct.error, ValueError) as e:
        raise LabError(f"an ELF file that cannot be read: {e}") from e


def _needed(data):
    segments = list(_segments(data))
    names = [_string(data, at) for kind, at, _, _ in segments if kind == PT_INTERP]
    for kind, at, _, length in segments:
        if kind != PT_DYNAMIC:
            continue
        entries = [struct.unpack_from("<QQ", data, at + i) for i in range(0, length, 16)]
        table = next((value for tag, value in entries if tag == DT_STRTAB), None)
        strings = next((table - address + start for what, start, address, size in segments
                        if what == PT_LOAD and table is not None and address <= table < address + size), None)
        if strings is None:
            raise ValueError("no string table")
        names += [_string(data, strings + value) for tag, value in entries if tag == DT_NEEDED]
    return names


def closure(programs, folders):
    """{name: path} of every library that @programs (paths) need, directly or not, looked for in @folders."""
    found, queue = {}, list(programs)
    while queue:
        path = queue.pop()
        with open(path, "rb") as f:
            names = needed(f.read())
        for name in map(os.path.basename, names):
            if name in found:
                continue
            place = next((p for p in (os.path.join(folder, name) for folder in folders) if os.path.exists(p)), None)
            if not place:
                raise LabError(f"{path} needs {name}, which is in none of {', '.join(folders)}")
            found[name] = place
            queue.append(place)
    return found
