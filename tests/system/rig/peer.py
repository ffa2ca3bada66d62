# SPDX-License-Identifier: GPL-2.0-or-later
"""The other end of the replication port, made by hand: frames (docs/protocol.md), and whatever isn't one."""

import socket
import struct
import threading

HELLO, REFUSE, STATE = 1, 3, 6
MANDATORY = 1


def header(version=1, type_=HELLO, flags=MANDATORY, length=0, magic=b"RMUS", sequence=1):
    """64 bytes with a checksum of zero: good for what is refused before the checksum is looked at."""
    return struct.pack("<4sHHII16sQQQQ", magic, version, type_, flags, length, b"\0" * 16, 0, 0, sequence, 0)


def connect(host, port=7368, seconds=5):
    s = socket.create_connection((host.address, port), timeout=seconds)
    s.settimeout(seconds)
    return s


def read_to_end(s, limit=1 << 20):
    """What comes until the other side closes."""
    data = b""
    try:
        while len(data) < limit:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    except ConnectionResetError:
        pass
    return data


class Peer:
    """A "backup" at @address that answers each connection with @answer and then waits for the end."""

    def __init__(self, address, answer, port=7368):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen()
        self.listener.settimeout(20)
        self.answer, self.heard = answer, b""
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        client.settimeout(10)
        with client:
            try:
                client.sendall(self.answer)
                self.heard = read_to_end(client)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(12)
