"""A program of the Python SDK against the database of libpq's environment.

Its client puts arguments into the text of the statement, as psycopg2 does:
numbers bare, texts and JSON quoted without a type.
"""

import json
import unittest
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import psycopg


class PostgresStore:
    def connect(self):
        return psycopg.connect(autocommit=True, cursor_factory=psycopg.ClientCursor)

    def rows(self, name, *args):
        args = [json.dumps(arg) if isinstance(arg, dict) else arg for arg in args]
        with self.connect() as connection:
            cursor = connection.execute(f"SELECT * FROM {name}({', '.join(['%s'] * len(args))})", args)
            return cursor.fetchall()

    def call(self, name, *args):
        return self.rows(name, *args)[0][0]


class StoreTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = PostgresStore()
        with cls.store.connect() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS ducto_sdk")

    def new_user(self, credits):
        user = str(uuid.uuid4())
        self.store.call("credits_add", user, credits, "purchase", {"source": "test"})
        return user

    def test_lease(self):
        user = self.new_user(100)
        lease = self.store.call("create_lease", user, Decimal("40.5"), "chat", "strict", 0, None, 600)
        self.assertEqual(lease["available"], "59.5000")
        settled = self.store.call("settle_lease", user, lease["lease_id"], Decimal("2.5"), "key", 0, "gpt-4", {"tokens": 3})
        self.assertEqual((settled["amount"], settled["balance_after"]), ("2.5000", "97.5000"))
        again = self.store.call("settle_lease", user, lease["lease_id"], Decimal("2.5"), "key")
        self.assertEqual((again["transaction_id"], again["idempotent"]), (settled["transaction_id"], True))

    def test_concurrent(self):
        user = self.new_user(50)
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda i: self.store.call("deduct_with_allowance", user, 10, f"call-{i}"), range(10)))
        self.assertEqual(sum("error" not in answer for answer in answers), 5)
        self.assertEqual(self.store.call("get_credits_balance", user)["balance"], "0.0000")

    def test_mistakes(self):
        user = self.new_user(1)
        for amount in (Decimal("NaN"), 0, -1):
            self.assertEqual(self.store.call("deduct_with_allowance", user, amount)["error"], "invalid_amount")
        self.assertEqual(self.store.call("refund_credits", str(uuid.uuid4()))["error"], "not_found")

    def test_lists(self):
        user = self.new_user(10)
        self.store.call("deduct_with_allowance", user, 4, None, 0, "gpt-4", {"reference_type": "chat"})
        rows = self.store.rows("list_user_transactions", user, ["usage"], None, None, 50, 0)
        self.assertEqual([(row[2], row[3], row[4]) for row in rows], [(Decimal("-4.0000"), "usage", "chat")])
        self.assertEqual(self.store.rows("ducto_verify"), [])


if __name__ == "__main__":
    unittest.main()
