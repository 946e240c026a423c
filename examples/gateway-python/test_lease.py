"""The lease against the database of libpq's environment, which has ducto and lets this role move its test clock."""

from __future__ import annotations

import unittest
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from lease import Connection, Lease, Line, OutOfCredits

OPTIONS = "-c ducto.test_clock=on"


class BreakingConnection(psycopg.Connection[Any]):
    """Breaks once, after a statement with these words in it: it is done, and its answer is lost."""

    loses: str | None = None

    def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        cursor = super().execute(query, *args, **options)
        if BreakingConnection.loses is not None and BreakingConnection.loses in query:
            BreakingConnection.loses = None
            self.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return cursor


def connect() -> Connection:
    return BreakingConnection.connect(autocommit=True, row_factory=dict_row, options=OPTIONS)


def balance(user: UUID) -> tuple[Decimal, Decimal]:
    with connect() as connection:
        row = connection.execute("SELECT balance, reserved FROM ducto_get_balance(user_id => %s)", (user,)).fetchone()
    assert row is not None
    return row["balance"], row["reserved"]


class LeaseTest(unittest.TestCase):
    def setUp(self) -> None:
        self.user = uuid4()
        with connect() as connection:
            connection.execute("SELECT FROM ducto_add_credits(user_id => %s, amount => 100, type => 'purchase')", (self.user,))

    def tearDown(self) -> None:
        with connect() as connection:
            self.assertEqual(connection.execute("SELECT * FROM ducto_verify(%s)", (self.user,)).fetchall(), [])

    def lease(self, block: str = "20", **options: Any) -> Lease:
        return Lease(self.user, Decimal(block), connect=connect, **options)

    def make(self, lease: Lease, key: str, cost: str = "0.5", estimate: str = "1") -> None:
        lease.admit(Decimal(estimate))
        lease.done(Decimal(estimate), Line(key, Decimal(cost), "small"))

    def test_counts_in_memory_and_flushes_by_number(self) -> None:
        lease = self.lease(lines=10)
        for n in range(25):
            self.make(lease, f"call {n}")
        self.assertEqual(balance(self.user), (Decimal(90), Decimal(10)))
        self.assertEqual(len(lease.waiting), 5)
        lease.close()
        self.assertEqual(balance(self.user), (Decimal("87.5"), Decimal(0)))

    def test_flushes_by_time(self) -> None:
        lease = self.lease(seconds=0)
        self.make(lease, "call")
        self.assertEqual(balance(self.user)[0], Decimal(100))
        lease.tick()
        self.assertEqual(balance(self.user)[0], Decimal("99.5"))

    def test_takes_block_after_block_until_nothing_is_left(self) -> None:
        lease = self.lease(block="30")
        made = 0
        with self.assertRaises(OutOfCredits) as refused:
            for n in range(1000):
                self.make(lease, f"call {n}", "1")
                made += 1
        self.assertEqual((made, refused.exception.code), (100, "insufficient_credits"))
        lease.close()
        self.assertEqual(balance(self.user), (Decimal(0), Decimal(0)))

    def test_a_failed_call_costs_nothing(self) -> None:
        lease = self.lease()
        lease.admit(Decimal(5))
        lease.done(Decimal(5))
        self.assertEqual((lease.left, lease.aside), (Decimal(20), Decimal(0)))
        lease.close()
        self.assertEqual(balance(self.user), (Decimal(100), Decimal(0)))

    def test_an_answer_that_is_lost_charges_once(self) -> None:
        for lost in ("ducto_reserve", "ducto_settle", "ducto_renew", "ducto_release"):
            with self.subTest(lost):
                lease = self.lease(ttl=0 if lost == "ducto_renew" else 60)
                lease.ttl = 60
                self.make(lease, lost + " 1")
                BreakingConnection.loses = lost
                lease.renewed = -1000
                self.make(lease, lost + " 2")
                lease.renew()
                lease.flush()
                lease.close()
                self.assertIsNone(BreakingConnection.loses)
        self.assertEqual(balance(self.user)[0], Decimal(96))

    def test_one_that_dies_loses_what_it_had_not_flushed(self) -> None:
        lease = self.lease()
        self.make(lease, "flushed")
        lease.flush()
        self.make(lease, "not flushed")
        del lease
        self.assertEqual(balance(self.user), (Decimal("99.5"), Decimal("19.5")))
        # Its block comes back at its time.
        with connect() as connection:
            connection.execute("SELECT ducto_advance_clock('1 minute')")
        self.assertEqual(balance(self.user), (Decimal("99.5"), Decimal(0)))
        # From a log of its own the next one can tell all of it again: what was charged is skipped.
        again = self.lease()
        self.make(again, "flushed")
        self.make(again, "not flushed")
        again.close()
        self.assertEqual(balance(self.user), (Decimal(99), Decimal(0)))

    def test_lines_that_come_late_are_charged(self) -> None:
        lease = self.lease()
        self.make(lease, "before")
        with connect() as connection:
            connection.execute("SELECT ducto_advance_clock('1 hour')")
        lease.flush()
        self.assertEqual(balance(self.user)[0], Decimal("99.5"))

    def test_a_block_that_was_released_is_replaced(self) -> None:
        lease = self.lease()
        self.make(lease, "one")
        with connect() as connection:
            connection.execute("SELECT FROM ducto_release(user_id => %s, reservation_id => %s)", (self.user, lease.reservation))
        lease.close()
        self.assertEqual(balance(self.user), (Decimal("99.5"), Decimal(0)))

    def test_the_last_credits_are_had_too(self) -> None:
        lease = self.lease(block="90")
        self.make(lease, "most", "88", "90")
        # 2 of the block and 10 beside it
        self.make(lease, "the rest", "12", "12")
        with self.assertRaises(OutOfCredits):
            lease.admit(Decimal(1))
        lease.close()
        self.assertEqual(balance(self.user), (Decimal(0), Decimal(0)))

    def test_lines_wait_for_credits_when_their_block_was_taken(self) -> None:
        lease = self.lease(block="100")
        self.make(lease, "one", "40")
        with connect() as connection:
            connection.execute("SELECT FROM ducto_release(user_id => %s, reservation_id => %s)", (self.user, lease.reservation))
            connection.execute("SELECT FROM ducto_charge(user_id => %s, amount => 100)", (self.user,))
        for _ in range(2):
            with self.assertRaises(OutOfCredits):
                lease.flush()
        self.assertEqual(len(lease.waiting), 1)
        with connect() as connection:
            connection.execute("SELECT FROM ducto_add_credits(user_id => %s, amount => 50, type => 'purchase')", (self.user,))
        lease.admit(Decimal(5))
        # of the 50, less what waits and what was put aside
        self.assertEqual(lease.left, Decimal(5))
        lease.done(Decimal(5))
        lease.close()
        self.assertEqual(balance(self.user), (Decimal(10), Decimal(0)))


    def test_threads_share_it(self) -> None:
        lease = self.lease(lines=7)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: self.make(lease, f"call {n}", "0.1"), range(200)))
        lease.close()
        self.assertEqual(balance(self.user), (Decimal(80), Decimal(0)))


if __name__ == "__main__":
    unittest.main()
