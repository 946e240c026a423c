"""The worker against the database of libpq's environment, which has ducto and lets this role move its test clock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

os.environ["PGOPTIONS"] = "-c ducto.test_clock=on"

import worker  # noqa: E402
from provider import Provider  # noqa: E402
from worker import Connection, Worker, connect  # noqa: E402


class WorkerTest(unittest.TestCase):
    db: Connection
    provider: Provider
    worker: Worker

    @classmethod
    def setUpClass(cls) -> None:
        cls.db = connect()
        cls.db.execute(Path(__file__).with_name("schema.sql").read_text())
        cls.provider = Provider()
        threading.Thread(target=cls.provider.serve_forever, daemon=True).start()
        cls.worker = Worker(cls.provider.url)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.provider.close()
        cls.worker.db.close()
        cls.db.close()

    def tearDown(self) -> None:
        """Whatever a test did, the books are right."""
        self.assertEqual(self.db.execute("SELECT * FROM ducto_verify() WHERE check_name <> 'test clock'").fetchall(), [])

    def customer(self, name: str = "cus", max_per_month: int | None = None) -> tuple[UUID, str]:
        """Makes a user with 100 credits and a card, for whom 200 are due below 50."""
        user = uuid4()
        self.db.execute("INSERT INTO cards VALUES (%s, %s)", (user, f"{name}_{user}"))
        self.db.execute("SELECT FROM ducto_add_credits(user_id => %s, amount => 100, type => 'purchase')", (user,))
        self.db.execute(
            "SELECT FROM ducto_set_auto_topup(account_id => %s, below => 50, amount => 200, max_per_month => %s)",
            (user, max_per_month))
        return user, f"{name}_{user}"

    def spend(self, user: UUID, amount: Decimal | int) -> None:
        self.db.execute("SELECT error FROM ducto_charge(user_id => %s, amount => %s)", (user, amount))

    def balance(self, user: UUID) -> Decimal:
        row = self.db.execute("SELECT balance FROM ducto_get_balance(user_id => %s)", (user,)).fetchone()
        assert row is not None
        return row["balance"]

    def lease_is_over(self) -> None:
        self.db.execute("SELECT FROM ducto_advance_clock('61 seconds')")

    def waiting(self) -> int:
        return len(self.db.execute("SELECT FROM ducto.events WHERE acked_at IS NULL").fetchall())

    def mails(self, user: UUID) -> list[str]:
        rows = self.db.execute("SELECT subject FROM mails WHERE account_id = %s ORDER BY event_id", (user,)).fetchall()
        return [row["subject"] for row in rows]

    def start(self) -> subprocess.Popen[bytes]:
        """Starts another process with a worker."""
        return subprocess.Popen(
            [sys.executable, Path(__file__).with_name("worker.py")], env={**os.environ, "PAYMENTS_URL": self.provider.url})

    def test_the_card_is_charged_and_the_credits_are_there(self) -> None:
        user, card = self.customer()
        self.spend(user, 60)
        self.worker.work()
        self.assertEqual((self.provider.of(card), self.balance(user)), ([200], Decimal(240)))
        rows = self.db.execute("SELECT kind FROM ducto_list_events(account_id => %s)", (user,)).fetchall()
        self.assertEqual([row["kind"] for row in rows], ["balance_recovered", "topup_due"])
        self.assertEqual((self.mails(user), self.waiting()), (["balance_recovered"], 0))

    def test_it_listens(self) -> None:
        first, _ = self.customer()
        user, card = self.customer()
        with connect() as listener:
            listener.execute("LISTEN ducto_events")
            notifications = listener.notifies()
            child = self.start()
            try:
                self.spend(first, 60)
                while self.balance(first) < 240:  # it is there, and listens
                    next(notifications)
                self.spend(user, 60)
                while self.balance(user) < 240:
                    next(notifications)
            finally:
                child.kill()
                child.wait()
        self.lease_is_over()
        self.worker.work()
        self.assertEqual(self.provider.of(card), [200])

    def test_the_payment_endpoint_fails_again_and_again(self) -> None:
        for trouble in ("fails", "lost"):
            with self.subTest(trouble):
                user, card = self.customer()
                self.provider.trouble(card, trouble, trouble)
                self.spend(user, 60)
                for _ in range(2):
                    self.worker.work()
                    self.assertEqual(self.balance(user), 40)
                    self.lease_is_over()
                self.worker.work()
                self.assertEqual((self.provider.of(card), self.balance(user)), ([200], Decimal(240)))

    def test_a_worker_is_killed_when_the_card_is_charged(self) -> None:
        user, card = self.customer()
        self.provider.trouble(card, "hangs")
        self.provider.hanging.clear()
        child = self.start()
        self.spend(user, 60)
        self.provider.hanging.wait()
        child.kill()
        child.wait()
        self.assertEqual((self.balance(user), self.waiting(), self.worker.work()), (Decimal(40), 1, 0))
        self.lease_is_over()
        self.worker.work()
        self.assertEqual((self.provider.of(card), self.balance(user)), ([200], Decimal(240)))

    def test_an_endpoint_that_does_not_answer_is_asked_again(self) -> None:
        user, card = self.customer()
        self.provider.trouble(card, "hangs")
        self.spend(user, 60)
        self.worker.work()
        self.lease_is_over()
        self.worker.work()
        self.assertEqual((self.provider.of(card), self.balance(user)), ([200], Decimal(240)))

    def test_four_workers_side_by_side(self) -> None:
        customers = [self.customer() for _ in range(20)]
        for user, _ in customers:
            self.spend(user, 60)
        workers = [Worker(self.provider.url) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            working = [threads.submit(each.work) for each in workers]
            self.lease_is_over()
            for each in working:
                each.result()
        for each in workers:
            each.work()
            each.db.close()
        for user, card in customers:
            self.assertEqual((self.provider.of(card), self.balance(user)), ([200], Decimal(240)))
        self.assertEqual(self.waiting(), 0)

    def test_no_more_than_max_per_month(self) -> None:
        user, card = self.customer(max_per_month=2)
        for _ in range(4):
            self.spend(user, self.balance(user) - 10)
            self.worker.work()
        self.assertEqual(self.provider.of(card), [200, 200])
        self.db.execute("SELECT FROM ducto_advance_clock('1 month')")
        self.spend(user, 1)
        self.worker.work()
        self.assertEqual(self.provider.of(card), [200, 200, 200])

    def test_a_card_that_is_declined_turns_it_off(self) -> None:
        user, card = self.customer("declined")
        for amount in (60, 10):
            self.spend(user, amount)
            self.worker.work()
        self.assertEqual((self.provider.of(card), self.balance(user)), ([], Decimal(30)))
        self.assertEqual(self.mails(user), ["card_declined"])
        self.db.execute("UPDATE cards SET customer = %s WHERE account_id = %s", (f"new_{card}", user))
        self.db.execute("SELECT FROM ducto_set_auto_topup(account_id => %s, below => 50, amount => 200)", (user,))
        self.worker.work()
        self.assertEqual((self.provider.of(f"new_{card}"), self.balance(user)), ([200], Decimal(230)))

    def test_where_it_was_turned_off_meanwhile_no_card_is_charged(self) -> None:
        user, card = self.customer()
        self.spend(user, 60)
        self.db.execute("SELECT FROM ducto_set_auto_topup(account_id => %s, below => 0, amount => 0)", (user,))
        self.worker.work()
        self.assertEqual((self.provider.of(card), self.balance(user)), ([], Decimal(40)))

    def test_a_team_is_topped_up_by_its_own_card(self) -> None:
        row = self.db.execute("SELECT team_id FROM ducto_create_team('Team', 100)").fetchone()
        assert row is not None
        team = row["team_id"]
        self.db.execute("INSERT INTO cards VALUES (%s, %s)", (team, f"team_{team}"))
        self.db.execute("SELECT FROM ducto_set_auto_topup(account_id => %s, below => 150, amount => 30)", (team,))
        self.worker.work()
        self.assertEqual(self.provider.of(f"team_{team}"), [30, 30])

    def test_what_fails_for_ever_is_put_aside(self) -> None:
        user, card = self.customer()
        self.provider.trouble(card, *["fails"] * worker.ATTEMPTS)
        self.spend(user, 60)
        for _ in range(worker.ATTEMPTS):
            self.worker.work()
            self.lease_is_over()
        self.assertEqual(self.worker.work(), 0)
        rows = self.db.execute("SELECT reason FROM aside WHERE event ->> 'account_id' = %s", (str(user),)).fetchall()
        self.assertEqual([row["reason"] for row in rows], ["the payment endpoint answers 500"])
        self.assertEqual((self.provider.of(card), self.balance(user)), ([], Decimal(40)))


if __name__ == "__main__":
    unittest.main()
