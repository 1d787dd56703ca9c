"""Stages that fail, raise or are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from maeum.errors import StageFailed, StageOverloaded
from maeum.pipeline import Options, Pipeline
from maeum.stages import Failure, Probabilities
from maeum.summary import Summary
from tests.memory_stages import KIND, SILENCE, Read, Tell, flow, run


class Fail:
    """A stage that fails on every item, or raises."""

    def __init__(self, error: Failure | Exception) -> None:
        self.error = error

    async def run(self, items: Any) -> list[Any]:
        if isinstance(self.error, Exception):
            raise self.error
        return [self.error for _ in items]


class Endless:
    """A stage or summary that goes on until it is cancelled."""

    model = "endless"

    def __init__(self) -> None:
        self.started, self.cancelled = asyncio.Event(), False

    async def run(self, items: Any) -> list[Any]:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return []

    async def summarize(self, transcript: str) -> Summary:
        await self.run([transcript])
        return KIND


def test_a_failed_summary_harms_nothing_else(pipeline: Pipeline) -> None:
    class Failing(Tell):
        async def summarize(self, transcript: str) -> Summary:
            return Summary("failed", None, "timeout")

    analysis = run(flow(pipeline, summary=Failing()).analyze(SILENCE, Options()))
    good = run(flow(pipeline).analyze(SILENCE, Options()))
    assert analysis.summary.reason == "timeout"
    assert analysis.probabilities == good.probabilities


@pytest.mark.parametrize("stage", ["speech", "text", "voice"])
def test_a_failure_of_one_stage_is_an_error_with_its_code(pipeline: Pipeline, stage: str) -> None:
    failing: dict[str, Any] = {stage: Fail(Failure(f"{stage}_failed", "the model failed"))}
    with pytest.raises(StageFailed) as caught:
        run(flow(pipeline, **failing).analyze(SILENCE, Options()))
    assert (caught.value.code, caught.value.message, caught.value.status) == (
        f"{stage}_failed",
        "the model failed",
        500,
    )


def test_one_failed_sentence_fails_the_recording(pipeline: Pipeline) -> None:
    class Mixed(Read):
        async def run(self, items: Sequence[str]) -> list[Probabilities | Failure]:
            return [*(await super().run(items[1:])), Failure("text_failed", "not finite")]

    with pytest.raises(StageFailed, match="not finite"):
        run(flow(pipeline, text=Mixed()).analyze(SILENCE, Options()))


@pytest.mark.parametrize("stage", ["speech", "text", "voice"])
@pytest.mark.parametrize("error", [StageOverloaded("busy"), RuntimeError("broken")])
def test_what_a_stage_raises_arrives_as_it_is(pipeline: Pipeline, stage: str, error: Exception) -> None:
    failing: dict[str, Any] = {stage: Fail(error)}
    with pytest.raises(type(error)) as caught:
        run(flow(pipeline, **failing).analyze(SILENCE, Options()))
    assert caught.value is error


@pytest.mark.parametrize("failing", ["text", "voice"])
def test_when_one_step_fails_the_others_are_cancelled(pipeline: Pipeline, failing: str) -> None:
    async def fail() -> list[Endless]:
        others = [Endless(), Endless()]

        class AfterTheOthers(Fail):
            async def run(self, items: Any) -> list[Any]:
                for other in others:
                    await other.started.wait()
                return await super().run(items)

        stage = AfterTheOthers(Failure(f"{failing}_failed", "no"))
        named: dict[str, Any] = {"text": others[0], "voice": others[0]} | {failing: stage}
        with pytest.raises(StageFailed):
            await flow(pipeline, **named, summary=others[1]).analyze(SILENCE, Options())
        return others

    assert [other.cancelled for other in run(fail())] == [True, True]


def test_a_caller_that_leaves_cancels_every_step(pipeline: Pipeline) -> None:
    async def leave() -> list[Endless]:
        steps = [Endless(), Endless(), Endless()]
        work = flow(pipeline, text=steps[0], voice=steps[1], summary=steps[2]).analyze(SILENCE, Options())
        task = asyncio.create_task(work)
        for step in steps:
            await step.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return steps

    assert all(step.cancelled for step in run(leave()))
