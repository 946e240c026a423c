"""Counts the money again from what the clients noted, and compares."""

import glob
import json
import os
from collections import Counter, defaultdict
from decimal import Decimal

from client import may_have_plan

BOOKING = {"ducto_charge": "transaction_id", "ducto_charge_usage": "transaction_id", "ducto_deduct": "transaction_id",
           "ducto_deduct_team": "transaction_id", "ducto_add_credits": "transaction_id", "ducto_add_team_credits": "transaction_id",
           "ducto_refund": "refund_transaction_id", "ducto_reverse_credits": "reversal_transaction_id",
           "ducto_transfer": "out_transaction_id"}
DEBITS = ("ducto_charge", "ducto_charge_usage", "ducto_deduct", "ducto_deduct_team", "ducto_reverse_credits", "ducto_transfer")


class Audit:
    def __init__(self, connection, directory):
        self.connection = connection
        self.differences = []
        self.counts = Counter()
        self.entries = {}  # transaction id -> (key, signed credits)
        self.keys = {}  # key of a committed call -> transaction id
        self.undone = set()  # keys of calls that were never done
        self.holds = {}  # reservation -> [held, state]
        self.read(directory)

    def differ(self, text):
        self.differences.append(text)

    def read(self, directory):
        for path in sorted(glob.glob(os.path.join(directory, "client-*.jsonl"))):
            intents = {}
            lines = [json.loads(line) for line in open(path, encoding="utf-8") if line.endswith("\n")]
            for line in lines:
                if "intent" in line:
                    intents[line["intent"]] = line
                elif "closes" in line:
                    what = intents.pop(line["closes"])
                    self.closed(what, line)
                elif "difference" in line:
                    self.differ(line["difference"])
                elif "replayed" in line:
                    self.counts["replayed"] += 1
                elif "remade" in line:
                    self.counts["remade under their key"] += 1
            for intent in intents.values():
                self.differ(f"the outcome of {intent} is not known")

    def closed(self, what, line):
        key = what["args"].get("idempotency_key")
        self.counts["calls"] += 1
        if "undone" in line:
            self.counts["cancelled" if line["undone"] == "cancelled" else "undone"] += 1
            if line["undone"] == "DeadlockDetected":
                self.counts["deadlocks"] += 1
            elif line["undone"] == "InvalidParameterValue" and what["args"].get("expires_at"):
                self.counts["too late"] += 1  # its time was over before it was made, or made again
            elif line["undone"] not in ("cancelled", "rolled back", "rolled back to a savepoint", "SerializationFailure",
                                        "QueryCanceled", "InFailedSqlTransaction", "AdminShutdown", "OperationalError"):
                self.differ(f"{what} failed with {line['undone']}")
            if key:
                self.undone.add(key)
            return
        answer = line["answer"]
        if answer.get("error"):
            self.counts["rejected"] += 1
            if key:
                self.undone.add(key)
            return
        self.counts["done"] += 1
        if what["function"] in BOOKING:
            self.booked(what, key, answer)
        if what["function"] in ("ducto_reserve", "ducto_reserve_usage"):
            self.holds[answer["reservation_id"]] = [Decimal(answer["amount"]), "open"]
        if (what["function"] in ("ducto_reserve", "ducto_reserve_usage", "ducto_get_balance") and Decimal(answer["available"]) < 0
                and not may_have_plan(what["args"]["user_id"])):
            self.differ(f"credits that are held were spent: {what} was answered {answer}")
        if what["function"] == "ducto_release" and answer["reason"] in ("released", "already_released"):
            self.close(what["args"]["reservation_id"], "released")

    def close(self, reservation, state):
        # a reservation that another client made is noted by that one, perhaps later
        self.holds.setdefault(reservation, [None, state])[1] = state

    def booked(self, what, key, answer):
        transaction = answer[BOOKING[what["function"]]]
        if (what["function"] == "ducto_deduct" and what["args"]["final"]
                or what["function"] == "ducto_charge_usage" and "reservation_id" in what["args"]):
            self.close(what["args"]["reservation_id"], "settled")
        if transaction is None:
            return
        sign = -1 if what["function"] in DEBITS else 1
        credits = sign * Decimal(answer["amount"])
        self.keys[key] = transaction
        self.entries[transaction] = (key, credits)
        if what["function"] == "ducto_transfer":
            self.entries[answer["in_transaction_id"]] = (None, -credits)

    def query(self, sql, *args):
        return self.connection.execute(sql, args).fetchall()

    def ledger(self):
        """Every entry that was acknowledged is there once as it was told, and nothing else is."""
        found = {}
        for account, entry, key, amount, type_ in self.query(
                "SELECT account_id, id::text, idempotency_key, amount, type FROM ducto.ledger"):
            if key is None and type_ != "transfer_in":
                if type_ != "expiry":
                    self.differ(f"{type_} of {amount} on {account} has no key")
                continue
            found[entry] = key
            if entry not in self.entries:
                self.differ(f"{type_} of {amount} under {key!r} was not told to any client")
            elif self.entries[entry] != (key, amount):
                self.differ(f"{type_} of {amount} under {key!r} was told as {self.entries[entry]}")
        for entry, told in self.entries.items():
            if entry not in found:
                self.differ(f"{told} was told, and is not in the ledger")
        for key in self.undone & (set(found.values()) - {None}):
            if key not in self.keys:
                self.differ(f"{key!r} was not done, and is in the ledger")

    def balances(self):
        """Each balance is what the clients were told, less what expired."""
        told = defaultdict(Decimal)
        accounts = dict(self.query("SELECT id::text, account_id FROM ducto.ledger"))
        for entry, (_, credits) in self.entries.items():
            told[accounts.get(entry)] += credits
        for account, amount in self.query("SELECT account_id, sum(amount) FROM ducto.ledger WHERE type = 'expiry' GROUP BY 1"):
            told[account] += amount
        for account, balance in self.query("SELECT id, balance FROM ducto.accounts"):
            if told[account] != balance:
                self.differ(f"account {account} has {balance}, by the clients {told[account]}")
        for grant, amount, expired, early in self.query(
                "SELECT g.id, c.amount, -sum(l.amount), bool_or(l.created_at < g.expires_at) FROM ducto.ledger l"
                " JOIN ducto.grants g ON g.account_id = l.account_id AND g.id = l.reference"
                " JOIN ducto.ledger c ON c.id = g.id WHERE l.type = 'expiry' GROUP BY 1, 2"):
            if expired > amount or early:
                self.differ(f"of grant {grant} of {amount} {expired} expired, early: {early}")

    def carries(self):
        """What is carried over is what the usages cost, less what was taken for them."""
        left = defaultdict(Decimal)
        for account, model, tokens, taken in self.query(
                "SELECT account_id, pricing->'usage'->>'model', (pricing->'usage'->>'input_tokens')::integer,"
                " allowance_consumed + coalesce(shortfall, 0) - amount FROM ducto.ledger WHERE pricing IS NOT NULL"):
            price = tokens * Decimal("0.000048") if model == "cheap" else Decimal(tokens * 10**20 // 3).scaleb(-20)
            self.counts["usages"] += 1
            left[account] += price - taken
        for account, carry in self.query("SELECT id, carry FROM ducto.accounts"):
            if left[account] != carry or abs(carry) >= Decimal("0.0001"):
                self.differ(f"account {account} carries {carry} over, by its usages {left[account]}")

    def reservations(self):
        """Each reservation is what the clients made of it, or expired."""
        states = {}
        for reservation, amount, state in self.query("SELECT id::text, amount, state FROM ducto.reservations"):
            states[reservation] = state
            held, told = self.holds.get(reservation, (None, None))
            if held is None:
                self.differ(f"reservation {reservation} was not told to any client")
            elif held != amount or (told != state and not (told == "open" and state == "expired")):
                self.differ(f"reservation {reservation} of {amount} is {state}, by the clients {told} of {held}")
        for reservation in set(self.holds) - set(states):
            self.differ(f"reservation {reservation} was told, and is not there")

    def verify(self):
        for row in self.query("SELECT * FROM ducto_verify()"):
            self.differ(f"ducto_verify: {row}")

    def all(self):
        self.ledger()
        self.balances()
        self.reservations()
        self.carries()
        self.verify()
        return self.differences
