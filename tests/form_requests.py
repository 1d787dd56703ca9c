"""Forms sent to `read_form`: by a client over ASGI, or as scripted messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from maeum.errors import MaeumError
from maeum.http.form import AnalyzeForm, read_form

LIMIT = 300_000
BOUNDARY = "b0undary"
ENVELOPE = 64 * 1024


async def echo(request: Request) -> Response:
    try:
        form = await read_form(request, LIMIT, contract=request.url.path == "/contract")
    except MaeumError as error:
        return JSONResponse({"code": error.code, "message": error.message}, error.status)
    return JSONResponse(
        {
            "size": len(form.data),
            "gender": form.gender,
            "lang": form.lang,
            "summary": form.summary,
            "voice_pooling": form.voice_pooling,
            "baseline": form.baseline,
            "hex": form.data[:32].hex(),
        }
    )


APP = Starlette(routes=[Route("/", echo, methods=["POST"]), Route("/contract", echo, methods=["POST"])])


def post(path: str = "/", **arguments: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://maeum") as client:
            return await client.post(path, **arguments)

    return asyncio.run(send())


def post_body(body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> httpx.Response:
    return post(content=body, headers={"content-type": content_type})


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = (f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", "")
    return "\r\n".join(lines).encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FILE = part('name="file"; filename="a.wav"', b"sound", "Content-Type: audio/wav")


def read(
    messages: Iterable[Message], headers: dict[str, str] | None = None, *, pause_s: float = 0, limit: int = LIMIT
) -> tuple[AnalyzeForm | MaeumError, int]:
    """Read a form from scripted ASGI messages; gives the result and how many messages were taken.

    The clock of the event loop jumps by `pause_s` before each message.
    """
    queue = list(messages)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        if pause_s:
            loop = asyncio.get_running_loop()
            jumped_s = loop.time() + pause_s
            loop.time = lambda: jumped_s  # type: ignore[method-assign]
            for _ in range(3):  # turns of the loop, in which what is due happens
                await asyncio.sleep(0)
        return queue[taken - 1]

    raw = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | (headers or {})
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
    }

    async def run() -> AnalyzeForm | MaeumError:
        try:
            return await read_form(Request(scope, receive), limit)
        except MaeumError as error:
            return error

    return asyncio.run(run()), taken


def code_of(result: AnalyzeForm | MaeumError) -> str:
    return result.code if isinstance(result, MaeumError) else "ok"
