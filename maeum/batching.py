"""Calls that wait while a model works travel together in the next one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from maeum.decoding import SAMPLE_RATE_HZ
from maeum.settings import Settings
from maeum.stages import Failure, Probabilities, SpeechItem, Stages, Transcript

_WINDOW_BYTES = 30 * SAMPLE_RATE_HZ * 2

Items = TypeVar("Items", bound=Any)
Result = TypeVar("Result")


class BatchingStage(Generic[Items, Result]):
    """A stage that has one call under way and merges those that arrive meanwhile.

    Recordings that were transcribed together ask for the next stages in the same turn of the event loop, so they go on
    together without waiting for each other; and one call to another process instead of many saves most of its cost.

    Args:
        call: computes a batch, one result per item in order. What it raises, every caller in the batch gets.
        merge: joins the items of several calls.
        weigh: size of a call's items, in the unit of `max_weight`.
        max_weight: calls are merged up to this; a heavier one goes alone.
    """

    def __init__(
        self,
        call: Callable[[Items], Awaitable[list[Result | Failure]]],
        *,
        merge: Callable[[list[Items]], Items],
        weigh: Callable[[Items], float] = len,
        max_weight: float,
    ) -> None:
        self._call, self._merge, self._weigh, self._max_weight = call, merge, weigh, max_weight
        self._waiting: list[tuple[Items, asyncio.Future[list[Result | Failure]]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def run(self, items: Items) -> list[Result | Failure]:
        """Compute one result per item, in order."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Result | Failure]] = loop.create_future()
        self._waiting.append((items, answer))
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        try:
            await asyncio.sleep(0)  # the calls of this turn of the loop go together
            while calls := self._take():
                await self._answer(calls)
        finally:
            self._sender = None
            for _, answer in self._waiting:  # only when the loop ends with calls waiting
                answer.cancel()
            self._waiting.clear()

    def _take(self) -> list[tuple[Items, asyncio.Future[list[Result | Failure]]]]:
        calls: list[tuple[Items, asyncio.Future[list[Result | Failure]]]] = []
        weight = 0.0
        self._waiting = [call for call in self._waiting if not call[1].cancelled()]
        while self._waiting:
            weight += self._weigh(self._waiting[0][0])
            if calls and weight > self._max_weight:
                break
            calls.append(self._waiting.pop(0))
        return calls

    async def _answer(self, calls: list[tuple[Items, asyncio.Future[list[Result | Failure]]]]) -> None:
        try:
            batch = self._merge([items for items, _ in calls])
            results = await self._call(batch)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except Exception as error:
            for _, answer in calls:
                if not answer.done():
                    answer.set_exception(error)
            return
        except asyncio.CancelledError:
            for _, answer in calls:
                answer.cancel()
            raise
        start = 0
        for items, answer in calls:
            if not answer.done():
                answer.set_result(results[start : start + len(items)])
            start += len(items)


def join_lists(lists: list[Any]) -> list[Any]:
    """Merge for items that come in lists."""
    return list(chain.from_iterable(lists))


def batching_stages(
    speech: Callable[[Sequence[SpeechItem]], Awaitable[list[Transcript | Failure]]],
    text: Callable[[Sequence[str]], Awaitable[list[Probabilities | Failure]]],
    voice: Callable[[NDArray[np.float32]], Awaitable[list[Probabilities | Failure]]],
    settings: Settings,
) -> Stages:
    """The three stages over three calls to models; settings say what goes into one call of each."""
    return Stages(
        BatchingStage(speech, merge=join_lists, weigh=_windows, max_weight=settings.speech_batch),
        BatchingStage(text, merge=join_lists, max_weight=settings.text_batch),
        BatchingStage(voice, merge=np.concatenate, max_weight=settings.voice_batch),
    )


def _windows(items: Sequence[SpeechItem]) -> float:
    """About how many Whisper windows recordings take: what their decoding costs."""
    return sum(math.ceil(len(item.pcm16) / _WINDOW_BYTES) for item in items)
