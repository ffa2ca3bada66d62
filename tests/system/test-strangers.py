# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has no key, another one, an old session's, or a recording of one, at a replication port with TLS: turned away
with a line in the log, memory and processes bounded, and the guest that is protected there doesn't notice.
"""

import os
import random
import socket
import ssl
import threading
import time

from rig import wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main
from rig.peer import HELLO, STATE, connect, header, read_to_end
from rig.strangers import HANDSHAKE_S, STRANGERS_MAX, StrangersTest, memory_kib


def client_hello_12():
    """A ClientHello of TLS 1.2, without extensions."""
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2f" + b"\x01\0"
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


class Proxy:
    """Between two hosts: passes on what comes and keeps what the client said."""

    def __init__(self, address, to):
        self.listener = socket.create_server((address, 7368))
        self.listener.settimeout(20)
        self.to, self.recorded = to, b""
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        client, _ = self.listener.accept()
        with client, connect(self.to) as server:
            server.settimeout(20)
            back = threading.Thread(target=self._back, args=(server, client), daemon=True)
            back.start()
            client.settimeout(20)
            try:
                while piece := client.recv(65536):
                    self.recorded += piece
                    server.sendall(piece)
                server.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            back.join(20)

    @staticmethod
    def _back(server, client):
        try:
            while piece := server.recv(65536):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        self.thread.join(20)


class SharedKey(StrangersTest):
    def elsewhere(self):
        return self.b.address.rsplit(".", 1)[0] + ".77"

    def test_says_how_it_is_secured(self):
        for host in (self.a, self.b):
            self.assertEqual(host.status()["link"]["security"], "tls1.3 psk remus")
        self.assert_says(self.a.ctl("status", "vm1").out, "tls1.3 psk remus")
        self.assert_says(self.b.ctl("status").out, "link: tls1.3")

    def test_bytes_that_are_no_handshake(self):
        for data in (random.Random(1).randbytes(4096), b"GET / HTTP/1.1\r\n\r\n", header(length=0xffffffff)):
            self.throw(data)
        self.check_undisturbed("127.0.0.1", "doesn't speak TLS 1.3")

    def test_an_older_tls(self):
        self.throw(client_hello_12())
        self.check_undisturbed("TLS")

    def test_another_key(self):
        folder = os.path.join(self.folder, "tls", "others")
        self.make_keys("psk", "--dir", folder)
        c, other = self.host("c", "--tls", folder), FakeGuest.start(self, name="vm2")
        done = c.protect(other, self.b, "--egress", self.sink("switch2").uri)
        self.assert_refused(done, 1, "refuses us", folder)
        self.check_undisturbed("not proved itself", log_lines=1)
        other.check_untouched()

    def test_a_key_of_another_name(self):
        folder = os.path.join(self.folder, "tls", "others")
        self.make_keys("psk", "--dir", folder, "--name", "spare")
        c, other = self.host("c", "--tls", folder), FakeGuest.start(self, name="vm2")
        done = c.protect(other, self.b, "--egress", self.sink("switch2").uri)
        self.assert_refused(done, 1, "refuses us")
        self.check_undisturbed("a key \"spare\"", log_lines=1)
        other.check_untouched()

    def test_plaintext_to_tls(self):
        c, other = self.host("c"), FakeGuest.start(self, name="vm2")
        done = c.protect(other, self.b, "--egress", self.sink("switch2").uri, "--insecure")
        self.assert_refused(done, 1, "it speaks TLS", "--insecure")
        self.check_undisturbed("told --insecure", log_lines=1)
        other.check_untouched()

    def test_tls_to_plaintext(self):
        c, other = self.host("c", "--insecure"), FakeGuest.start(self, name="vm2")
        done = self.a.ctl("protect", other.locator, "--to", c.address, "--egress", self.sink("switch2").uri)
        self.assert_refused(done, 1, "TLS: the peer", "--insecure")  # its heartbeat or its end came first
        wait_for("the log of the other side", lambda: "it speaks TLS" in c.read_log(), 3)
        other.check_untouched()

    def test_replay(self):
        """All that a primary ever sent, sent again: it was for another handshake."""
        other, sink = FakeGuest.start(self, name="vm2"), self.sink("switch2")
        proxy = Proxy(self.elsewhere(), self.b)
        done = self.a.ctl("protect", other.locator, "--to", self.elsewhere(), "--egress", sink.uri, "--dead", "2000")
        self.assertEqual(done.status, 0, done)
        wait_for("some epochs", lambda: self.a.status("vm2")["epochs"]["committed"] > 5)
        self.assertEqual(self.a.ctl("unprotect", "vm2", "--yes").status, 0)
        proxy.close()
        self.assertGreater(len(proxy.recorded), 10000)
        wait_for("the standby to go", lambda: len(self.b.children()) == 1, 5)
        domains = self.b.request({"verb": "status"})[0]["ok"]["domains"]
        for cut in (len(proxy.recorded), 2000):
            self.throw(proxy.recorded[:cut])
        wait_for("the log", lambda: "TLS" in self.b.read_log(), 3)
        wait_for("the strangers' children to end", lambda: len(self.b.children()) == 1, HANDSHAKE_S + 3)
        after = self.b.request({"verb": "status"})[0]["ok"]["domains"]
        self.assertEqual([d["name"] for d in after], [d["name"] for d in domains])
        self.assertEqual(self.a.state(), "protected")
        self.guest.check_runs()
        other.check_runs()

    def test_slow_drip(self):
        """A byte now and then keeps nobody's place: the handshake has a deadline."""
        before, began, crowd = memory_kib(self.b), time.monotonic(), [connect(self.b) for _ in range(STRANGERS_MAX)]
        wait_for("them to be let in", lambda: len(self.b.children()) > STRANGERS_MAX // 2, 3)
        data, alive = b"\x16\x03\x01\x40\x00" + bytes(4096), set(crowd)
        while alive and time.monotonic() - began < 3 * HANDSHAKE_S:
            for s in list(alive):
                try:
                    s.sendall(data[:1])
                except OSError:
                    alive.discard(s)
            data = data[1:]
            time.sleep(0.1)
        self.assertFalse(alive, "nobody closed it")
        self.assertLess(memory_kib(self.b) - before, STRANGERS_MAX * 8 * 1024)
        for s in crowd:
            s.close()
        self.check_undisturbed("no handshake in time")

    def test_a_thousand_connects(self):
        before, most = memory_kib(self.b), 0
        for i in range(1000):
            with connect(self.b):
                if i % 50 == 0:
                    most = max(most, len(self.b.children()))
        self.assertLessEqual(most, STRANGERS_MAX + 1)
        self.assertLess(memory_kib(self.b) - before, (STRANGERS_MAX + 1) * 8 * 1024)
        self.check_undisturbed("closed the connection in the handshake")
        # And there is room for those who are welcome.
        other = FakeGuest.start(self, name="vm2")
        wait_for("the next to be let in", lambda: self.a.protect(
            other, self.b, "--egress", self.switch.uri).status == 0, 10, every=1)

    def test_an_old_generation(self):
        """A primary that forgot what became of its session cannot take up an older one."""
        self.assertEqual(self.a.ctl("unprotect", "vm1", "--yes").status, 0)
        self.a.kill()
        record = next(os.path.join(self.a.run, f) for f in self.a.files() if f.endswith(".session"))
        with open(record, encoding="utf-8") as f:
            text = f.read()
        self.assertIn('"generation": 1', text)
        with open(record, "w", encoding="utf-8") as f:
            f.write(text.replace('"generation": 1', '"generation": 0'))
        self.a.start("--arbiter", "file:" + self.arbiter())
        wait_for("the guest to have its network again", lambda: "remus-relay" in self.a.children().values())
        done = self.a.ctl("protect", "vm1", "--to", self.b.address)
        self.assertNotEqual(done.status, 0)
        self.assert_says(done.err, "generation 1 of this session is over")
        self.guest.check_runs()


class Certificates(SystemTest):
    """A peer by its name: python's ssl speaks TLS with certificates."""

    def setUp(self):
        super().setUp()
        self.ca = os.path.join(self.folder, "tls")
        self.make_keys("ca", "--dir", self.ca)
        self.b = self.host("b", "--tls", self.keys_for("hostb", "--peer", "hosta"))

    def keys_for(self, name, *more):
        folder = os.path.join(self.ca, name)
        self.make_keys("host", "--dir", self.ca, "--out", folder, "--name", name, *more)
        return folder

    def context(self, keys=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(os.path.join(self.ca, "ca.pem"))
        if keys:
            context.load_cert_chain(os.path.join(keys, "host.pem"))
        return context

    def throw(self, data, keys=None, **limits):
        """What came of it: bytes, or the reason why there are none."""
        context = self.context(keys)
        for name, value in limits.items():
            setattr(context, name, value)
        with connect(self.b, seconds=8) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="hostb") as s:
                    s.sendall(data)
                    return read_to_end(s)
            except OSError as e:
                return e

    def check_refused(self, *logged):
        wait_for("the log to say why", lambda: all(w in self.b.read_log() for w in logged), 3)
        wait_for("remusd to be without children", lambda: not self.b.children(), 5)
        self.assertEqual(self.b.request({"verb": "status"})[0]["ok"]["domains"], [])

    def test_protect(self):
        a = self.host("a", "--tls", self.keys_for("hosta", "--peer", "hostb"))
        guest, sink = FakeGuest.start(self), self.sink()
        done = a.protect(guest, self.b, "--egress", sink.uri)
        self.assert_refused(done, 1, "\"hostb\"", "--tls-peer")
        guest.check_untouched()
        done = a.protect(guest, self.b, "--egress", sink.uri, "--tls-peer", "hostb")
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.status()["link"]["security"], "tls1.3 x509 hostb")
        self.assertEqual(self.b.status()["link"]["security"], "tls1.3 x509 hosta")
        guest.check_runs()

    def test_a_host_that_is_no_peer(self):
        self.throw(b"x", self.keys_for("hostc"))
        self.check_refused("\"hostc\"", "not among those in")

    def test_no_certificate(self):
        self.throw(b"x")
        self.check_refused("no certificate")

    def test_tls_12(self):
        self.assertIsInstance(self.throw(b"x", self.keys_for("hosta"), maximum_version=ssl.TLSVersion.TLSv1_2), OSError)
        self.check_refused("TLS")

    def test_huge_length(self):
        """From a peer that has the keys and lost its mind."""
        keys, before = self.keys_for("hosta"), memory_kib(self.b)
        for kind in (HELLO, STATE, 99):
            self.throw(header(type_=kind, length=0xffffffff) + b"x" * 1000, keys)
        self.assertLess(memory_kib(self.b) - before, 16 * 1024)
        self.check_refused("4294967295 bytes", "at most 65536", "type 99")

    def test_silence(self):
        """After a handshake, no hello and no heartbeat."""
        began = time.monotonic()
        context = self.context(self.keys_for("hosta"))
        with connect(self.b, seconds=3 * HANDSHAKE_S) as plain, \
                context.wrap_socket(plain, server_hostname="hostb") as s:
            read_to_end(s)
        self.assertLess(time.monotonic() - began, HANDSHAKE_S + 3)
        self.check_refused("no sign of life")


if __name__ == "__main__":
    main()
