"""Counts the money again from what the clients noted, and compares."""

import glob
import json
import os
from collections import Counter, defaultdict
from decimal import Decimal

from client import BATCHES, PRICING, elements, keeps_plan, may_have_plan

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
        self.undone = {}  # key of a call that was never done -> why
        self.holds = {}  # reservation -> [held, state]
        self.lines = {}  # (account, key) of a line that was charged -> [amount, model]
        self.unsettled = set()  # keys of lines that were never charged
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
                    for part in self.parts(what, line):
                        self.closed(*part)
                elif "difference" in line:
                    self.differ(line["difference"])
                elif "replayed" in line:
                    self.counts["replayed"] += 1
                elif "remade" in line:
                    self.counts["remade under their key"] += 1
            for intent in intents.values():
                self.differ(f"the outcome of {intent} is not known")

    def parts(self, what, line):
        """The calls that a call stands for, each with its answer."""
        if what["function"] not in BATCHES:
            return [(what, line)]
        calls = list(elements(what))
        self.counts["elements"] += len(calls)
        if "undone" in line:
            return [(call, line) for call in calls]
        if len(calls) != len(line["answer"]["rows"]):
            self.differ(f"{what} was answered {line['answer']}")
        return [(call, {"answer": row}) for call, row in zip(calls, line["answer"]["rows"])]

    def closed(self, what, line):
        key = what["args"].get("idempotency_key")
        self.counts["calls"] += 1
        if "undone" in line:
            self.counts["cancelled" if line["undone"] == "cancelled" else "undone"] += 1
            if line["undone"] == "DeadlockDetected":
                self.counts["deadlocks"] += 1
            elif line["undone"] == "InvalidParameterValue" and "expires_at" in line["message"]:
                self.counts["too late"] += 1  # its time was over before it, or one in its transaction, was made or made again
            elif line["undone"] not in ("cancelled", "rolled back", "rolled back to a savepoint", "SerializationFailure",
                                        "QueryCanceled", "InFailedSqlTransaction", "AdminShutdown", "OperationalError"):
                self.differ(f"{what} failed with {line['undone']}: {line.get('message')}")
            self.not_done(what, key, line["undone"])
            return
        answer = line["answer"]
        if answer.get("error"):
            self.counts["rejected"] += 1
            self.not_done(what, key, answer["error"])
            return
        self.counts["done"] += 1
        if what["function"] == "ducto_settle":
            self.settled(what, answer)
        if what["function"] in BOOKING:
            self.booked(what, key, answer)
        if what["function"] in ("ducto_reserve", "ducto_reserve_usage"):
            self.holds[answer["reservation_id"]] = [Decimal(answer["amount"]), "open"]
        if (what["function"] in ("ducto_reserve", "ducto_reserve_usage", "ducto_get_balance") and Decimal(answer["available"]) < 0
                and not may_have_plan(what["args"]["user_id"])):
            self.differ(f"credits that are held were spent: {what} was answered {answer}")
        if what["function"] == "ducto_release" and answer["reason"] in ("released", "already_released"):
            self.close(what["args"]["reservation_id"], "released")

    def not_done(self, what, key, why):
        if key:
            self.undone[key] = why
        if what["function"] == "ducto_settle":
            self.unsettled.update(line["key"] for line in json.loads(what["args"]["lines"]))

    def settled(self, what, answer):
        """All lines of a settle are charged: by it, or by the same call before, of which nobody heard."""
        lines = json.loads(what["args"]["lines"])
        for line in lines:
            self.lines[line["key"]] = (Decimal(line["amount"]), line["model"])
        if what["args"]["final"]:
            self.close(what["args"]["reservation_id"], "settled")
        if answer["booked"] not in (0, len(lines)) or answer["booked"] + answer["skipped"] != len(lines):
            self.differ(f"{what} was answered {answer}")
        if answer["booked"] > 0:
            self.entries[answer["transaction_id"]] = (None, -Decimal(answer["amount"]))

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
        for account, entry, key, amount, type_, of_cycle, has_lines in self.query(
                "SELECT account_id, id::text, idempotency_key, amount, type, cycle_end IS NOT NULL, models IS NOT NULL FROM ducto.ledger"):
            if key is None and type_ != "transfer_in" and not has_lines:
                if type_ != "expiry" and not of_cycle:
                    self.differ(f"{type_} of {amount} on {account} has no key")
                continue
            if has_lines and entry not in self.entries:
                continue  # settled by a call of which nobody heard, and made again; settles() looks at its lines
            found[entry] = key
            if entry not in self.entries:
                self.differ(f"{type_} of {amount} under {key!r} was not told to any client")
            elif self.entries[entry] != (key, amount):
                self.differ(f"{type_} of {amount} under {key!r} was told as {self.entries[entry]}")
        for entry, told in self.entries.items():
            if entry not in found:
                self.differ(f"{told} was told, and is not in the ledger")
        for key in set(self.undone) & (set(found.values()) - {None}):
            if key not in self.keys:
                self.differ(f"{key!r} was not done, {self.undone[key]}, and is in the ledger")

    def balances(self):
        """Each balance is what the clients were told, less what expired."""
        told = defaultdict(Decimal)
        accounts = dict(self.query("SELECT id::text, account_id FROM ducto.ledger"))
        for entry, (_, credits) in self.entries.items():
            told[accounts.get(entry)] += credits
        for account, entry, amount, is_own in self.query(
                "SELECT account_id, id::text, amount, type = 'expiry' OR cycle_end IS NOT NULL FROM ducto.ledger"
                " WHERE type = 'expiry' OR cycle_end IS NOT NULL OR models IS NOT NULL"):
            if is_own or entry not in self.entries:
                told[account] += amount
        for account, balance in self.query("SELECT id, balance FROM ducto.accounts"):
            if told[account] != balance:
                self.differ(f"account {account} has {balance}, by the clients {told[account]}")
        for grant, amount, expired, early in self.query(
                "SELECT g.id, c.amount, -sum(l.amount), bool_or(l.created_at < g.expires_at AND c.cycle_end IS NULL)"
                " FROM ducto.ledger l"
                " JOIN ducto.grants g ON g.account_id = l.account_id AND g.id = l.reference"
                " JOIN ducto.ledger c ON c.account_id = g.account_id AND c.id = g.id WHERE l.type = 'expiry' GROUP BY 1, 2"):
            if expired > amount or early:
                self.differ(f"of grant {grant} of {amount} {expired} expired, early: {early}")

    def settles(self):
        """Each line that was told is there once, in an entry that is the sum of its lines, and nothing else is."""
        found = {}
        for key, amount, model in self.query("SELECT key, amount, model FROM ducto.usage_lines"):
            if key in found:
                self.differ(f"line {key!r} is there twice")
            found[key] = (amount, model)
        self.counts["lines"] = len(found)
        for key in set(found) | set(self.lines):
            if found.get(key) != self.lines.get(key):
                self.differ(f"line {key!r} was told as {self.lines.get(key)}, and is {found.get(key)}")
        for key in self.unsettled & set(found) - set(self.lines):
            self.differ(f"line {key!r} was not charged, and is there")
        for entry, taken, lines in self.query(
                "SELECT l.id, l.allowance_consumed + coalesce(l.shortfall, 0) - l.amount, coalesce(sum(u.amount), 0) FROM ducto.ledger l"
                " LEFT JOIN ducto.usage_lines u ON u.account_id = l.account_id AND u.entry = l.id WHERE l.models IS NOT NULL GROUP BY 1, 2"):
            self.counts["settled"] += 1
            if taken != lines:
                self.differ(f"entry {entry} takes {taken} for lines of {lines}")
        for orphan, in self.query("SELECT u.key FROM ducto.usage_lines u WHERE NOT EXISTS (SELECT FROM ducto.ledger l"
                                  " WHERE l.account_id = u.account_id AND l.id = u.entry AND l.models IS NOT NULL)"):
            self.differ(f"line {orphan!r} is of no entry")

    def keys_once(self):
        for account, key, times in self.query("SELECT account_id, idempotency_key, count(*) FROM ducto.ledger"
                                              " WHERE idempotency_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1"):
            self.differ(f"key {key!r} of account {account} has {times} entries")

    def cycles(self):
        """The grants of each cycle once: no cycle gave more than the most that a plan gives, nor one grant of a plan twice; who
        keeps a plan has had the grant of each day."""
        plans = {name: [Decimal(str(grant["amount"])) for grant in plan.get("grants", [])]
                 for name, plan in json.loads(PRICING)["plans"].items()}
        given = defaultdict(lambda: defaultdict(list))
        for account, end, plan, amount in self.query(
                "SELECT account_id::text, cycle_end, metadata->>'plan_id', amount FROM ducto.ledger WHERE cycle_end IS NOT NULL ORDER BY seq"):
            given[account, end][plan].append(amount)
            self.counts["gifts"] += 1
        self.counts["cycles"] = len(given)
        for (account, end), by_plan in given.items():
            total = sum(sum(amounts) for amounts in by_plan.values())
            if total > max(sum(plans[plan]) for plan in by_plan):
                self.differ(f"the cycle of account {account} until {end} gave {total}: {dict(by_plan)}")
            for plan, amounts in by_plan.items():
                if len(amounts) > len(plans[plan]) or any(given_ > most for given_, most in zip(amounts[::-1], plans[plan][::-1])):
                    self.differ(f"the cycle of account {account} until {end} gave {amounts} of plan {plan}")
        self.connection.execute("SET timezone = 'UTC'")
        self.connection.execute("CALL ducto_sweep()")
        for account, days, ends, entries, now in self.query(
                "SELECT a.id::text, max(l.cycle_end)::date - min(l.cycle_end)::date + 1, count(DISTINCT l.cycle_end), count(*),"
                " max(l.cycle_end) > ducto.clock() FROM ducto.accounts a JOIN ducto.ledger l ON l.account_id = a.id AND l.cycle_end IS NOT NULL"
                " WHERE a.plan_id = 'steady' GROUP BY 1"):
            self.counts["days"] = max(self.counts["days"], days)
            if not (keeps_plan(account) and now and days == ends == entries):
                self.differ(f"account {account} has had {entries} grants of {ends} cycles in {days} days, this one's: {now}")

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
        for row in self.query("SELECT * FROM ducto_verify() WHERE check_name <> 'test clock'"):
            self.differ(f"ducto_verify: {row}")

    def all(self):
        self.cycles()  # it sweeps: what is due is booked from then on
        self.ledger()
        self.balances()
        self.reservations()
        self.settles()
        self.keys_once()
        self.carries()
        self.verify()
        return self.differences
