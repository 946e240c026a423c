"""What the events of a payment provider do to credits. An event is delivered at
least once, so sometimes twice, at the same time too, and not always in order.
Each is one transaction; the ids of the provider are the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

Connection = psycopg.Connection[DictRow]
Event = dict[str, Any]


class Refusal(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


def connect() -> Connection:
    """Connects to the database of libpq's environment."""
    return psycopg.connect(row_factory=dict_row)


def accepted(connection: Connection, query: str, *values: object) -> DictRow:
    """Returns the row of a call unless it is a rejection."""
    row = connection.execute(query, values).fetchone()
    assert row is not None
    if row["error"] is not None:
        raise Refusal(409, row["error"])
    return row


def paid(connection: Connection, event: Event) -> Event:
    """Somebody paid: adds the credits of the pack, once for a payment."""
    if event["payment_status"] != "paid":
        return {"ignored": event["payment_status"]}
    payment, user, name = event["payment_intent"], event["client_reference_id"], event["metadata"]["pack"]
    pack = connection.execute("SELECT credits FROM packs WHERE id = %s", (name,)).fetchone()
    if pack is None:
        raise Refusal(422, "no_such_pack")
    added = accepted(
        connection,
        """SELECT transaction_id, new_balance, idempotent, error
             FROM ducto_add_credits(user_id => %s, amount => %s, type => 'purchase', metadata => %s,
                                    idempotency_key => %s)""",
        user, pack["credits"], Jsonb({"payment": payment, "pack": name}), f"payment/{payment}")
    connection.execute(
        "INSERT INTO payments VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (payment, user, added["transaction_id"], pack["credits"]))
    return {"balance": str(added["new_balance"]), "replayed": added["idempotent"]}


def disputed(connection: Connection, event: Event) -> Event:
    """The bank wants the money back: takes what is left of the credits, once for a
    dispute, never what open holds need and never into debt. What was spent is spent,
    and is reported."""
    dispute, payment_id = event["id"], event["payment_intent"]
    payment = connection.execute("SELECT transaction_id FROM payments WHERE id = %s", (payment_id,)).fetchone()
    if payment is None:
        # it came before the payment: the provider delivers it again
        raise Refusal(409, "no_such_payment")
    taken = accepted(
        connection,
        """SELECT reversal_transaction_id, amount, shortfall, idempotent, error
             FROM ducto_reverse_credits(transaction_id => %s, reason => 'dispute', metadata => %s, idempotency_key => %s)""",
        payment["transaction_id"], Jsonb({"payment": payment_id, "dispute": dispute}), f"dispute/{dispute}")
    connection.execute(
        "INSERT INTO disputes VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (dispute, payment_id, taken["reversal_transaction_id"], taken["amount"], taken["shortfall"]))
    return {"taken": str(taken["amount"]), "shortfall": str(taken["shortfall"]), "replayed": taken["idempotent"]}


def decided(connection: Connection, event: Event) -> Event:
    """The bank has decided: when it is for you, the user gets back what was taken.
    Its key is the entry that took it."""
    if event["status"] != "won":
        return {"ignored": event["status"]}
    dispute = connection.execute(
        """SELECT p.user_id, d.reversal_id, d.taken
             FROM disputes d JOIN payments p ON p.id = d.payment_id WHERE d.id = %s""",
        (event["id"],)).fetchone()
    if dispute is None:
        raise Refusal(409, "no_such_dispute")
    if dispute["taken"] == 0:
        return {"ignored": "nothing_taken"}
    added = accepted(
        connection,
        """SELECT new_balance, idempotent, error
             FROM ducto_add_credits(user_id => %s, amount => %s, type => 'purchase', metadata => %s, idempotency_key => %s)""",
        dispute["user_id"], dispute["taken"], Jsonb({"dispute": event["id"]}), str(dispute["reversal_id"]))
    return {"balance": str(added["new_balance"]), "replayed": added["idempotent"]}


HANDLERS: dict[str, Callable[[Connection, Event], Event]] = {
    "checkout.session.completed": paid,
    "charge.dispute.created": disputed,
    "charge.dispute.closed": decided,
}


def handle(event: Event) -> Event:
    """Does what an event asks for: all of it, or nothing."""
    handler = HANDLERS.get(event["type"])
    if handler is None:
        return {"ignored": event["type"]}
    with connect() as connection:  # one transaction, which ends with the block
        return handler(connection, event["data"]["object"])
