"""A metered AI endpoint over http, on the loopback interface:

    POST /completions  {"prompt": "…"}   X-User-Id: <uuid>, Idempotency-Key: <any text>
    GET /balance                         X-User-Id: <uuid>

Who the user is has been found out by what is in front of it."""

from __future__ import annotations

import json
import os
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

from completions import Completions, Refusal
from model import parrot


class Server(ThreadingHTTPServer):
    """Port 0 takes a free one."""

    request_queue_size = 64

    def __init__(self, completions: Completions, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.completions = completions


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        status = 200
        try:
            body = self.route()
        except Refusal as refusal:
            status, body = refusal.status, {"error": refusal.code}
        except Exception:
            traceback.print_exc()
            status, body = 500, {"error": "internal"}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def route(self) -> dict[str, object]:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            user = UUID(self.headers.get("X-User-Id", ""))
        except ValueError:
            raise Refusal(401, "no_user") from None
        completions = self.server.completions
        if (self.command, self.path) == ("GET", "/balance"):
            found = completions.balance(user)
            return {name: str(value) for name, value in vars(found).items()}
        if (self.command, self.path) != ("POST", "/completions"):
            raise Refusal(404, "not_found")
        key = self.headers.get("Idempotency-Key")
        try:
            prompt = json.loads(text)["prompt"]
        except (ValueError, TypeError, KeyError):
            prompt = None
        if key is None or not isinstance(prompt, str):
            raise Refusal(400, "bad_request")
        completion, replayed = completions.complete(user, key, prompt)
        return {
            "reply": completion.reply,
            "credits": str(completion.credits),
            "balance": str(completion.balance),
            "transaction_id": str(completion.transaction_id),
            "replayed": replayed,
        }

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    with Server(Completions(parrot, "parrot-1"), int(os.environ.get("PORT", "8080"))) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
