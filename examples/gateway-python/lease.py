"""A gateway's lease: it holds a block of a user's credits, decides in memory
whether a call may be made, and settles what calls cost by the thousand.

A call costs no round trip. What a gateway that dies has not flushed is not
charged; the rest of its block is free again when its time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Connection = psycopg.Connection[dict[str, Any]]
MAX_LINES = 10_000  # of one call of ducto_settle
ATTEMPTS = 5


def connect() -> Connection:
    """By libpq's environment. Each statement is a transaction."""
    return psycopg.connect(autocommit=True, row_factory=dict_row)


class OutOfCredits(Exception):
    """No further block is to be had; code is ducto's rejection."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Line:
    """A call that was answered. The key is the call's, the same whenever it is told."""

    key: str
    amount: Decimal
    model: str | None = None

    def json(self) -> dict[str, Any]:
        # The amount is a text: a float would not be exact.
        return {"key": self.key, "amount": str(self.amount), "model": self.model}


class Lease:
    """Credits of one user for one gateway, which threads may share.

    block: how many credits it holds at once.
    ttl: for how many seconds; it is renewed while the gateway lives.
    lines, seconds: it flushes when so many lines wait, or the first has waited so long."""

    def __init__(self, user: UUID, block: Decimal, ttl: int = 60, lines: int = 1000, seconds: float = 1.0,
                 connect: Callable[[], Connection] = connect) -> None:
        self.user = user
        self.block = block
        self.ttl = ttl
        self.lines = min(lines, MAX_LINES)
        self.seconds = seconds
        self.connect = connect
        self.connection: Connection | None = None
        self.reservation: UUID | None = None
        self.renewed = 0.0
        self.left = Decimal(0)  # of the block, less what is put aside and what waits
        self.aside = Decimal(0)  # for calls that are being made
        self.waiting: list[Line] = []
        self.waits_since = 0.0
        self.lock = threading.RLock()

    def admit(self, estimate: Decimal) -> None:
        """Puts aside what a call can cost. OutOfCredits: it must not be made."""
        with self.lock:
            expired = time.monotonic() - self.renewed >= self.ttl
            if self.reservation is None or expired or self.left < estimate:
                self.next_block(estimate)
            self.left -= estimate
            self.aside += estimate

    def done(self, estimate: Decimal, line: Line | None = None) -> None:
        """Tells what an admitted call did cost; None: it failed, and costs nothing."""
        with self.lock:
            self.aside -= estimate
            self.left += estimate - (line.amount if line is not None else 0)
            if line is None:
                return
            if not self.waiting:
                self.waits_since = time.monotonic()
            self.waiting.append(line)
            if len(self.waiting) >= self.lines:
                self.flush()

    def tick(self) -> None:
        """To be called some times a second: flushes what has waited long enough, and renews the block."""
        with self.lock:
            if self.waiting and time.monotonic() - self.waits_since >= self.seconds:
                self.flush()
            if self.reservation is not None and time.monotonic() - self.renewed >= self.ttl / 3:
                self.renew()

    def flush(self) -> None:
        """Settles the lines that wait. Where that fails they go on waiting."""
        with self.lock:
            while self.waiting:
                batch = self.waiting[:MAX_LINES]
                self.settle(batch)
                del self.waiting[:len(batch)]

    def close(self) -> None:
        """Settles all, and gives the rest of the block back."""
        with self.lock:
            self.flush()
            if self.reservation is not None:
                self.settle([], final=True)
                self.reservation = None
                self.left = Decimal(0)

    def settle(self, lines: list[Line], final: bool = False) -> None:
        if self.reservation is None:
            self.next_block(Decimal(0))
        # The calls were made: what is more than the block is charged all the same, and so are lines that come late.
        answer = self.call(
            "SELECT error FROM ducto_settle(user_id => %s, reservation_id => %s, lines => %s, final => %s, overrun => 'full')",
            self.user, self.reservation, Jsonb([line.json() for line in lines]), final)
        if answer["error"] in ("reservation_closed", "reservation_not_found"):
            # Somebody has released it. The lines go under another one.
            self.reservation = None
            self.settle(lines, final)
        elif answer["error"] is not None:
            raise RuntimeError(answer["error"])

    def next_block(self, estimate: Decimal) -> None:
        """Holds a block in place of one that is used up or has expired."""
        if self.reservation is not None:
            self.flush()
        began = time.monotonic()
        answer = self.reserve(max(self.block, estimate) + self.aside)
        if answer["error"] == "insufficient_credits":
            # A smaller one, of what there is, with what is left of this one while nothing is under way.
            if self.aside == 0:
                used, self.reservation = self.reservation, None
                self.release(used)
            began = time.monotonic()
            funds = self.call("SELECT available FROM ducto_get_balance(user_id => %s)", self.user)
            if funds["available"] >= max(estimate + self.aside, Decimal("0.0001")):
                answer = self.reserve(funds["available"])
        if answer["error"] is not None:
            raise OutOfCredits(answer["error"])
        used, self.reservation = self.reservation, answer["reservation_id"]
        self.left = answer["amount"] - self.aside - sum(line.amount for line in self.waiting)
        self.renewed = began
        self.release(used)

    def release(self, reservation: UUID | None) -> None:
        if reservation is not None:
            self.call("SELECT reason FROM ducto_release(user_id => %s, reservation_id => %s)", self.user, reservation)

    def reserve(self, credits: Decimal) -> dict[str, Any]:
        # The key lets a retry find the block that a lost answer told of.
        return self.call(
            "SELECT reservation_id, amount, error FROM ducto_reserve(user_id => %s, amount => %s,"
            " operation_type => 'gateway', min_balance => 0, ttl_seconds => %s, idempotency_key => %s)",
            self.user, credits, self.ttl, str(uuid4()))

    def renew(self) -> None:
        # Its time counts from before the call: the answer may have been long on its way.
        began = time.monotonic()
        answer = self.call(
            "SELECT error FROM ducto_renew(user_id => %s, reservation_id => %s, ttl_seconds => %s)",
            self.user, self.reservation, self.ttl)
        if answer["error"] is None:
            self.renewed = began
        else:
            self.left = Decimal(0)  # the next call gets another one

    def call(self, query: str, *args: Any) -> dict[str, Any]:
        """One statement, again when the connection broke: every one of them may be repeated."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self.connection is None or self.connection.closed:
                    self.connection = self.connect()
                row = self.connection.execute(query, args).fetchone()
                assert row is not None
                return row
            except psycopg.OperationalError:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(0.1 * 2**attempt)
        raise AssertionError
