"""Calls that wait while a model works travel together in the next one."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.errors import StageOverloaded
from maeum.settings import Settings
from maeum.stages import Failure, Probabilities, SpeechItem, Stages, Transcript

_WINDOW_BYTES = 30 * SAMPLE_RATE_HZ * 2

Items = TypeVar("Items", bound=Any)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class _Call(Generic[Items, Result]):
    """One caller's items, their weight, and where the results go."""

    items: Items
    weight: float
    answer: asyncio.Future[list[Result | Failure]]


class BatchingStage(Generic[Items, Result]):
    """A stage that has as many calls under way as its model works on, and merges those that arrive meanwhile.

    Recordings that were transcribed together ask for the next stages in the same turn of the event loop, so they go on
    together without waiting for each other; and one call to another process instead of many saves most of its cost.

    Args:
        call: computes a batch, one result per item in order. What it raises, every caller in the batch gets.
        merge: joins the items of several calls.
        weigh: size of a call's items, in the unit of `max_weight`.
        max_weight: calls are merged up to this; a heavier one goes alone, and one of more items in parts, with others'
            calls in between.
        max_in_flight: merged calls under way at a time.
        max_wait_s: a call that has waited longer for its turn is refused; None: it waits.
    """

    def __init__(
        self,
        call: Callable[[Items], Awaitable[list[Result | Failure]]],
        *,
        merge: Callable[[list[Items]], Items],
        weigh: Callable[[Items], float] = len,
        max_weight: float,
        max_in_flight: int = 1,
        max_wait_s: float | None = None,
    ) -> None:
        self._call, self._merge, self._weigh = call, merge, weigh
        self._max_weight, self._max_in_flight, self._max_wait_s = max_weight, max_in_flight, max_wait_s
        # A set in the order of arrival: those in the middle leave it, too, at no cost.
        self._waiting: OrderedDict[_Call[Items, Result], None] = OrderedDict()
        self._senders: set[asyncio.Task[None]] = set()

    async def run(self, items: Items) -> list[Result | Failure]:
        """Compute one result per item, in order.

        Raises:
            StageOverloaded: the model had no time for it within `max_wait_s`.
        """
        most = max(1, int(self._max_weight))
        if len(items) <= most:
            return await self._run(items)
        parts = [items[start : start + most] for start in range(0, len(items), most)]
        return [result for part in parts for result in await self._run(part)]

    async def _run(self, items: Items) -> list[Result | Failure]:
        loop = asyncio.get_running_loop()
        call: _Call[Items, Result] = _Call(items, self._weigh(items), loop.create_future())
        self._waiting[call] = None
        if len(self._senders) < self._max_in_flight:
            self._senders.add(loop.create_task(self._send()))
        timer = None if self._max_wait_s is None else loop.call_later(self._max_wait_s, self._refuse, call)
        try:
            return await call.answer
        finally:
            self._waiting.pop(call, None)  # whoever has gone or was refused leaves no sound behind
            if timer is not None:
                timer.cancel()

    def _refuse(self, call: _Call[Items, Result]) -> None:
        if call in self._waiting and not call.answer.done():
            call.answer.set_exception(StageOverloaded("the models have too much work; try again later"))

    async def _send(self) -> None:
        try:
            await asyncio.sleep(0)  # the calls of this turn of the loop go together
            while calls := self._take():
                await self._answer(calls)
        finally:
            self._senders.difference_update({asyncio.current_task()})
            if not self._senders:
                for call in self._waiting:  # only when the loop ends with calls waiting
                    call.answer.cancel()
                self._waiting.clear()

    def _take(self) -> list[_Call[Items, Result]]:
        calls: list[_Call[Items, Result]] = []
        weight = 0.0
        while self._waiting:
            call = next(iter(self._waiting))
            if call.answer.done():  # its caller has gone, or was refused, in this turn of the loop
                del self._waiting[call]
            elif calls and weight + call.weight > self._max_weight:
                break
            else:
                weight += call.weight
                calls.append(call)
                del self._waiting[call]
        return calls

    async def _answer(self, calls: list[_Call[Items, Result]]) -> None:
        try:
            batch = self._merge([call.items for call in calls])
            results = await self._call(batch)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except Exception as error:
            for call in calls:
                if not call.answer.done():
                    call.answer.set_exception(error)
            return
        except asyncio.CancelledError:
            for call in calls:
                call.answer.cancel()
            raise
        start = 0
        for call in calls:
            if not call.answer.done():
                call.answer.set_result(results[start : start + len(call.items)])
            start += len(call.items)


def join_lists(lists: list[Any]) -> list[Any]:
    """Merge for items that come in lists."""
    return list(chain.from_iterable(lists))


def batching_stages(
    speech: Callable[[Sequence[SpeechItem]], Awaitable[list[Transcript | Failure]]],
    text: Callable[[Sequence[str]], Awaitable[list[Probabilities | Failure]]],
    voice: Callable[[NDArray[np.float32]], Awaitable[list[Probabilities | Failure]]],
    settings: Settings,
    speech_calls: int = 1,
) -> Stages:
    """The three stages over three calls to models; settings say what goes into one call of each.

    Args:
        speech: transcribes a batch.
        text: classifies one of sentences.
        voice: classifies one of windows.
        settings: largest batches, and how long a call may wait.
        speech_calls: that the speech model works on at a time.
    """
    wait_s = settings.max_latency_ms / 1000 or None
    return Stages(
        BatchingStage(
            speech,
            merge=join_lists,
            weigh=_windows,
            max_weight=settings.speech_batch,
            max_in_flight=speech_calls,
            max_wait_s=wait_s,
        ),
        BatchingStage(text, merge=join_lists, max_weight=settings.text_batch, max_wait_s=wait_s),
        BatchingStage(voice, merge=np.concatenate, max_weight=settings.voice_batch, max_wait_s=wait_s),
    )


def _windows(items: Sequence[SpeechItem]) -> float:
    """About how many Whisper windows recordings take: what their decoding costs."""
    return sum(math.ceil(len(item.pcm16) / _WINDOW_BYTES) for item in items)
