"""The webhook against the database of libpq's environment, which has ducto."""

from __future__ import annotations

import json
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from server import Server, sign

SECRET = "whsec_of_the_tests"
Answer = tuple[int, dict[str, Any]]


class WebhookTest(unittest.TestCase):
    db: psycopg.Connection[dict[str, Any]]
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.db = psycopg.connect(autocommit=True, row_factory=dict_row)
        cls.db.execute(Path(__file__).with_name("schema.sql").read_text())
        cls.server = Server(SECRET, 0)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.shutdown()
        cls.server.server_close()
        cls.db.close()

    def post(self, body: bytes, signature: str) -> Answer:
        request = Request(f"http://127.0.0.1:{self.server.server_port}/webhook", body, {"Stripe-Signature": signature})
        try:
            with urlopen(request) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def deliver(self, kind: str, thing: dict[str, Any]) -> Answer:
        body = json.dumps({"id": f"evt_{uuid4()}", "type": kind, "data": {"object": thing}}).encode()
        seconds = str(int(time.time()))
        return self.post(body, f"t={seconds},v1={sign(body, SECRET, seconds)}")

    def checkout(self, user: UUID, payment: str, pack: str = "small", status: str = "paid") -> Answer:
        return self.deliver("checkout.session.completed", {
            "payment_intent": payment, "payment_status": status, "client_reference_id": str(user),
            "metadata": {"pack": pack}})

    def dispute(self, dispute: str, payment: str) -> Answer:
        return self.deliver("charge.dispute.created", {"id": dispute, "payment_intent": payment})

    def decide(self, dispute: str, status: str) -> Answer:
        return self.deliver("charge.dispute.closed", {"id": dispute, "status": status})

    def balance(self, user: UUID) -> list[str]:
        row = self.db.execute("SELECT * FROM ducto_get_balance(user_id => %s)", (user,)).fetchone()
        assert row is not None
        return [str(row["balance"]), str(row["reserved"]), str(row["lifetime_purchased"])]

    def spend(self, user: UUID, amount: int) -> str | None:
        with psycopg.connect(autocommit=True, row_factory=dict_row) as db:
            row = db.execute(
                "SELECT amount, error FROM ducto_charge(user_id => %s, amount => %s)", (user, amount)).fetchone()
        assert row is not None
        return row["error"]

    def buyer(self) -> tuple[UUID, str, str]:
        """Makes a user who has paid for 100 credits; returns user, payment and the id of a dispute."""
        user, payment = uuid4(), f"pi_{uuid4()}"
        self.assertEqual(self.checkout(user, payment)[0], 200)
        return user, payment, f"dp_{uuid4()}"

    def test_a_payment_adds_the_credits_of_its_pack(self) -> None:
        user = uuid4()
        self.assertEqual(self.checkout(user, f"pi_{uuid4()}", "large"), (200, {"balance": "1000.0000", "replayed": False}))
        self.assertEqual(self.balance(user), ["1000.0000", "0.0000", "1000.0000"])

    def test_delivered_twice_it_adds_them_once(self) -> None:
        user, payment, _ = self.buyer()
        self.spend(user, 30)
        self.assertEqual(self.checkout(user, payment), (200, {"balance": "100.0000", "replayed": True}))
        self.assertEqual(self.balance(user), ["70.0000", "0.0000", "100.0000"])

    def test_delivered_eight_times_at_once_too(self) -> None:
        user, payment = uuid4(), f"pi_{uuid4()}"
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: self.checkout(user, payment), range(8)))
        self.assertEqual({status for status, _ in answers}, {200})
        self.assertEqual([body["replayed"] for _, body in answers].count(False), 1)
        self.assertEqual(self.balance(user), ["100.0000", "0.0000", "100.0000"])

    def test_what_is_not_paid_yet_or_no_pack_of_ours_adds_nothing(self) -> None:
        user = uuid4()
        self.assertEqual(self.checkout(user, "pi_1", status="unpaid"), (200, {"ignored": "unpaid"}))
        self.assertEqual(self.checkout(user, "pi_1", "free"), (422, {"error": "no_such_pack"}))
        self.assertEqual(self.balance(user), ["0.0000", "0.0000", "0.0000"])

    def test_what_the_provider_has_not_signed_does_nothing(self) -> None:
        user = uuid4()
        body = json.dumps({"type": "checkout.session.completed", "data": {"object": {
            "payment_intent": "pi_2", "payment_status": "paid", "client_reference_id": str(user),
            "metadata": {"pack": "small"}}}}).encode()
        now, old = str(int(time.time())), str(int(time.time()) - 301)
        for signed, signature in (
                (body, ""),
                (body, f"t={now},v1={sign(body, 'another secret', now)}"),
                (body + b" ", f"t={now},v1={sign(body, SECRET, now)}"),
                (body, f"t={old},v1={sign(body, SECRET, old)}"),
                (body, f"v1={sign(body, SECRET, '')}")):
            with self.subTest(signature):
                self.assertEqual(self.post(signed, signature), (400, {"error": "bad_signature"}))
        self.assertEqual(self.balance(user), ["0.0000", "0.0000", "0.0000"])

    def test_a_dispute_takes_back_what_is_left_and_says_what_is_spent(self) -> None:
        user, payment, dispute = self.buyer()
        self.spend(user, 30)
        self.assertEqual(
            self.dispute(dispute, payment), (200, {"taken": "70.0000", "shortfall": "30.0000", "replayed": False}))
        self.assertEqual(self.balance(user), ["0.0000", "0.0000", "30.0000"])
        row = self.db.execute("SELECT type FROM ducto_list_transactions(user_id => %s, max_rows => 1)", (user,)).fetchone()
        self.assertEqual(row, {"type": "reversal"})

    def test_it_takes_no_other_credits_and_none_that_a_hold_needs(self) -> None:
        user, payment, dispute = self.buyer()
        self.checkout(user, f"pi_{uuid4()}")
        self.db.execute("SELECT error FROM ducto_reserve(user_id => %s, amount => 150, min_balance => 0)", (user,))
        self.assertEqual(
            self.dispute(dispute, payment), (200, {"taken": "50.0000", "shortfall": "50.0000", "replayed": False}))
        self.assertEqual(self.balance(user)[:2], ["150.0000", "150.0000"])

    def test_delivered_twice_it_takes_once_whatever_was_bought_since(self) -> None:
        user, payment, dispute = self.buyer()
        self.spend(user, 100)
        first = {"taken": "0.0000", "shortfall": "100.0000", "replayed": False}
        self.assertEqual(self.dispute(dispute, payment), (200, first))
        self.checkout(user, f"pi_{uuid4()}")
        self.assertEqual(self.dispute(dispute, payment), (200, {**first, "replayed": True}))
        self.assertEqual(self.balance(user)[0], "100.0000")
        self.assertEqual(self.decide(dispute, "won"), (200, {"ignored": "nothing_taken"}))

    def test_it_takes_what_is_left_while_others_spend(self) -> None:
        user, payment, dispute = self.buyer()
        with ThreadPoolExecutor(8) as threads:
            taking = threads.submit(self.dispute, dispute, payment)
            errors = list(threads.map(lambda _: self.spend(user, 3), range(20)))
        status, body = taking.result()
        self.assertEqual(status, 200)
        self.assertEqual(Decimal(body["taken"]) + 3 * errors.count(None), 100 - Decimal(self.balance(user)[0]))

    def test_one_that_comes_before_its_payment_comes_again(self) -> None:
        user, payment, dispute = uuid4(), f"pi_{uuid4()}", f"dp_{uuid4()}"
        self.assertEqual(self.dispute(dispute, payment), (409, {"error": "no_such_payment"}))
        self.checkout(user, payment)
        self.assertEqual(self.dispute(dispute, payment)[1]["taken"], "100.0000")

    def test_a_dispute_that_is_won_gives_back_what_was_taken_once(self) -> None:
        user, payment, dispute = self.buyer()
        self.spend(user, 30)
        self.assertEqual(self.decide(dispute, "won"), (409, {"error": "no_such_dispute"}))
        self.dispute(dispute, payment)
        self.assertEqual(self.decide(dispute, "lost"), (200, {"ignored": "lost"}))
        self.assertEqual(self.decide(dispute, "won"), (200, {"balance": "70.0000", "replayed": False}))
        self.assertEqual(self.decide(dispute, "won"), (200, {"balance": "70.0000", "replayed": True}))
        self.assertEqual(self.balance(user), ["70.0000", "0.0000", "100.0000"])

    def test_other_events_are_none_of_its_business(self) -> None:
        self.assertEqual(self.deliver("customer.created", {}), (200, {"ignored": "customer.created"}))

    def tearDown(self) -> None:
        """Whatever a test did, the books are right."""
        self.assertEqual(self.db.execute("SELECT * FROM ducto_verify()").fetchall(), [])


if __name__ == "__main__":
    unittest.main()
