# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that lacks something or forbids it: a seccomp filter for the process to be started and its children.

Each rule is (system call, number of the argument to look at or None, its value, errno to answer with).
"""

import ctypes
import errno
import struct

PTRACE, IOCTL, SOCKET, USERFAULTFD = 101, 16, 41, 323  # x86_64
PAGEMAP_SCAN = 0xc0606610
AF_PACKET = 17

NO_PTRACE = (PTRACE, None, 0, errno.EPERM)
NO_PAGEMAP_SCAN = (IOCTL, 1, PAGEMAP_SCAN, errno.ENOTTY)
NO_PACKET_SOCKETS = (SOCKET, 0, AF_PACKET, errno.EPERM)

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_ALLOW, _ERRNO = 0x7fff0000, 0x00050000
_libc = ctypes.CDLL(None, use_errno=True)


def _program(rules):
    code = []
    for call, argument, value, answer in rules:
        code.append((_LOAD, 0, 0, 0))  # the number of the system call
        if argument is None:
            code += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ERRNO | answer)]
        else:
            code += [(_EQUAL, 0, 3, call), (_LOAD, 0, 0, 16 + 8 * argument), (_EQUAL, 0, 1, value),
                     (_RETURN, 0, 0, _ERRNO | answer)]
    code.append((_RETURN, 0, 0, _ALLOW))
    return code


def forbid(*rules):
    """A function for subprocess's preexec_fn."""
    code = _program(rules)
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in code))
    filter_ = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(instructions))

    def apply(_keep=instructions):
        if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, filter_, 0, 0):  # NO_NEW_PRIVS, SECCOMP_MODE_FILTER
            raise OSError(ctypes.get_errno(), "seccomp")
    return apply
