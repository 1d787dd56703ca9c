"""HTTP connections, with what uvicorn leaves open: bounds around a request, and clients that offer another protocol.

All other limits of the service begin where the head of a request is complete.
"""

from __future__ import annotations

import asyncio
import logging
import re
from http import HTTPStatus

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_BYTES = 64 * 1024
"""Of a request beside its body: twice what proxies accept."""
TIMEOUT_S = 30.0
"""For the head of a request, and for anything else that keeps a connection open."""
STOP_TIMEOUT_S = 30.0
"""For the answers to the requests under way, once the server is told to stop."""
_CHUNK_OVERHEAD = 8  # bytes around a body's byte, where a client sends each in a chunk of its own
_END_OF_HEAD = b"\r\n\r\n"
# Java's client offers HTTP/2 with every request. To ignore it is what RFC 9110 asks for (7.8), but httptools would take
# the body for the other protocol. Only the name changes, and no length.
_FOREIGN_UPGRADE = re.compile(rb"(?i)(?<=\r\n)upgrade(?=[ \t]*:(?![^\r\n]*websocket))")

_log = logging.getLogger("maeum.service")


def bound_connections() -> None:
    """Make uvicorn use `Connection`; once per process, before it serves."""
    HTTP_PROTOCOLS["auto"] = HTTP_PROTOCOLS["httptools"] = f"{__name__}:{Connection.__name__}"


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which collects header fields and waits for them without end.

    It closes one that has more than `MAX_BYTES` around a body, one on which for `TIMEOUT_S` no head is complete and no
    request is being answered, and one whose answer is not there `STOP_TIMEOUT_S` after the server was told to stop.
    """

    _timer: asyncio.TimerHandle | None = None
    _n_around = 0
    _n_body = 0
    _is_body = False
    _held = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count, and parse."""
        if self.transport.is_closing():
            return
        self._n_around += len(data)
        super().data_received(data if self._is_body else self._without_foreign_upgrade(data))
        if self._n_around - self._n_body > MAX_BYTES + _CHUNK_OVERHEAD * self._n_body:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif (
            self._timer is None and not self._is_answering
        ):  # the rest of a request that has its answer, or line breaks
            self._wait()

    def _without_foreign_upgrade(self, data: bytes) -> bytes:
        """What of a head can be parsed: its first line as it comes, and the fields when all are there."""
        head, end, rest = (self._held + data).partition(_END_OF_HEAD)
        if end:
            self._held = b""
            return _FOREIGN_UPGRADE.sub(b"ignored", head) + end + rest
        line, line_end, fields = head.partition(b"\r")
        self._held = line_end + fields
        return line

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """A head is complete: hand the request on."""
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        self._is_body = True
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._n_body += len(body)
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._n_around = self._n_body = 0
        self._is_body = False
        if not self.transport.is_closing():
            super().on_message_complete()

    def shutdown(self) -> None:
        """The server stops, and waits for the last connection. Work for one that is closed is dropped."""
        super().shutdown()
        self.loop.call_later(STOP_TIMEOUT_S, self._leave_unanswered)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(TIMEOUT_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._is_answering:  # the next request has begun too early
            self._wait()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _leave_unanswered(self) -> None:
        if not self.transport.is_closing():
            _log.warning("event=stopped_without_answer")
            has_begun = self.cycle.response_started or self.pipeline
            self._close(None if has_begun else HTTPStatus.SERVICE_UNAVAILABLE)

    def _refuse(self, status: HTTPStatus) -> None:
        if not self.transport.is_closing():
            _log.warning("event=head_refused status=%d", status)
            self._close(None if self._is_answering else status)

    def _close(self, status: HTTPStatus | None) -> None:
        self._stop_waiting()
        if status is not None:
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(line.encode("ascii"))
        self.transport.close()
