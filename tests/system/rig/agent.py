# SPDX-License-Identifier: GPL-2.0-or-later
"""An agent of a fake guest, which has one when somebody listens on SOCKET.agent. The lines are those of
include/remus/renewal.h, written from its description; the checksum is libxxhash's.
"""

import ctypes
import os
import re
import socket
import threading

XXH3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
XXH3.restype, XXH3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
VERSION = "7.1"


def line(verb, number, **members):
    text = " ".join(["remus1", verb, f"{number:016x}", *(f"{k}={v}" for k, v in members.items())]).encode()
    return b"%s *%08x\n" % (text, XXH3(text, len(text)) & 0xffffffff)


class FakeAgent:
    """Answers hello? always, renew as long as `renews`. `times` is how often it asks for the time before."""

    def __init__(self, control, renews=True, times=1):
        self.path = control + ".agent"
        self.renews, self.times = renews, times
        self.heard, self.seeds, self.activations = [], [], []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return  # closed
            with peer:
                pending = b""
                try:
                    while data := peer.recv(4096):
                        *lines, pending = (pending + data).split(b"\n")
                        for text in filter(None, lines):
                            self._answer(peer, text.decode())
                except OSError:
                    pass

    def _answer(self, peer, text):
        verb, number, rest = re.fullmatch(r"remus1 (\S+) ([0-9a-f]{16})(.*) \*[0-9a-f]{8}", text).groups()
        number = int(number, 16)
        self.heard.append(verb)
        if verb == "hello?":
            peer.sendall(line("hello", number, version=VERSION))
        elif verb == "renew" and self.renews:
            self.seeds.append(re.search(r" seed=(\S+)", rest)[1])
            self.activations.append(number)
            peer.sendall(line("time?", number, n=1) if self.times else self._renewed(number))
        elif verb == "time":
            asked = int(re.search(r" n=(\d+)", rest)[1])
            peer.sendall(line("time?", number, n=asked + 1) if asked < self.times else self._renewed(number))

    @staticmethod
    def _renewed(number):
        return line("renewed", number, reseed=0, bits=512, clock="stepped", offset=1500000, step=1500000, slew=0,
                    error=250000) + line("hooks", number, ran=2, failed=1, first="10-some")

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if os.path.exists(self.path):  # a standby's goes with its folder
            os.unlink(self.path)
