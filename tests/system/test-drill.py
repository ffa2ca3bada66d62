# SPDX-License-Identifier: GPL-2.0-or-later
"""remusctl drill: a copy of a standby runs for a while, protection goes on, and nothing is left of it (I13)."""

import json
import os
import threading

from rig import installed, wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main
from rig.qemu import Qemu


def qemus_below(folder):
    """The pids of QEMUs whose monitor is below @folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if any(w.startswith(b"unix:" + folder.encode()) for w in words):
            found.append(int(pid))
    return found


class Drill(SystemTest):
    def drill(self, host, *options, domain="vm1"):
        return host.ctl("drill", domain, *options, timeout=60)

    def in_background(self, host, *options):
        """A drill that runs beside the test; call the result for what came of it."""
        answer = []
        thread = threading.Thread(target=lambda: answer.append(self.drill(host, *options)))
        thread.start()

        def end():
            thread.join(60)
            return answer[0]
        return end

    def test_protection_goes_on(self):
        a, b, guest, _ = self.protected_pair()
        before = a.status()["epochs"]["committed"]
        files = b.files()
        done = self.drill(b, "--seconds", "1", "--json")
        self.assertEqual(done.status, 0, done)
        result = json.loads(done.out)
        self.assertTrue(result["passed"], result)
        self.assertEqual(result["name"], "vm1")
        self.assertGreaterEqual(result["ran_ms"], 1000)
        self.assertGreaterEqual(result["epoch"], before)
        self.assertRegex(result["seed"], "^[0-9a-f]{16}$")
        self.assertEqual((a.state(), b.state()), ("protected", "standby"))
        self.assertGreater(a.status()["epochs"]["committed"], result["epoch"])
        self.assertEqual(b.files(), files)
        self.assertIn("drill", b.kinds())
        # Once more, in words; each has a seed of its own, none of which is told but by its fingerprint.
        again = self.drill(b, "--seconds", "1")
        self.assertEqual(again.status, 0, again)
        self.assert_says(again.out, "vm1:", "cut off from everything", "destroyed", "acknowledgements waited")
        self.assertNotIn(result["seed"], again.out)
        guest.check_runs()
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_the_guest_comes_first(self):
        """A failover in the middle of a drill: the guest runs, the drill ends and says why."""
        self.claims = 1
        a, b, guest, _ = self.protected_pair()
        end = self.in_background(b, "--seconds", "60")
        wait_for("the copy to be there", lambda: any("drill/" in f for f in b.files()), 10)
        os.kill(guest.pid, 9)
        b.wait_state("active")
        done = end()
        self.assertEqual(done.status, 1, done)
        wait_for("the copy to be gone", lambda: not any("drill" in f for f in b.files()), 10)
        self.survivor(b).check_runs()
        guest.clear()

    def test_where_none_can_be_held(self):
        a, b, _, _ = self.protected_pair()
        self.assert_refused(self.drill(a), 1, "no standby here", "host that stands by")
        self.assert_refused(self.drill(b, domain="nobody"), 4, "nobody")
        self.assertEqual(self.drill(b, "--seconds", "0").status, 2)
        answer = b.request({"verb": "drill", "domain": "vm1", "seconds": 10**6})[0]
        self.assert_says(answer["error"]["message"], "seconds", "3600")
        # One at a time, and the second says so.
        end = self.in_background(b, "--seconds", "3")
        wait_for("the copy to be there", lambda: any("drill/" in f for f in b.files()), 10)
        done = b.request({"verb": "drill", "domain": "vm1", "seconds": 1}, seconds=20)
        self.assertFalse(done[0]["ok"]["passed"], done)
        self.assert_says(done[0]["ok"]["what"], "under way")
        self.assertEqual(end().status, 0, "the first one was told of the second")
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        wait_for("the standby to be gone", lambda: not b.children(), 5)
        self.assert_refused(self.drill(b), 1, "no standby here")

    def test_protection_ends(self):
        """In the middle of a drill: the copy goes with the standby (I13)."""
        a, b, guest, _ = self.protected_pair()
        end = self.in_background(b, "--seconds", "60")
        copy = wait_for("the copy's socket", lambda: next((f for f in b.files() if f.endswith("drill/fake.sock")), None))
        wait_for("the copy to be made", lambda: "taken for the guest's drill" in b.read_log())
        FakeGuest(os.path.join(b.run, copy)).check_runs()
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        self.assertEqual(end().status, 1)
        wait_for("the standby and the copy to be gone", lambda: not b.children(), 5)
        guest.check_runs()


class QemuDrill(Drill):
    test_protection_goes_on = test_the_guest_comes_first = test_where_none_can_be_held = None
    test_protection_ends = None

    def setUp(self):
        if not installed("qemu-system-x86_64"):
            self.skipTest("qemu-system-x86_64 is not installed (Debian: qemu-system-x86)")
        super().setUp()
        self.a, self.b = self.host("a"), self.host("b")
        self.guest = Qemu(self)
        done = self.a.protect(self.guest, self.b, "--egress", self.sink().uri)
        self.assertEqual(done.status, 0, done)

    def copy(self):
        """The pid of the copy's QEMU."""
        return wait_for("the copy's QEMU", lambda: next(
            iter(p for p in qemus_below(self.b.run) if p != self.b.status()["guest_pid"]), None), 15)

    def test_passes(self):
        done = self.drill(self.b, "--seconds", "1", "--json")
        self.assertEqual(done.status, 0, done)
        result = json.loads(done.out)
        self.assertTrue(result["passed"] and result["ran_ms"] >= 1000, result)
        self.assertEqual(len(qemus_below(self.b.run)), 1, "the copy's QEMU is left")
        self.assertEqual(self.a.state(), "protected")
        self.assertEqual(self.a.ctl("unprotect", "vm1").status, 0)

    def test_a_copy_that_dies_is_no_pass(self):
        end = self.in_background(self.b, "--seconds", "60")
        pid = self.copy()
        wait_for("the copy to run", lambda: "drill" in str(self.b.files()), 10)
        os.kill(pid, 9)
        done = end()
        self.assertEqual(done.status, 1, done)
        self.assert_says(done.out, "failed")
        self.assertEqual((self.a.state(), self.b.state()), ("protected", "standby"))
        self.assertEqual(self.a.ctl("unprotect", "vm1").status, 0)

    def test_receiver_killed(self):
        """The copy dies with the process that holds it, and so does its folder."""
        self.claims = 1
        end = self.in_background(self.b, "--seconds", "60")
        pid = self.copy()
        # One that is only starting ends by itself, as its folder is gone before it has made its socket.
        wait_for("the copy to get its image", lambda: "taken for the guest's drill" in self.b.read_log(), 10)
        os.kill(self.b.child("backup"), 9)
        wait_for("the copy's QEMU to be gone", lambda: not os.path.exists(f"/proc/{pid}"), 5)
        self.assertEqual(end().status, 1)
        self.a.wait_state("solo")
        wait_for("the standby's folder to be gone", lambda: not [f for f in self.b.files() if "backup" in f], 5)


if __name__ == "__main__":
    main()
