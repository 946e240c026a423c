"""A payment endpoint for the tests, shaped as Stripe's is: a key charges a card
once, and gets the same answer whenever it comes again.

    POST /charges  {"customer": "…", "amount": <cents>}   Idempotency-Key: <any text>"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Provider(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.Lock()
        self.answers: dict[str, int] = {}
        self.charges: list[tuple[str, int]] = []  # what cards were charged
        self.troubles: dict[str, list[str]] = {}
        self.hanging = threading.Event()  # a card was charged whose answer does not come
        self.ended = threading.Event()

    def trouble(self, customer: str, *troubles: str) -> None:
        """Lets the next requests for a customer fail: before ("fails") or after the
        card was charged (the connection is "lost", the answer "hangs")."""
        self.troubles[customer] = list(troubles)

    def of(self, customer: str) -> list[int]:
        return [amount for who, amount in self.charges if who == customer]

    def close(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def charge(self, key: str, customer: str, amount: int) -> tuple[str | None, int]:
        """Returns what goes wrong, and the answer."""
        with self.lock:
            troubles = self.troubles.get(customer)
            trouble = troubles.pop(0) if troubles else None
            if trouble == "fails":
                return trouble, 500
            if key not in self.answers:
                self.answers[key] = 402 if customer.startswith("declined") else 200
                if self.answers[key] == 200:
                    self.charges.append((customer, amount))
            return trouble, self.answers[key]


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        trouble, status = self.server.charge(self.headers["Idempotency-Key"], body["customer"], body["amount"])
        if trouble == "hangs":
            self.server.hanging.set()
            self.server.ended.wait()
        if trouble in ("lost", "hangs"):
            return  # the connection is closed
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
