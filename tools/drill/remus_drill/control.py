# SPDX-License-Identifier: GPL-2.0-or-later
"""The two control ports that the drill talks to: remusd's (docs/control.md) and the guest's (guest/echo.c)."""

import json
import socket

from . import DrillError
from .topology import GUEST_IP4


class Refused(DrillError):
    """remusd answered with an error."""


def _lines(connection):
    buffer = b""
    while True:
        data = connection.recv(65536)
        if not data:
            return
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            yield json.loads(line)


def request(path, verb, timeout=5, **members):
    """One request to remusd: (the final answer, the lines before it)."""
    before = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(json.dumps({"verb": verb, **members}).encode() + b"\n")
            for line in _lines(connection):
                if "ok" in line:
                    return line["ok"], before
                if "error" in line:
                    raise Refused(f"{verb}: {line['error'].get('message', line['error'])}")
                before.append(line)
    except (OSError, ValueError) as e:
        raise DrillError(f"asking remusd for {verb} on {path}: {e}") from e
    raise DrillError(f"remusd closed {path} without an answer to {verb}")


def guest(command, timeout=15):
    """One command to the guest; its answer, or None for "poweroff", which gets none: what the guest sends after
    its last acknowledged epoch never leaves the host."""
    try:
        with socket.create_connection((GUEST_IP4, 7001), timeout=timeout) as connection:
            connection.sendall(command.encode() + b"\n")
            if command == "poweroff":
                return None
            for line in _lines(connection):
                return line[command]
    except (OSError, ValueError, KeyError) as e:
        raise DrillError(f"the guest's control port did not answer \"{command}\": {e}") from e
    raise DrillError(f"the guest closed its control port before answering \"{command}\"")
