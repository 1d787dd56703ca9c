"""Connections on which no request comes, with uvicorn as it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runners import request_heads
from runners.request_heads import MAX_BYTES, bound_heads

TIMEOUT_S = 0.3


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The bounds, in this process for these tests only."""
    before = dict(vars(HttpToolsProtocol))
    monkeypatch.setattr(request_heads, "TIMEOUT_S", TIMEOUT_S)
    bound_heads()
    yield
    for name, method in before.items():
        if callable(method):
            setattr(HttpToolsProtocol, name, method)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the number of bytes in the body, after a while."""
    n_bytes, more = 0, True
    while more:
        message = await receive()
        n_bytes += len(message.get("body", b""))
        more = message.get("more_body", False)
    await asyncio.sleep(2 * TIMEOUT_S)
    body = str(n_bytes).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def ask(*parts: bytes, pause_s: float = 0.0) -> bytes:
    """What a server answers to parts sent with pauses between them, until it closes or answers."""

    async def main() -> bytes:
        server = Server(Config(app, port=0, lifespan="off", log_config=None, http="httptools"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause_s)
        found = await asyncio.wait_for(reader.read(100_000), 20)
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
