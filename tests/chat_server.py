"""A local HTTP server that speaks Chat Completions with scripted answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One scripted answer; `body` is sent `repeat` times; `hang` sends nothing until the server closes."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: int = 1
    hang: bool = False


@dataclass(frozen=True)
class Request:
    path: str
    headers: Message  # case-insensitive
    body: Any


def completion(text: str | None, finish_reason: str = "stop") -> Reply:
    """A good answer whose message holds `text`."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    return json_reply(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-4o-mini",
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


def json_reply(value: object, status: int = 200, **headers: str) -> Reply:
    """`value` as JSON; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


def error(status: int, message: str = "scripted error", **headers: str) -> Reply:
    """OpenAI's error body."""
    return json_reply({"error": {"message": message, "type": "scripted", "code": None}}, status, **headers)


class ChatServer:
    """Plays its replies one after the other, the last one for ever, and keeps every request."""

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[Request] = []
        self.bytes_sent = 0
        self._replies = list(replies)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._httpd = _Httpd(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return self._httpd.server_port

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def _next(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            return self._replies[min(len(self.requests), len(self._replies)) - 1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._play(server._next(Request(self.path, self.headers, json.loads(raw))))

            def do_GET(self) -> None:
                self._play(server._next(Request(self.path, self.headers, None)))

            def _play(self, reply: Reply) -> None:
                if reply.hang:
                    server._closing.wait()
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for _ in range(reply.repeat):
                    self.wfile.write(reply.body)
                    server.bytes_sent += len(reply.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet when a client hangs up, as a client with a deadline does."""
