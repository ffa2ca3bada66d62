# SPDX-License-Identifier: GPL-2.0-or-later
"""The client's checks: an honest guest passes, every kind of dishonest one is caught."""

import unittest
import zlib

from remus_drill.client import REPLY, REQUEST, Client, Conversation, Gap, Tally


class Guest:
    """An echo that follows guest/echo.c, and can be told to lie."""

    def __init__(self):
        self.counter = 0

    def reply(self, request, **lies):
        magic, connection, number, length, crc = REQUEST.unpack_from(request)
        payload = request[REQUEST.size:]
        assert (magic, length, crc) == (b"RREQ", len(payload), zlib.crc32(payload))
        self.counter += 1
        payload = lies.get("payload", payload)
        fields = {"connection": connection, "number": number, "counter": self.counter, "length": len(payload)} | {
            k: v for k, v in lies.items() if k != "payload"}
        head = REPLY.pack(b"RREP", *fields.values(), 0)
        return REPLY.pack(b"RREP", *fields.values(), zlib.crc32(payload, zlib.crc32(head[:28]))) + payload


class Conversations(unittest.TestCase):
    def setUp(self):
        self.tally = Tally()
        self.guest = Guest()
        self.talk = Conversation(1, self.tally, "seed")
        self.other = Conversation(2, self.tally, "seed2")

    def faults(self):
        return self.tally.corrupt, self.tally.rolled_back

    def test_honest(self):
        for turn in range(50):
            for talk in (self.talk, self.other):
                first, second = talk.request(turn), talk.request(turn)
                talk.feed(self.guest.reply(first) + self.guest.reply(second), turn)
        self.assertEqual(self.faults(), (0, 0))
        self.assertEqual(self.tally.replies, 200)
        self.assertFalse(self.talk.outstanding)

    def test_replies_in_pieces(self):
        reply = self.guest.reply(self.talk.request(0))
        for i in range(len(reply)):
            self.assertEqual(self.tally.replies, 0)
            self.talk.feed(reply[i:i + 1], 0)
        self.assertEqual((self.tally.replies, *self.faults()), (1, 0, 0))

    def test_one_changed_byte_is_flagged(self):
        for at in (0, 5, 9, 26, 30, REPLY.size, -1):
            with self.subTest(at=at):
                self.setUp()
                reply = bytearray(self.guest.reply(self.talk.request(0)))
                reply[at] ^= 1
                self.talk.feed(reply, 0)
                self.assertEqual(self.tally.corrupt, 1)

    def test_answer_to_another_request(self):
        self.talk.feed(self.guest.reply(self.talk.request(0), number=7), 0)
        self.assertEqual(self.tally.corrupt, 1)

    def test_counter_that_goes_back_on_one_connection(self):
        self.guest.counter = 100
        self.talk.feed(self.guest.reply(self.talk.request(0)), 0)
        self.guest.counter = 50
        self.talk.feed(self.guest.reply(self.talk.request(0)), 0)
        self.assertEqual(self.faults(), (0, 1))

    def test_counter_behind_what_another_connection_saw(self):
        self.guest.counter = 100
        self.talk.feed(self.guest.reply(self.talk.request(0)), 0)
        request = self.other.request(1)  # sent after 101 was seen
        self.guest.counter = 70
        self.other.feed(self.guest.reply(request), 1)
        self.assertEqual(self.faults(), (0, 1))

    def test_request_under_way_may_be_answered_with_less(self):
        early = self.other.request(0)
        answer = self.guest.reply(early)
        self.talk.feed(self.guest.reply(self.talk.request(0)), 0)
        self.other.feed(answer, 1)
        self.assertEqual(self.faults(), (0, 0))

    def test_same_counter_twice(self):
        first, second = self.talk.request(0), self.other.request(0)
        self.talk.feed(self.guest.reply(first), 0)
        self.guest.counter -= 1
        self.other.feed(self.guest.reply(second), 0)
        self.assertEqual(self.faults(), (0, 1))

    def test_unasked_reply(self):
        reply = self.guest.reply(self.talk.request(0))
        self.talk.feed(reply + reply, 0)
        self.assertEqual(self.tally.corrupt, 1)
        self.assertTrue(self.talk.broken)

    def test_gaps(self):
        request = self.talk.request(10.0)
        self.talk.feed(self.guest.reply(request), 10.5)
        self.assertEqual(self.tally.gaps, [Gap(10.0, 0.5, 1)])
        self.talk.feed(self.guest.reply(self.talk.request(20.0)), 20.05)  # silence without a question is no gap
        self.assertEqual(len(self.tally.gaps), 1)

    def test_stall_takes_the_longest_that_overlaps(self):
        client = Client(1, 1)
        client.tally.gaps += [Gap(1.0, 5.0, 1), Gap(10.0, 0.3, 1), Gap(10.1, 0.4, 2), Gap(30.0, 9.0, 1)]
        self.assertEqual(client.stall(10.2, 11.0), 0.4)
        self.assertEqual(client.stall(7.0, 8.0), 0.0)


if __name__ == "__main__":
    unittest.main()
