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
         "reverse", "transfer", "transfer", "team", "team_reserve", "take", "cap", "plan", "plan", "sweep", "read", "usage", "usage",
         "usage_reserve", "usage_settle", "lines", "lines", "lines", "charge_many", "charge_many", "credit_many", "publish", "read")
KEYED = ("ducto_charge", "ducto_reserve", "ducto_deduct", "ducto_add_credits", "ducto_add_team_credits", "ducto_refund",
         "ducto_deduct_team", "ducto_reverse_credits", "ducto_transfer", "ducto_charge_usage", "ducto_reserve_usage")
BATCHES = {"ducto_charge_many": "charges", "ducto_add_credits_many": "credits"}

# What is told of a node of a cluster that is away under a code for errors of any kind.
AWAY = ("failure on connection", "failed to COPY to shard", "server closed the connection", "postmaster was shut down",
        "could not commit transaction", "unexpected postmaster exit")

# Two plans that clients give and take away, and one that who has it keeps. All cycles are days.
PRICING = """{"models": {"_default": "1", "cheap": "input_tokens * 0.000048", "third": "input_tokens / 3"}, "min_balance": 0,
    "plans": {"free": {"name": "Free", "free_allowance": 20, "cycle": "day", "grants": [{"amount": 3, "expires": "never"}]},
    "pro": {"name": "Pro", "free_allowance": 500, "features": {"chat": true}, "cycle": "day", "grants": [
        {"amount": 5, "rollover": {"max": 4, "cycles": 2}}, {"amount": 2, "expires": "30 days", "priority": 20}]},
    "steady": {"name": "Steady", "free_allowance": 2, "cycle": "day", "grants": [{"amount": 1.5, "expires": "never", "priority": 30}]}}}"""


def user(n):
    return uuid.UUID(int=(0xA0000000 << 96) | n)


def may_have_plan(who):
    """Every other user has neither plan nor caps nor debts: credits alone back what is held there."""
    return uuid.UUID(who).int % 2 == 1


def keeps_plan(who):
    """Every other one of those who may have a plan has one that nobody changes."""
    return uuid.UUID(who).int % 4 == 1


def elements(what):
    """The calls that a batch stands for, each with its key."""
    for element in json.loads(what["args"][BATCHES[what["function"]]]):
        if what["function"] == "ducto_add_credits_many":
            function = "ducto_add_credits"
        else:
            function = "ducto_deduct_team" if "team_id" in element else "ducto_charge_usage" if "usage" in element else "ducto_charge"
        yield {"function": function, "args": element}


def node(options, n):
    """What connects to the nth of the nodes of a cluster, to the one server where there are none."""
    return {"port": options.nodes[n % len(options.nodes)]} if options.nodes else {}


def stopped(directory):
    """A file named stop among the notes ends a run before its time."""
    return os.path.exists(os.path.join(directory, "stop"))


def is_remembered(line):
    """Whether a call is known by its keys: all that it did, it did."""
    answer = line["answer"]
    if line["function"] in BATCHES:
        return all(row["transaction_id"] for row in answer["rows"])
    if line["function"] == "ducto_settle":
        return not answer["error"]
    return bool(line["args"].get("idempotency_key")) and not answer.get("error") and answer.get("out_transaction_id", "") is not None


