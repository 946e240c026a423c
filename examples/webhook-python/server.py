"""The webhook over http, on the loopback interface:

    POST /webhook  an event   Stripe-Signature: t=<seconds>,v1=<HMAC>

Any answer but 200 makes the provider deliver the event again, later."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from payments import Event, Refusal, handle

TOLERANCE = 300  # seconds, against a replay of what somebody has recorded


def sign(body: bytes, secret: str, seconds: str) -> str:
    return hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(body: bytes, header: str, secret: str) -> None:
    """Lets a body pass that the provider has signed, and not long ago."""
    fields = [field.partition("=") for field in header.split(",")]
    seconds = next((value for name, _, value in fields if name == "t"), "")
    expected = sign(body, secret, seconds)
    is_signed = any(name == "v1" and hmac.compare_digest(value.encode(), expected.encode()) for name, _, value in fields)
    if not is_signed or not seconds.isdecimal() or abs(time.time() - int(seconds)) > TOLERANCE:
        raise Refusal(400, "bad_signature")


class Server(ThreadingHTTPServer):
    """Port 0 takes a free one."""

    request_queue_size = 64

    def __init__(self, secret: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.secret = secret


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        try:
            status, body = 200, self.answer()
        except Refusal as refusal:
            status, body = refusal.status, {"error": refusal.code}
        except Exception:
            traceback.print_exc()
            status, body = 500, {"error": "internal"}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def answer(self) -> Event:
        # the signature is of the bytes that came, not of what a parser makes of them
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/webhook":
            raise Refusal(404, "not_found")
        verify(body, self.headers.get("Stripe-Signature", ""), self.server.secret)
        return handle(json.loads(body))

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    with Server(os.environ["WEBHOOK_SECRET"], int(os.environ.get("PORT", "8080"))) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
