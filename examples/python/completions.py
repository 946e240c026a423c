"""Metered completions: hold what a reply can cost, let the model work, charge
what it did cost and keep the reply, both in one transaction.

A rejection is an exception here (ducto.rejections = raise): it takes the
transaction along, and no result has to be looked at for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from model import Model, Usage, count_tokens, price

MAX_TOKENS = 200
ATTEMPTS = 3

# The HTTP statuses of the rejections that a user can cause.
STATUSES = {
    "insufficient_credits": 402,
    "feature_not_entitled": 403,
    "transaction_not_found": 404,
    "reservation_expired": 410,
    "cap_reached": 429,
    "concurrency_limit": 429,
}

T = TypeVar("T")
Connection = psycopg.Connection[Any]


class Refusal(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Balance:
    balance: Decimal
    reserved: Decimal
    available: Decimal


@dataclass(frozen=True)
class Reservation:
    reservation_id: UUID
    idempotent: bool


@dataclass(frozen=True)
class Deduction:
    transaction_id: UUID
    amount: Decimal
    balance_after: Decimal
    idempotent: bool


@dataclass(frozen=True)
class Refund:
    refund_transaction_id: UUID
    amount: Decimal
    new_balance: Decimal
    idempotent: bool


@dataclass(frozen=True)
class Completion:
    prompt: str
    reply: str
    transaction_id: UUID
    credits: Decimal
    balance: Decimal


def connect() -> Connection:
    """Connects to the database of libpq's environment."""
    return psycopg.connect(options="-c ducto.rejections=raise")


def row(connection: Connection, kind: type[T], query: str, *values: object) -> T | None:
    """Runs a query and returns its row, if there is one."""
    columns = ", ".join(kind.__annotations__)
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(f"SELECT {columns} FROM {query}", values).fetchone()


def call(connection: Connection, kind: type[T], query: str, *values: object) -> T:
    """Runs a query that has one row."""
    found = row(connection, kind, query, *values)
    assert found is not None
    return found


def transaction(connect: Callable[[], Connection], work: Callable[[Connection], T]) -> T:
    """Does work in one transaction, again in another one when an answer got lost.

    All that is done here has an idempotency key, or may be repeated without."""
    attempt = 1
    while True:
        try:
            with connect() as connection:
                return work(connection)
        except psycopg.Error as error:
            state = error.diag.sqlstate
            if state is not None and state.startswith("UC"):
                code = error.diag.message_primary or state
                raise Refusal(STATUSES.get(code, 409), code) from error
            # the connection broke, or transactions met; unknown is unknown
            may_retry = state is None or state[:2] in ("08", "40") or state[:3] == "57P"
            if not may_retry or attempt == ATTEMPTS:
                raise
            time.sleep(0.05 * attempt)
            attempt += 1


def collect(stream: Generator[str, None, Usage]) -> tuple[str, Usage]:
    tokens = []
    while True:
        try:
            tokens.append(next(stream))
        except StopIteration as end:
            return "".join(tokens), end.value


class Completions:
    def __init__(self, model: Model, name: str, connect: Callable[[], Connection] = connect) -> None:
        self.model = model
        self.name = name
        self.connect = connect

    def balance(self, user: UUID) -> Balance:
        return self._transaction(lambda c: call(c, Balance, "ducto_get_balance(user_id => %s)", user))

    def complete(self, user: UUID, key: str, prompt: str) -> tuple[Completion, bool]:
        """Returns the reply to a prompt, and whether an earlier call has paid it."""
        completion = self._find(user, key)
        replayed = True
        if completion is None:
            completion, replayed = self._work(user, key, prompt)
        if completion.prompt != prompt:
            raise Refusal(409, "idempotency_conflict")
        return completion, replayed

    def refund(self, transaction_id: UUID, reason: str) -> Refund:
        """Gives back what a reply did cost: for support, or a job that finds a bad one."""
        return self._transaction(lambda c: call(
            c, Refund, "ducto_refund(transaction_id => %s, reason => %s, idempotency_key => %s)",
            transaction_id, reason, f"refund/{transaction_id}"))

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        return transaction(self.connect, work)

    def _find(self, user: UUID, key: str) -> Completion | None:
        return self._transaction(lambda c: row(
            c, Completion, "completions WHERE user_id = %s AND key = %s", user, key))

    def _work(self, user: UUID, key: str, prompt: str) -> tuple[Completion, bool]:
        with self._held(user, key, prompt) as reservation:
            if reservation.idempotent:
                completion = self._renew(user, key, reservation)
                if completion is not None:
                    return completion, True
            try:
                reply, usage = collect(self.model(prompt, MAX_TOKENS))
            except Exception as error:
                raise Refusal(502, "model_failed") from error
        return self._settle(user, key, reservation, prompt, reply, usage)

    @contextmanager
    def _held(self, user: UUID, key: str, prompt: str) -> Iterator[Reservation]:
        """Holds what a reply can cost, and releases it when the work fails."""
        amount = price(Usage(count_tokens(prompt), MAX_TOKENS))
        # min_balance: amount is the most that it can cost, so nothing has to be left
        reservation = self._transaction(lambda c: call(
            c, Reservation,
            "ducto_reserve(user_id => %s, amount => %s, operation_type => 'completion', min_balance => 0, model => %s,"
            " idempotency_key => %s)",
            user, amount, self.name, key))
        try:
            yield reservation
        except BaseException:
            if not reservation.idempotent:
                self._transaction(lambda c: c.execute(
                    "SELECT released FROM ducto_release(user_id => %s, reservation_id => %s)",
                    (user, reservation.reservation_id)))
            raise

    def _renew(self, user: UUID, key: str, reservation: Reservation) -> Completion | None:
        """Takes over the reservation of an earlier call with this key.

        That one may be at work, or have died, or have ended: an open reservation
        can be renewed, a closed one cannot."""
        refusal = None
        try:
            self._transaction(lambda c: c.execute(
                "SELECT error FROM ducto_renew(user_id => %s, reservation_id => %s)",
                (user, reservation.reservation_id)))
        except Refusal as error:
            refusal = error
        completion = self._find(user, key)
        if completion is None and refusal is not None:
            raise Refusal(409, "key_used") from refusal
        return completion

    def _settle(self, user: UUID, key: str, reservation: Reservation,
                prompt: str, reply: str, usage: Usage) -> tuple[Completion, bool]:
        """Charges and keeps a reply: both, or neither."""
        def work(connection: Connection) -> tuple[Completion, bool]:
            charge = call(
                connection, Deduction,
                "ducto_deduct(user_id => %s, reservation_id => %s, amount => %s, idempotency_key => %s, metadata => %s)",
                user, reservation.reservation_id, price(usage), key, Jsonb(asdict(usage)))
            connection.execute(
                "INSERT INTO completions (user_id, key, prompt, reply, transaction_id, credits, balance)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (user, key, prompt, reply, charge.transaction_id, charge.amount, charge.balance_after))
            kept = call(connection, Completion, "completions WHERE user_id = %s AND key = %s", user, key)
            return kept, charge.idempotent

        return self._transaction(work)
