"""The endpoint against the database of libpq's environment, which has ducto."""

from __future__ import annotations

import json
import threading
import unittest
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID, uuid4

import psycopg

from completions import Completions, Refusal
from model import Usage, parrot
from server import Server


class FlakyModel:
    """The parrot, which can fail, and counts how often it has worked."""

    def __init__(self) -> None:
        self.worked = 0
        self.fails = False

    def __call__(self, prompt: str, max_tokens: int) -> Generator[str, None, Usage]:
        self.worked += 1
        usage = yield from parrot(prompt, max_tokens)
        if self.fails:
            raise RuntimeError("the model is down")
        return usage


class BreakingConnection(psycopg.Connection[Any]):
    """Breaks once: after a statement that has loses in it, or after the commit
    of one that has loses_commit in it. It is done, and its answer is lost."""

    loses: str | None = None
    loses_commit: str | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = BreakingCursor
        self.ran = ""

    def break_now(self) -> None:
        BreakingConnection.loses = BreakingConnection.loses_commit = None
        self.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def commit(self) -> None:
        super().commit()
        if self.loses_commit is not None and self.loses_commit in self.ran:
            self.break_now()


class BreakingCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, *args: Any, **options: Any) -> BreakingCursor:
        super().execute(query, *args, **options)
        connection = self.connection
        assert isinstance(connection, BreakingConnection)
        connection.ran += query
        if connection.loses is not None and connection.loses in query:
            connection.break_now()
        return self


def connect() -> psycopg.Connection[Any]:
    return BreakingConnection.connect(options="-c ducto.rejections=raise")


