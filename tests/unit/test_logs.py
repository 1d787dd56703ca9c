from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from maeum.process.logs import ERROR_CODE, RequestLog


def run(app: Any, scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    asyncio.run(RequestLog(app, frozenset({"/v1/analyze", "/"}))(scope, receive, send))
    return sent


def answering(status: int) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"x"})

    return app


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("maeum"), "propagate", True)
    caplog.set_level(logging.INFO, "maeum.service")
    return caplog


@pytest.mark.parametrize(
    ("status", "asked", "path"),
    [
        (200, "/v1/analyze", "/v1/analyze"),
        (405, "/v1/analyze", "/v1/analyze"),
        (404, "/v1/secret", "unknown"),
        (405, "/page/x\nforged line", "unknown"),
    ],
)
def test_an_answer_carries_the_id_of_its_line(
    lines: pytest.LogCaptureFixture, status: int, asked: str, path: str
) -> None:
    start, body = run(answering(status), {"type": "http", "method": "POST", "path": asked})
    headers = dict(start["headers"])
    assert (headers[b"a"], body["body"]) == (b"b", b"x")
    (line,) = lines.messages
    assert line.startswith(
        f"request_id={headers[b'x-request-id'].decode()} method=POST path={path} status={status} code=- ms="
    )


def test_an_upgrade_that_is_refused_has_a_line(lines: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 1000})

    assert run(app, {"type": "websocket", "path": "/made-up"}) == [{"type": "websocket.close", "code": 1000}]
    (line,) = lines.messages
    assert "method=WEBSOCKET path=unknown status=403" in line


def test_an_application_that_raises_is_logged_as_500(lines: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret")

    with pytest.raises(RuntimeError):
        run(app, {"type": "http", "method": "GET", "path": "/"})
    (line,) = lines.messages
    assert "status=500" in line
    assert "secret" not in line


def test_the_path_is_the_one_that_was_asked_for(lines: pytest.LogCaptureFixture) -> None:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        scope["path"] = "/elsewhere"
        await answering(200)(scope, receive, send)

    run(mounted, {"type": "http", "method": "GET", "path": "/"})
    assert "path=/ " in lines.messages[0]


@pytest.mark.parametrize("scope", [{"type": "lifespan"}, {"type": "http", "method": "GET", "path": "/readyz"}])
def test_other_traffic_and_probes_pass_untouched(lines: pytest.LogCaptureFixture, scope: dict[str, Any]) -> None:
    assert run(answering(200), scope)[0]["headers"] == [(b"a", b"b")]
    assert lines.messages == []


def test_the_code_of_an_error_is_in_its_line(lines: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[ERROR_CODE] = "invalid_gender"
        await answering(422)(scope, receive, send)

    run(app, {"type": "http", "method": "POST", "path": "/v1/analyze"})
    (line,) = lines.messages
    assert " status=422 code=invalid_gender ms=" in line
