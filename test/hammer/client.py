"""A client of the jack hammer: one process that calls at random, and notes on
disk what it asks for before it asks and what it was told after.

Every call that books has a key. When a call's outcome is not known, because the
connection or this process was killed, the call is made again under its key
until there is an answer.
"""

import json
import os
import random
import signal
import time
import uuid

import psycopg
from psycopg import errors

# So little that much is rejected.
FUNDS = 60
KINDS = ("charge", "charge", "charge", "reserve", "reserve", "reserve", "settle", "settle", "release", "credit", "grant", "refund",
         "reverse", "transfer", "transfer", "team", "team_reserve", "take", "cap", "plan", "sweep", "read", "usage", "usage",
         "usage_reserve", "usage_settle")


def user(n):
    return uuid.UUID(int=(0xA0000000 << 96) | n)


def may_have_plan(who):
    """Every other user has neither plan nor caps nor debts: credits alone back what is held there."""
    return uuid.UUID(who).int % 2 == 1


def stopped(directory):
    """A file named stop among the notes ends a run before its time."""
    return os.path.exists(os.path.join(directory, "stop"))


class Log:
    """The notes of a client: a line of JSON each, flushed before going on."""

    def __init__(self, path):
        self.lines = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.lines = [json.loads(line) for line in file if line.endswith("\n")]
        self.file = open(path, "a", encoding="utf-8")

    def note(self, **line):
        self.lines.append(line)
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def open_intents(self):
        """Calls whose outcome is not noted."""
        closed = {line["closes"] for line in self.lines if "closes" in line}
        return [line for line in self.lines if "intent" in line and line["intent"] not in closed]


