"""Logs are key-value facts on standard error; never a transcript, a file name from a user or a key."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("maeum.service")


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show maeum's own log lines. For server processes; a library leaves that to its user."""
    logger = logging.getLogger("maeum")
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


ERROR_CODE = "maeum.error_code"
"""Where an ASGI scope holds the code of the error that is answered."""
PROBES = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
"""What monitoring asks every few seconds."""


class RequestLog:
    """ASGI middleware: one line for each request, whose `request_id` the answer carries as `X-Request-ID`.

    Written against the protocol itself: frameworks' base classes run the whole application in a task of its own.

    Args:
        app: what answers.
        known_paths: the only ones that are written down; another may hold anything. Of `PROBES` there is no line.
    """

    def __init__(
        self, app: Callable[[Message, Receive, Send], Awaitable[None]], known_paths: frozenset[str] = frozenset()
    ) -> None:
        self._app, self._known_paths = app, known_paths

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        # Now: a mounted application is told its own part of the path in the same scope.
        path = scope["path"] if scope["path"] in self._known_paths else "unknown"
        request_id = uuid.uuid4().hex
        scope[ERROR_CODE] = "-"
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)  # what the server answers when the application raises

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            elif message["type"] == "websocket.close":  # no upgrade is ever accepted
                status = int(HTTPStatus.FORBIDDEN)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _log.info(
                "request_id=%s method=%s path=%s status=%d code=%s ms=%.1f",
                request_id,
                scope.get("method", "WEBSOCKET"),
                path,
                status,
                scope[ERROR_CODE],
                (time.perf_counter() - start) * 1000,
            )