def is_replay(line, answer):
    """Whether the answer to a retry is that of the call: the same, but that it says so."""
    def kept(row):
        return {key: value for key, value in row.items() if key != "idempotent"}

    if line["function"] == "ducto_settle":
        return not answer["error"] and answer["transaction_id"] is None and answer["booked"] == 0 \
            and answer["skipped"] == len(json.loads(line["args"]["lines"]))
    rows = zip(line["answer"]["rows"], answer["rows"]) if line["function"] in BATCHES else [(line["answer"], answer)]
    return all(kept(was) == kept(now) and now.get("idempotent") is not False for was, now in rows)


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
        self.ahead = 0  # seconds of the database's clock, as it was last seen
        self.connection = None
        self.connections = 0

    # --- the connection

    def connect(self):
        """Connects, and waits for a server that is away. Of the nodes of a cluster each is as good: the next one is asked."""
        until = time.time() + self.options.patience
        while True:
            try:
                self.connections += 1
                self.connection = psycopg.connect(autocommit=True, **node(self.options, self.number + self.connections))
                self.connection.execute("SET client_min_messages = error")
                self.look_at_clock()
                return
            except (psycopg.OperationalError, errors.UndefinedFunction, errors.InvalidSchemaName):  # a node that is about to join has none
                if time.time() > until:
                    raise
                time.sleep(0.1)

    def lost(self):
        return self.connection is None or self.connection.closed or self.connection.broken

    def loses(self, error):
        """Tells whether an error left the outcome open: the connection or the server went away, or that of another node."""
        if error.sqlstate is None or error.sqlstate.startswith(("57P", "08")) or any(text in str(error) for text in AWAY):
            self.connection.close()
        return self.lost()

    def look_at_clock(self):
        """The clock of the database is moved by days meanwhile."""
        self.ahead = self.connection.execute("SELECT extract(epoch FROM ducto.clock() - clock_timestamp())::float").fetchone()[0]

    # --- one call

    def call(self, what):
        """Makes a call and returns its row as a dict; of a batch, its rows."""
        names = {key: value for key, value in what["args"].items()}
        places = ", ".join(f"{name} => %s" for name in names)
        cursor = self.connection.execute(f"SELECT * FROM {what['function']}({places})", list(names.values()))
        columns = [column.name for column in cursor.description]
        rows = [{name: value if isinstance(value, (bool, int, type(None))) else str(value) for name, value in zip(columns, row)}
                for row in cursor.fetchall()]
        return {"rows": rows} if what["function"] in BATCHES else rows[0]

    def intend(self, function, **args):
        self.next += 1
        name = f"{self.number}-{self.next}"
        if function in KEYED:
            args["idempotency_key"] = f"{self.options.run} {name}"
        what = {"intent": name, "function": function, "args": args}
        self.log.note(**what)
        return what

    def done(self, what, answer):
        self.log.note(closes=what["intent"], function=what["function"], args=what["args"], answer=answer)
        self.keep(what, answer)

    def keep(self, what, answer):
        """Remembers what later calls can go on with."""
        if what["function"] in BATCHES:
            for element, row in zip(elements(what), answer["rows"]):
                self.keep(element, row)
            return
        if answer.get("error"):
            return
        if what["function"] in ("ducto_reserve", "ducto_reserve_usage"):
            self.reservations.append((what["args"]["user_id"], answer["reservation_id"]))
        if answer.get("transaction_id") and what["function"] in ("ducto_charge", "ducto_charge_usage", "ducto_deduct",
                                                                     "ducto_deduct_team", "ducto_settle"):
            self.debits.append(answer["transaction_id"])
        if answer.get("transaction_id") and what["function"] == "ducto_add_credits" and "user_id" in what["args"]:
            self.credits.append((what["args"]["user_id"], answer["transaction_id"]))

    def undone(self, what, why):
        """Notes that a call did nothing: why, or the error."""
        if isinstance(why, psycopg.Error):
            self.log.note(closes=what["intent"], undone=type(why).__name__, message=str(why))
        else:
            self.log.note(closes=what["intent"], undone=why)

    # --- what to call

    def amount(self, most):
        return f"{self.random.uniform(0.0001, most):.4f}"

    def usage(self):
        """A cheap call, or one of a third of a credit for each token."""
        model, most = self.random.choice([("cheap", 60), ("third", 20)])
        return json.dumps({"model": model, "input_tokens": self.random.randrange(1, most)})

    def someone(self):
        return str(user(self.random.randrange(self.options.accounts)))

    def batch_of_charges(self):
        """Charges of users, priced or not, and of members of teams; some of an account twice."""
        charges = []
        for _ in range(self.random.randrange(1, 8)):
            who = self.someone()
            charge = {"user_id": who, "idempotency_key": f"{self.options.run} {self.number}-{self.next}/{len(charges)}"}
            chance = self.random.random()
            if chance < 0.2:
                charge.update(team_id=self.random.choice(self.options.teams), amount=self.amount(3))
            elif chance < 0.5:
                charge.update(usage=json.loads(self.usage()))
            else:
                overruns = ["reject", "clamp", "full"] if may_have_plan(who) else ["reject", "clamp"]
                charge.update(amount=self.amount(9), model=self.random.choice([None, "big", "small"]), overrun=self.random.choice(overruns))
            charges.append(charge)
        return json.dumps(charges)

    def batch_of_credits(self):
        """Additions for users and teams, of which some expire."""
        credits = []
        for _ in range(self.random.randrange(1, 6)):
            credit = {"amount": self.amount(6), "type": "purchase",
                      "idempotency_key": f"{self.options.run} {self.number}-{self.next}/{len(credits)}"}
            if self.random.random() < 0.2:
                credit["team_id"] = self.random.choice(self.options.teams)
            else:
                credit["user_id"] = self.someone()
                if self.random.random() < 0.3:
                    credit.update(type="promo", expires_at=self.later(self.random.uniform(40_000, 400_000)))
            credits.append(credit)
        return json.dumps(credits)

    def lines(self):
        """Lines of several models under keys of their own; one that an earlier call may have charged, too."""
        lines = [{"key": f"{self.options.run} line {self.number}-{self.next}/{n}", "amount": self.amount(4),
                  "model": self.random.choice(["big", "small"])} for n in range(self.random.randrange(1, 6))]
        return json.dumps(lines)

    def later(self, seconds):
        """A time of the database's clock."""
        at = time.time() + self.ahead + seconds
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"

    def pick(self):
        kind = self.random.choice(KINDS)
        who = self.someone()
        if kind == "charge":
            overruns = ["reject", "reject", "clamp", "full"] if may_have_plan(who) else ["reject", "reject", "clamp"]
            return self.intend("ducto_charge", user_id=who, amount=self.amount(9), model=self.random.choice([None, "big", "small"]),
                               overrun=self.random.choice(overruns))
        if kind == "credit":
            return self.intend("ducto_add_credits", user_id=who, amount=self.amount(12), type="purchase")
        if kind == "take":
            return self.intend("ducto_add_credits", user_id=who, amount="-" + self.amount(5))
        if kind == "grant":
            lives = self.random.choice([self.random.uniform(0.05, 6), self.random.uniform(3_000, 200_000)])
            if self.random.random() < 0.2:
                return self.intend("ducto_add_credits", user_id=who, amount=self.amount(14), type="purchase",
                                   priority=self.random.randrange(101))
            return self.intend("ducto_add_credits", user_id=who, amount=self.amount(14), type="promo",
                               expires_at=self.later(lives), priority=self.random.randrange(101))
        if kind == "reserve":
            return self.intend("ducto_reserve", user_id=who, amount=self.amount(25), min_balance=0,
                               ttl_seconds=self.random.choice([1, 60, 9_000, 200_000]), model=self.random.choice([None, "big"]),
                               ceiling=self.random.random() < 0.2)
        if kind == "settle" and self.reservations:
            owner, hold = self.random.choice(self.reservations)
            overruns = ["reject", "clamp", "full"] if may_have_plan(owner) else ["reject", "clamp"]
            return self.intend("ducto_deduct", user_id=owner, reservation_id=hold, amount=self.amount(24),
                               overrun=self.random.choice(overruns), final=self.random.random() < 0.7)
        if kind == "usage":
            return self.intend("ducto_charge_usage", user_id=who, usage=self.usage())
        if kind == "usage_reserve":
            return self.intend("ducto_reserve_usage", user_id=who, usage=self.usage(), ttl_seconds=self.random.choice([1, 9_000, 200_000]))
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
                               ttl_seconds=self.random.choice([1, 9_000, 200_000]))
        if kind == "cap" and may_have_plan(who):
            if self.random.random() < 0.5:
                return self.intend("ducto_remove_spend_cap", user_id=who, cap_type="daily")
            return self.intend("ducto_set_spend_cap", user_id=who, cap_type="daily", cap_limit=self.amount(5000),
                               action=self.random.choice(["deny", "warn", "notify"]))
        if kind == "lines" and self.reservations:
            owner, hold = self.random.choice(self.reservations)
            overruns = ["reject", "clamp", "full"] if may_have_plan(owner) else ["reject", "clamp"]
            return self.intend("ducto_settle", user_id=owner, reservation_id=hold, lines=self.lines(), final=self.random.random() < 0.3,
                               overrun=self.random.choice(overruns))
        if kind == "charge_many":
            return self.intend("ducto_charge_many", charges=self.batch_of_charges())
        if kind == "credit_many":
            return self.intend("ducto_add_credits_many", credits=self.batch_of_credits())
        if kind == "publish":
            return self.intend("ducto_set_active_pricing", config=PRICING)
        if kind == "plan" and may_have_plan(who) and not keeps_plan(who):
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
                self.undone(what, error)
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
                self.undone(what, error)
            return
        for what, answer in noted:
            self.done(what, answer)

    def see_clock(self):
        try:
            self.look_at_clock()
        except psycopg.Error as error:
            self.loses(error)

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
        answered = [line for line in self.log.lines[-60:] if "answer" in line and is_remembered(line)]
        if not answered:
            return
        line = self.random.choice(answered)
        try:
            answer = self.call(line)
        except psycopg.Error as error:
            self.loses(error)
            return
        if not is_replay(line, answer):
            self.log.note(difference=f"a retry of {line} was answered {answer}")
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
                except (errors.QueryCanceled, errors.DeadlockDetected, errors.SerializationFailure):
                    continue
                except psycopg.Error as error:
                    if not self.loses(error):
                        self.undone(what, error)
                        break
                    time.sleep(0.05)  # of a cluster another node may be away than the one that is connected

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
            elif chance < 0.3:
                self.see_clock()
            else:
                self.one(self.pick())
        if self.lost():
            self.connect()
        self.resolve()
        self.log.note(end=True)