class Client:
    def __init__(self, options, number):
        self.options = options
        self.number = number
        self.random = random.Random(f"{options.seed} {number} {os.getpid()}")
        self.log = Log(os.path.join(options.directory, f"client-{number}.jsonl"))
        self.next = len(self.log.lines)
        self.reservations = []  # (user, id) that may be open
        self.debits = []  # ids that may be refunded
        self.credits = []  # (user, id) that may be taken back
        self.connection = None

    # --- the connection

    def connect(self):
        """Connects, and waits for a server that is away."""
        until = time.time() + self.options.patience
        while True:
            try:
                self.connection = psycopg.connect(autocommit=True)
                self.connection.execute("SET client_min_messages = error")
                return
            except psycopg.OperationalError:
                if time.time() > until:
                    raise
                time.sleep(0.1)

    def lost(self):
        return self.connection is None or self.connection.closed or self.connection.broken

    def loses(self, error):
        """Tells whether an error left the outcome open: the connection or the server went away."""
        if error.sqlstate is None or error.sqlstate.startswith("57P"):
            self.connection.close()
        return self.lost()

    # --- one call

    def call(self, what):
        """Makes a call and returns its row as a dict."""
        names = {key: value for key, value in what["args"].items()}
        places = ", ".join(f"{name} => %s" for name in names)
        cursor = self.connection.execute(f"SELECT * FROM {what['function']}({places})", list(names.values()))
        row = cursor.fetchone()
        columns = [column.name for column in cursor.description]
        return {name: value if isinstance(value, (bool, int, type(None))) else str(value) for name, value in zip(columns, row)}

    def intend(self, function, **args):
        self.next += 1
        name = f"{self.number}-{self.next}"
        if function in ("ducto_charge", "ducto_reserve", "ducto_deduct", "ducto_add_credits", "ducto_add_team_credits",
                        "ducto_refund", "ducto_deduct_team", "ducto_reverse_credits", "ducto_transfer", "ducto_charge_usage",
                        "ducto_reserve_usage"):
            args["idempotency_key"] = f"{self.options.run} {name}"
        what = {"intent": name, "function": function, "args": args}
        self.log.note(**what)
        return what

    def done(self, what, answer):
        self.log.note(closes=what["intent"], function=what["function"], args=what["args"], answer=answer)
        if answer.get("error"):
            return
        if what["function"] in ("ducto_reserve", "ducto_reserve_usage"):
            self.reservations.append((what["args"]["user_id"], answer["reservation_id"]))
        if answer.get("transaction_id") and what["function"] in ("ducto_charge", "ducto_charge_usage", "ducto_deduct",
                                                                     "ducto_deduct_team"):
            self.debits.append(answer["transaction_id"])
        if answer.get("transaction_id") and what["function"] == "ducto_add_credits":
            self.credits.append((what["args"]["user_id"], answer["transaction_id"]))

    def undone(self, what, why):
        self.log.note(closes=what["intent"], undone=why)

    # --- what to call

    def amount(self, most):
        return f"{self.random.uniform(0.0001, most):.4f}"

    def usage(self):
        """A cheap call, or one of a third of a credit for each token."""
        model, most = self.random.choice([("cheap", 60), ("third", 20)])
        return json.dumps({"model": model, "input_tokens": self.random.randrange(1, most)})

    def pick(self):
        kind = self.random.choice(KINDS)
        who = str(user(self.random.randrange(self.options.accounts)))
        if kind == "charge":
            overruns = ["reject", "reject", "clamp", "full"] if may_have_plan(who) else ["reject", "reject", "clamp"]
            return self.intend("ducto_charge", user_id=who, amount=self.amount(9), model=self.random.choice([None, "big", "small"]),
                               overrun=self.random.choice(overruns))
        if kind == "credit":
            return self.intend("ducto_add_credits", user_id=who, amount=self.amount(12), type="purchase")
        if kind == "take":
            return self.intend("ducto_add_credits", user_id=who, amount="-" + self.amount(5))
        if kind == "grant":
            expires = time.time() + self.random.uniform(0.05, 6)
            if self.random.random() < 0.2:
                return self.intend("ducto_add_credits", user_id=who, amount=self.amount(14), type="purchase",
                                   priority=self.random.randrange(101))
            return self.intend("ducto_add_credits", user_id=who, amount=self.amount(14), type="promo",
                               expires_at=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(expires)) + f".{int(expires % 1 * 1000):03d}Z",
                               priority=self.random.randrange(101))
        if kind == "reserve":
            return self.intend("ducto_reserve", user_id=who, amount=self.amount(25), min_balance=0,
                               ttl_seconds=self.random.choice([1, 5, 60, 60]), model=self.random.choice([None, "big"]),
                               ceiling=self.random.random() < 0.2)
        if kind == "settle" and self.reservations:
            owner, hold = self.random.choice(self.reservations)
            overruns = ["reject", "clamp", "full"] if may_have_plan(owner) else ["reject", "clamp"]
            return self.intend("ducto_deduct", user_id=owner, reservation_id=hold, amount=self.amount(24),
                               overrun=self.random.choice(overruns), final=self.random.random() < 0.7)
        if kind == "usage":
            return self.intend("ducto_charge_usage", user_id=who, usage=self.usage())
        if kind == "usage_reserve":
            return self.intend("ducto_reserve_usage", user_id=who, usage=self.usage(), ttl_seconds=self.random.choice([1, 5, 60]))
        if kind == "usage_settle" and self.reservations:
            owner, hold = self.random.choice(self.reservations)
            overruns = ["reject", "clamp", "full"] if may_have_plan(owner) else ["reject", "clamp"]
            return self.intend("ducto_charge_usage", user_id=owner, reservation_id=hold, usage=self.usage(),
                               overrun=self.random.choice(overruns))
        if kind == "release" and self.reservations:
            owner, hold = self.reservations.pop(self.random.randrange(len(self.reservations)))
            return self.intend("ducto_release", user_id=owner, reservation_id=hold)
        if kind == "refund" and self.debits:
            return self.intend("ducto_refund", transaction_id=self.random.choice(self.debits[-3:]),
                               amount=self.random.choice([None, self.amount(3), self.amount(9)]))
        if kind == "reverse" and self.credits:
            owner, credit = self.random.choice(self.credits[-5:])
            overruns = ["clamp", "unspent", "reject", "full"] if may_have_plan(owner) else ["clamp", "unspent", "reject"]
            return self.intend("ducto_reverse_credits", transaction_id=credit, amount=self.random.choice([None, self.amount(6)]),
                               overrun=self.random.choice(overruns))
        if kind == "transfer":
            accounts = [str(user(n)) for n in range(self.options.accounts)] + list(self.options.teams)
            giver, taker = self.random.sample(accounts, 2)
            return self.intend("ducto_transfer", from_id=giver, to_id=taker, amount=self.random.choice([None, self.amount(9)]))
        if kind == "team":
            team = self.random.choice(self.options.teams)
            return self.intend("ducto_deduct_team", team_id=team, user_id=who, amount=self.amount(3))
        if kind == "team_reserve":
            team = self.random.choice(self.options.teams)
            return self.intend("ducto_reserve", user_id=who, amount=self.amount(5), team_id=team, min_balance=0,
                               ttl_seconds=self.random.choice([1, 5, 60]))
        if kind == "cap" and may_have_plan(who):
            if self.random.random() < 0.5:
                return self.intend("ducto_remove_spend_cap", user_id=who, cap_type="daily")
            return self.intend("ducto_set_spend_cap", user_id=who, cap_type="daily", cap_limit=self.amount(5000),
                               action=self.random.choice(["deny", "warn", "notify"]))
        if kind == "plan" and may_have_plan(who):
            return self.intend("ducto_set_user_plan", user_id=who, plan_id=self.random.choice([None, "free", "pro"]))
        if kind == "sweep":
            return self.intend("ducto_sweep_expired", max_accounts=3)
        return self.intend("ducto_get_balance", user_id=who)

    # --- how to call

    def one(self, what):
        """A call in a transaction of its own, some with little time."""
        hurried = self.random.random() < self.options.hurry
        try:
            if hurried:
                self.connection.execute(f"SET statement_timeout = {self.random.randrange(1, 4)}")
            self.done(what, self.call(what))
        except errors.QueryCanceled:
            self.undone(what, "cancelled")
        except psycopg.Error as error:
            if not self.loses(error):
                self.undone(what, type(error).__name__)
        if hurried and not self.lost():
            self.patiently()

    def patiently(self):
        while True:
            try:
                self.connection.execute("SET statement_timeout = 0")
                return
            except errors.QueryCanceled:
                continue
            except psycopg.Error as error:
                self.loses(error)
                return

    def several(self):
        """Calls in one transaction: committed, rolled back, or in part to a savepoint."""
        serializable = self.random.random() < 0.15
        noted = []
        whats = []
        try:
            self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ" if serializable else "BEGIN")
            for i in range(self.random.randrange(1, 4)):
                savepoint = self.random.random() < 0.3
                if savepoint:
                    self.connection.execute(f"SAVEPOINT s{i}")
                what = self.pick()
                whats.append(what)
                answer = self.call(what)
                if savepoint and self.random.random() < 0.5:
                    self.connection.execute(f"ROLLBACK TO s{i}")
                    self.undone(what, "rolled back to a savepoint")
                    whats.remove(what)
                else:
                    noted.append((what, answer))
            if self.random.random() < 0.3:
                if self.roll_back():
                    for what in whats:
                        self.undone(what, "rolled back")
                return
            self.connection.execute("COMMIT")
        except psycopg.Error as error:
            if self.loses(error) or not self.roll_back():
                return
            for what in whats:
                self.undone(what, type(error).__name__)
            return
        for what, answer in noted:
            self.done(what, answer)

    def roll_back(self):
        """Ends a failed transaction; False when the connection is lost with it."""
        while True:
            try:
                self.connection.execute("ROLLBACK")
                return True
            except errors.QueryCanceled:
                continue
            except psycopg.Error as error:
                self.loses(error)
                return False

    def again(self):
        """A call that was answered, once more under its key: the same answer. A transfer of nothing is not remembered."""
        answered = [line for line in self.log.lines[-60:] if "answer" in line and line["args"].get("idempotency_key")
                    and not line["answer"].get("error") and line["answer"].get("out_transaction_id", "") is not None]
        if not answered:
            return
        line = self.random.choice(answered)
        try:
            answer = self.call(line)
        except psycopg.Error as error:
            self.loses(error)
            return
        kept = {key: value for key, value in line["answer"].items() if key != "idempotent"}
        if kept != {key: value for key, value in answer.items() if key != "idempotent"} or answer.get("idempotent") is False:
            self.log.note(difference=f"a retry was answered {answer}, the call {line['answer']}")
        self.log.note(replayed=True)

    def resolve(self):
        """Makes the calls again whose outcome is not known."""
        for what in self.log.open_intents():
            while True:
                if self.lost():
                    self.connect()
                try:
                    self.done(what, self.call(what))
                    self.log.note(remade=what["intent"])
                    break
                except (errors.QueryCanceled, errors.DeadlockDetected):
                    continue
                except psycopg.Error as error:
                    if not self.loses(error):
                        self.undone(what, type(error).__name__)
                        break

    def run(self, until):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.connect()
        self.resolve()
        while time.time() < until and not stopped(self.options.directory):
            if self.lost():
                self.connect()
                self.resolve()
            chance = self.random.random()
            if chance < 0.1:
                self.again()
            elif chance < 0.25:
                self.several()
            else:
                self.one(self.pick())
        if self.lost():
            self.connect()
        self.resolve()
        self.log.note(end=True)