class EndpointTest(unittest.TestCase):
    model: FlakyModel
    completions: Completions
    db: psycopg.Connection[Any]
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.model = FlakyModel()
        cls.completions = Completions(cls.model, "parrot-1", connect)
        cls.db = psycopg.connect(autocommit=True)
        cls.db.execute(Path(__file__).with_name("schema.sql").read_text())
        cls.server = Server(cls.completions, 0)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.shutdown()
        cls.server.server_close()
        cls.db.close()

    def request(self, path: str, headers: dict[str, str], body: object = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.server.server_port}{path}", data, headers)
        try:
            with urlopen(request) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def complete(self, user: UUID, prompt: str, key: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"X-User-Id": str(user), "Idempotency-Key": key or str(uuid4())}
        return self.request("/completions", headers, {"prompt": prompt})

    def balance(self, user: UUID) -> list[str]:
        status, body = self.request("/balance", {"X-User-Id": str(user)})
        self.assertEqual(status, 200)
        return [body["balance"], body["reserved"], body["available"]]

    def new_user(self, amount: int) -> UUID:
        user = uuid4()
        if amount > 0:
            self.db.execute("SELECT ducto_add_credits(%s, %s, 'purchase')", (user, amount))
        return user

    def usage(self, user: UUID) -> list[Any]:
        return self.db.execute(
            "SELECT amount, model, operation_type, metadata FROM ducto_list_transactions(%s, types => %s)",
            (user, ["usage"])).fetchall()

    def test_a_reply_is_charged_with_what_it_used(self) -> None:
        user = self.new_user(100)
        status, body = self.complete(user, "Hello there")
        UUID(body.pop("transaction_id"))
        # 2 tokens in, 4 out
        self.assertEqual((status, body), (200, {
            "reply": "You said: Hello there", "credits": "0.3600", "balance": "99.6400", "replayed": False}))
        self.assertEqual(self.balance(user), ["99.6400", "0.0000", "99.6400"])
        self.assertEqual(self.usage(user), [
            (Decimal("-0.3600"), "parrot-1", "completion", {"input_tokens": 2, "output_tokens": 4})])

    def test_a_retry_gets_the_same_answer_and_costs_nothing(self) -> None:
        user = self.new_user(100)
        status, first = self.complete(user, "Hello", "key-1")
        worked = self.model.worked
        self.complete(user, "Something else", "key-2")
        self.assertEqual(self.complete(user, "Hello", "key-1"), (200, {**first, "replayed": True}))
        self.assertEqual(self.model.worked, worked + 1)
        self.assertEqual(len(self.usage(user)), 2)
        self.assertEqual(self.complete(user, "Another prompt", "key-1"), (409, {"error": "idempotency_conflict"}))

    def test_a_lost_answer_costs_nothing(self) -> None:
        for statement in ("ducto_reserve", "ducto_deduct", "INSERT"):
            with self.subTest(statement):
                user = self.new_user(100)
                BreakingConnection.loses = statement
                status, body = self.complete(user, "Hello")
                self.assertIsNone(BreakingConnection.loses)
                self.assertEqual((status, body["replayed"]), (200, False))
                self.assertEqual(self.balance(user), ["99.7400", "0.0000", "99.7400"])
                self.assertEqual(len(self.usage(user)), 1)

    def test_a_lost_answer_of_commit_costs_nothing(self) -> None:
        user = self.new_user(100)
        BreakingConnection.loses_commit = "ducto_deduct"
        status, body = self.complete(user, "Hello")
        self.assertIsNone(BreakingConnection.loses_commit)
        self.assertEqual((status, body["replayed"]), (200, True))
        self.assertEqual(self.balance(user), ["99.7400", "0.0000", "99.7400"])
        self.assertEqual(len(self.usage(user)), 1)

    def test_concurrent_requests_with_one_key_are_charged_once(self) -> None:
        user = self.new_user(100)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: self.complete(user, "Hello", "key"), range(8)))
        self.assertEqual({status for status, _ in answers}, {200})
        self.assertEqual([body.pop("replayed") for _, body in answers].count(False), 1)
        for _, body in answers:
            self.assertEqual(body, answers[0][1])
        self.assertEqual(len(self.usage(user)), 1)
        self.assertEqual(self.balance(user), ["99.7400", "0.0000", "99.7400"])

    def test_concurrent_requests_cannot_spend_more_than_there_is(self) -> None:
        user = self.new_user(40)  # a hold takes 16.02
        with ThreadPoolExecutor(5) as threads:
            answers = list(threads.map(lambda _: self.complete(user, "Hello"), range(5)))
        paid = [body for status, body in answers if status == 200]
        refused = [answer for answer in answers if answer[0] != 200]
        self.assertGreaterEqual(len(paid), 2)
        self.assertEqual(refused, [(402, {"error": "insufficient_credits"})] * len(refused))
        self.assertEqual(len(self.usage(user)), len(paid))

    def test_without_credits_the_model_does_not_work(self) -> None:
        worked = self.model.worked
        self.assertEqual(self.complete(self.new_user(0), "Hello"), (402, {"error": "insufficient_credits"}))
        self.assertEqual(self.model.worked, worked)

    def test_a_spend_cap_stops_a_request(self) -> None:
        user = self.new_user(100)
        self.db.execute("SELECT ducto_set_spend_cap(%s, 'daily', 10)", (user,))
        self.assertEqual(self.complete(user, "Hello"), (429, {"error": "cap_reached"}))

    def test_work_that_fails_is_free(self) -> None:
        user = self.new_user(100)
        self.model.fails = True
        self.addCleanup(setattr, self.model, "fails", False)
        self.assertEqual(self.complete(user, "Hello", "key"), (502, {"error": "model_failed"}))
        self.model.fails = False
        self.assertEqual(self.balance(user), ["100.0000", "0.0000", "100.0000"])
        self.assertEqual(self.usage(user), [])
        self.assertEqual(self.complete(user, "Hello", "key"), (409, {"error": "key_used"}))
        self.assertEqual(self.complete(user, "Hello", "another key")[0], 200)

    def test_a_request_that_died_is_taken_over_by_its_retry(self) -> None:
        user = self.new_user(100)
        self.db.execute("SELECT ducto_reserve(%s, 16.02, idempotency_key => 'key')", (user,))
        self.assertEqual(self.complete(user, "Hello", "key")[0], 200)
        self.assertEqual(self.balance(user), ["99.7400", "0.0000", "99.7400"])

    def test_a_reply_can_be_refunded_once(self) -> None:
        user = self.new_user(100)
        paid = UUID(self.complete(user, "Hello")[1]["transaction_id"])
        first = self.completions.refund(paid, "it was nonsense")
        self.assertEqual(
            (first.amount, first.new_balance, first.idempotent), (Decimal("0.2600"), Decimal("100.0000"), False))
        self.assertEqual(self.completions.refund(paid, "it was nonsense"), replace(first, idempotent=True))
        with self.assertRaises(Refusal) as caught:
            self.completions.refund(uuid4(), "no such reply")
        self.assertEqual((caught.exception.status, caught.exception.code), (404, "transaction_not_found"))
        self.assertEqual(self.balance(user), ["100.0000", "0.0000", "100.0000"])

    def tearDown(self) -> None:
        """Whatever a test did, the books are right."""
        self.assertEqual(self.db.execute("SELECT * FROM ducto_verify()").fetchall(), [])


if __name__ == "__main__":
    unittest.main()
