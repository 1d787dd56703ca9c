"""Bounds for what comes before a request's body: uvicorn collects header fields, and waits for them, without end.

All other limits of the service begin where the head of a request is complete.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

MAX_BYTES = 64 * 1024
"""Of a request beside its body: twice what proxies accept."""
TIMEOUT_S = 30.0
"""From the connection or a request's first byte to the end of its head."""
_CHUNK_OVERHEAD = 8  # bytes around a body's byte, where a client sends each in a chunk of its own

_log = logging.getLogger("maeum.service")


def bound_heads() -> None:
    """Make uvicorn close connections that go beyond; once per process, before it serves."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    protocol: Any = HttpToolsProtocol
    made, lost, received = protocol.connection_made, protocol.connection_lost, protocol.data_received
    begun, headed, embodied, ended = (
        getattr(protocol, f"on_{event}") for event in ("message_begin", "headers_complete", "body", "message_complete")
    )

    def wait_for_head(self: Any) -> None:
        stop_waiting(self)
        self.head_timer = self.loop.call_later(TIMEOUT_S, refuse, self, HTTPStatus.REQUEST_TIMEOUT)

    def stop_waiting(self: Any) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def refuse(self: Any, status: HTTPStatus) -> None:
        if self.transport.is_closing():
            return
        _log.warning("event=head_refused status=%d", status)
        if self.head_timer is not None:  # nobody else is answering
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(line.encode("ascii"))
        stop_waiting(self)
        self.transport.close()

    def connection_made(self: Any, transport: Any) -> None:
        self.head_timer, self.n_around, self.n_body = None, 0, 0
        made(self, transport)
        wait_for_head(self)

    def connection_lost(self: Any, error: Exception | None) -> None:
        stop_waiting(self)
        lost(self, error)

    def data_received(self: Any, data: bytes) -> None:
        self.n_around += len(data)
        received(self, data)
        if self.n_around - self.n_body > MAX_BYTES + _CHUNK_OVERHEAD * self.n_body:
            refuse(self, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self: Any) -> None:
        wait_for_head(self)
        begun(self)

    def on_headers_complete(self: Any) -> None:
        stop_waiting(self)
        headed(self)

    def on_body(self: Any, body: bytes) -> None:
        self.n_body += len(body)
        embodied(self, body)

    def on_message_complete(self: Any) -> None:
        self.n_around, self.n_body = 0, 0
        ended(self)

    for method in (
        connection_made,
        connection_lost,
        data_received,
        on_message_begin,
        on_headers_complete,
        on_body,
        on_message_complete,
    ):
        setattr(protocol, method.__name__, method)
