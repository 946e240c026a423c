"""Takes events from ducto's outbox and does what they ask for: charges a card and
adds the credits where a top-up is due, and notes a mail of all others. It may die
at any moment, and any number of them may run side by side: what is not
acknowledged comes again, and each key charges and adds once."""

from __future__ import annotations

import json
import os
import sys
import time
from decimal import ROUND_UP, Decimal
from select import select
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

CENTS_PER_CREDIT = 1
TAKEN_AT_ONCE = 10
LEASE = 60  # seconds: more than TAKEN_AT_ONCE charges take, and what a crash delays
TIMEOUT = 5  # seconds, of one charge
ATTEMPTS = 20
LOOK = 60  # seconds: a notification may have been missed

Connection = psycopg.Connection[DictRow]
Event = DictRow


def connect() -> Connection:
    """Connects to the database of libpq's environment."""
    return psycopg.connect(autocommit=True, row_factory=dict_row)


def charge(url: str, customer: str, credits: Decimal, key: str) -> bool:
    """Charges a card once for a key. False: it was declined. Where it is not known
    whether the card was charged, that is an error, and the same key asks again."""
    cents = int((credits * CENTS_PER_CREDIT).to_integral_value(ROUND_UP))
    request = Request(
        f"{url}/charges", json.dumps({"customer": customer, "amount": cents}).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": key})
    try:
        with urlopen(request, timeout=TIMEOUT):
            return True
    except HTTPError as error:
        with error:
            if error.code == 402:
                return False
            raise RuntimeError(f"the payment endpoint answers {error.code}") from error


class Worker:
    """Works with a connection of its own, which it keeps."""

    def __init__(self, payments: str) -> None:
        self.payments = payments
        self.db = connect()
        self.told = False

    def work(self) -> int:
        """Does what waits, and returns how many events there were."""
        done = 0
        while True:
            events = self.db.execute(
                "SELECT * FROM ducto_take_events(max_rows => %s, lease_seconds => %s)", (TAKEN_AT_ONCE, LEASE)).fetchall()
            for event in events:
                try:
                    self.handle(event)
                except (OSError, RuntimeError) as error:  # of the endpoint or the network; a lost database ends the worker
                    self.failed(event, error)
            done += len(events)
            if not events:
                return done

    def run(self) -> None:
        """Works for ever: at once where there is a notification."""
        self.db.add_notify_handler(self.notified)
        self.db.execute("LISTEN ducto_events")
        while True:
            self.told = False
            self.work()
            if not self.told and self.db.pgconn.notifies() is None:
                select([self.db], [], [], LOOK)

    def notified(self, notify: psycopg.Notify) -> None:
        """Called while an answer is read."""
        self.told = True

    def handle(self, event: Event) -> None:
        if event["kind"] == "topup_due":
            self.top_up(event)
        else:
            with self.db.transaction():
                self.mail(event, event["kind"])
                self.acknowledge(event)

    def top_up(self, event: Event) -> None:
        """The card first, then the credits, both by the key of the event."""
        account, amount, key = event["account_id"], Decimal(str(event["payload"]["amount"])), event["payload"]["idempotency_key"]
        card = self.db.execute("SELECT customer FROM cards WHERE account_id = %s", (account,)).fetchone()
        if card is not None and charge(self.payments, card["customer"], amount, key):
            add = "ducto_add_credits(user_id" if event["team_id"] is None else "ducto_add_team_credits(team_id"
            with self.db.transaction():
                row = self.db.execute(
                    f"SELECT error FROM {add} => %s, amount => %s, type => 'purchase', idempotency_key => %s)",
                    (account, amount, key)).fetchone()
                assert row is not None
                if row["error"] is not None:
                    raise RuntimeError(row["error"])
                self.acknowledge(event)
            return
        with self.db.transaction():
            # for good: no card is charged for it again, until the user gives another one
            self.db.execute("SELECT FROM ducto_set_auto_topup(account_id => %s, below => 0, amount => 0)", (account,))
            self.mail(event, "no_card" if card is None else "card_declined")
            self.acknowledge(event)

    def mail(self, event: Event, subject: str) -> None:
        self.db.execute(
            "INSERT INTO mails VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (event["id"], event["account_id"], subject, Jsonb(event["payload"])))

    def acknowledge(self, event: Event) -> None:
        """In the transaction of what was done in the database: both, or neither."""
        self.db.execute("SELECT ducto_ack_events(ids => ARRAY[%s::uuid])", (event["id"],))

    def failed(self, event: Event, error: Exception) -> None:
        """It comes again when its lease is over, but not for ever."""
        print(f"{event['kind']} {event['id']}, attempt {event['attempt']}: {error}", file=sys.stderr)
        if event["attempt"] >= ATTEMPTS:
            with self.db.transaction():
                self.db.execute(
                    "INSERT INTO aside VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    (event["id"], Jsonb(event, dumps=lambda value: json.dumps(value, default=str)), str(error)))
                self.acknowledge(event)


if __name__ == "__main__":
    while True:
        try:
            Worker(os.environ["PAYMENTS_URL"]).run()
        except psycopg.OperationalError as error:  # the server restarts: so does this
            print(error, file=sys.stderr)
            time.sleep(1)
