"""Connections on which no request comes, with uvicorn as it serves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from uvicorn import Config, Server

from runners import connections
from runners.connections import MAX_BYTES, Connection

TIMEOUT_S = 0.3
CLOSED = b"Connection: close\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TIMEOUT_S", TIMEOUT_S)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the number of bytes in the body, after a while."""
    n_bytes, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        n_bytes += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] != "/early":
        await asyncio.sleep(2 * TIMEOUT_S)
    body = str(n_bytes).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def ask(*parts: bytes, pause_s: float = 0.0, stop: bool = False) -> bytes:
    """All that a server answers to parts sent with pauses between them, until it closes or a while later.

    Args:
        parts: of what is sent.
        pause_s: after each.
        stop: tell the server to, once all is sent.
    """

    async def main() -> bytes:
        server = Server(Config(app, port=0, lifespan="off", log_config=None, http=Connection))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause_s)
        server.should_exit = stop
        found = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(6 * TIMEOUT_S):
                while part := await reader.read(100_000):
                    found += part
        writer.close()
        server.should_exit = True
        await serving
        return found

    return asyncio.run(main())


@pytest.mark.parametrize("parts", [(), (b"GET / HTTP/1.1\r\nHost: x\r\n",)])
def test_a_head_that_does_not_come_is_not_waited_for(parts: tuple[bytes, ...]) -> None:
    assert ask(*parts).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_head_that_is_too_long_is_refused() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (MAX_BYTES + 1)
    assert ask(head).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_a_body_may_take_its_time_and_be_long() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (3 * MAX_BYTES)
    assert ask(head, *[b"a" * MAX_BYTES] * 3, pause_s=TIMEOUT_S / 2).endswith(b"\r\n\r\n%d" % (3 * MAX_BYTES))


def test_a_body_in_chunks_of_a_byte_is_read() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask(head + b"1\r\na\r\n" * 30_000 + b"0\r\n\r\n").endswith(b"\r\n\r\n30000")


def test_a_head_that_comes_at_once_is_refused_too() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (MAX_BYTES + 1) + b"\r\n\r\n"
    assert ask(head).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("rest", [b"\r\n", b"a"])
def test_what_comes_after_an_answer_keeps_no_connection_open(rest: bytes) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (0 if rest == b"\r\n" else 10)
    assert ask(head, rest, pause_s=TIMEOUT_S).endswith(b"HTTP/1.1 408 Request Timeout\r\n" + CLOSED)


def test_a_request_that_begins_too_early_does_not_take_another_s_answer() -> None:
    answer = ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"HTTP/1.1 408 Request Timeout\r\n" + CLOSED)


@pytest.mark.parametrize("before", [b"", b"GET /early HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize(
    "cut", [b"", b"Host", b"Upgrade: h2c", b"rade: h2c", b"h2c", b"\nUpgrade: h2c", b"\n\r\na", b"\r\na", b"a\r"]
)
def test_another_protocol_that_is_offered_is_not_taken(cut: bytes, before: bytes) -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 19\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\r\na\r\nupgrade: mine\r\nb"
    )
    at = request.index(cut)
    answer = ask(before, request[:at], request[at:], pause_s=0.05)
    assert answer.count(b"HTTP/1.1 200 ") == (2 if before else 1)
    assert b"\r\n\r\n19" in answer


def test_what_is_no_http_is_told_so_at_once() -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # as from a client that expects TLS
    assert ask(hello).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("left_s", "status"), [(10 * TIMEOUT_S, b"200 "), (TIMEOUT_S / 3, b"503 ")])
def test_a_server_that_stops_does_not_wait_for_an_answer_for_ever(
    monkeypatch: pytest.MonkeyPatch, left_s: float, status: bytes
) -> None:
    monkeypatch.setattr(connections, "STOP_TIMEOUT_S", left_s)
    answer = ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", pause_s=TIMEOUT_S / 3, stop=True)
    assert answer.startswith(b"HTTP/1.1 " + status)
