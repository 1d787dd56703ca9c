"""Calls to a runner, over a real connection where connections are what goes wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import aiohttp
import psutil
import pytest
from bentoml.exceptions import BentoMLException

from maeum.errors import MaeumError, StageFailed, StageOverloaded, StageTimeout
from runners.calls import RunnerCalls


class Runner:
    """Stands where `bentoml.depends` puts a runner; each call takes the next outcome."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.to_async = self
        self.asked: list[Any] = []

    async def run(self, items: Any) -> list[Any]:
        self.asked.append(items)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return list(outcome)


def ask(runner: Runner) -> list[Any]:
    return asyncio.run(RunnerCalls("speech", runner)(["item"]))


GONE = aiohttp.ClientOSError(None, "Can not write request body")


@pytest.mark.parametrize("n_lost", [0, 1, 2])
@pytest.mark.parametrize("error", [GONE, aiohttp.ServerDisconnectedError()])
def test_a_call_that_met_a_closing_connection_is_made_again(error: Exception, n_lost: int) -> None:
    runner = Runner(*[error] * n_lost, ["result"])
    assert ask(runner) == ["result"]
    assert runner.asked == [["item"]] * (n_lost + 1)


def test_a_call_that_may_have_ended_the_runner_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.calls._UNREAD_S", -1)  # as if it had been under way for long
    runner = Runner(aiohttp.ServerDisconnectedError(), ["result"])
    with pytest.raises(StageOverloaded):
        ask(runner)
    assert len(runner.asked) == 1


@pytest.mark.parametrize(
    ("outcomes", "error", "n_asked"),
    [
        ([GONE] * 3, StageOverloaded, 3),
        ([TimeoutError()], StageTimeout, 1),
        ([aiohttp.ServerTimeoutError()], StageTimeout, 1),
        ([aiohttp.ClientPayloadError()], StageOverloaded, 1),
        ([BentoMLException("x", error_code=HTTPStatus.SERVICE_UNAVAILABLE)], StageOverloaded, 1),
        ([BentoMLException("x", error_code=HTTPStatus.TOO_MANY_REQUESTS)], StageOverloaded, 1),
        ([BentoMLException("x", error_code=HTTPStatus.GATEWAY_TIMEOUT)], StageTimeout, 1),
        ([BentoMLException("x", error_code=HTTPStatus.INTERNAL_SERVER_ERROR)], StageFailed, 1),
    ],
)
def test_what_goes_wrong_is_one_of_our_errors(outcomes: list[Any], error: type[MaeumError], n_asked: int) -> None:
    runner = Runner(*outcomes)
    with pytest.raises(error, match="the speech runner"):
        ask(runner)
    assert len(runner.asked) == n_asked


class Client(Runner):
    """Asks over HTTP with a pool of connections, as BentoML's client does."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        super().__init__()
        self._port, self._session = port, session

    async def run(self, items: Any) -> list[Any]:
        async def body() -> Any:
            yield b"item"

        async with self._session.post(f"http://127.0.0.1:{self._port}/run", data=body()) as response:
            return [await response.text()]


def test_a_runner_that_closes_idle_connections_is_asked_again() -> None:
    answered = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request of each connection, and close it when the next one begins, as after idle time."""
        nonlocal answered
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        answered += 1
        await reader.read(1)
        writer.close()

    async def both() -> list[list[Any]]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, aiohttp.ClientSession() as session:
            call = RunnerCalls("text", Client(server.sockets[0].getsockname()[1], session))
            return [await call(["a"]), await call(["b"])]

    assert asyncio.run(both()) == [["ok"], ["ok"]]
    assert answered == 2


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """What stands for the runner's process, which `RunnerCalls` looks for beside the service's."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr("runners.calls.process_beside", lambda _: psutil.Process(process.pid))
        yield process
        process.kill()


def times_out(calls: RunnerCalls) -> None:
    with pytest.raises(StageTimeout):
        asyncio.run(calls(["item"]))


@pytest.mark.usefixtures("process")
def test_a_call_without_an_answer_hangs_until_there_is_one() -> None:
    calls = RunnerCalls("speech", Runner(["heard"], TimeoutError(), ["heard"]))
    asyncio.run(calls(["item"]))
    assert not calls.hangs(10)
    times_out(calls)
    assert calls.hangs(10)
    assert asyncio.run(calls(["item"])) == ["heard"]
    assert not calls.hangs(10)


@pytest.mark.usefixtures("process")
def test_a_runner_that_has_not_answered_yet_loads_and_does_not_hang() -> None:
    calls = RunnerCalls("speech", Runner(TimeoutError()))
    times_out(calls)
    assert not calls.hangs(10)


def test_nor_does_one_that_is_started_again(process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = RunnerCalls("speech", Runner(["heard"], TimeoutError(), ["heard"], TimeoutError()))
    asyncio.run(calls(["item"]))
    process.kill()
    process.wait()
    times_out(calls)
    assert not calls.hangs(10)

    monkeypatch.setattr("runners.calls.process_beside", lambda _: psutil.Process())
    asyncio.run(calls(["item"]))
    times_out(calls)
    assert calls.hangs(10)


@pytest.mark.usefixtures("process")
def test_a_call_hangs_from_when_its_model_was_there() -> None:
    waiting, answer = asyncio.Event(), asyncio.Event()

    class Loading(Runner):
        async def run(self, items: Any) -> list[Any]:
            await (waiting if items == ["first"] else answer).wait()
            return ["heard"]

    async def main() -> list[bool]:
        calls = RunnerCalls("speech", Loading())
        tasks = [asyncio.create_task(calls([name])) for name in ("first", "second")]
        await asyncio.sleep(0.3)
        found = [calls.hangs(0.2)]
        waiting.set()
        await tasks[0]
        found.append(calls.hangs(0.2))
        await asyncio.sleep(0.3)
        found.append(calls.hangs(0.2))
        answer.set()
        await tasks[1]
        return [*found, calls.hangs(0.2)]

    assert asyncio.run(main()) == [False, False, True, False]
