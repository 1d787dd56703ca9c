"""Where pauses come from: the garbage collector, BentoML's dispatcher, and what is left of them for one client."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Sequence

from bentoml._internal.marshal.dispatcher import CorkDispatcher

from benchmarks.load import closed_loop
from benchmarks.measure import Figure, alternate, ratio, seconds
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite
from maeum.assembly import load_text

CLIPS = 200
CALLS = 14
CALL_S = 0.1


def run(run: Run) -> list[Figure]:
    """Time full collections over a text runner's objects, a new dispatcher's first calls, and one client's requests."""
    engine = load_text(run.settings())
    calls_s = asyncio.run(_first_calls())
    with maeum_server(run) as server:
        closed_loop(server.analyze_url, run.clips.take(4), 1)
        load = closed_loop(server.analyze_url, run.clips.take(run.scaled(CLIPS)), 1)
    after, before = alternate([_collect_frozen, _collect_all], run.rounds, report=run.say)
    del engine
    return [
        ratio("a full garbage collection", after, before, "ms", better="lower"),
        Figure("a new dispatcher's slowest call", max(calls_s) / CALL_S, "x"),
        Figure("which of its calls that is", 1 + calls_s.index(max(calls_s)), ""),
        Figure("one client, slowest request over p50", load.ms(100) / load.ms(50), "x"),
        Figure("one client, p50", load.ms(50), "ms"),
        Figure("one client, p99", load.ms(99), "ms"),
    ]


def _collect_all(number: int) -> float:
    return seconds(gc.collect) * 1000


def _collect_frozen(number: int) -> float:
    gc.freeze()
    duration_ms = seconds(gc.collect) * 1000
    gc.unfreeze()
    return duration_ms


async def _first_calls() -> list[float]:
    """Seconds of each of the first calls, one after the other, to a model that takes 0.1 s whatever the batch."""

    async def model(batch: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(CALL_S)
        return batch

    dispatcher: CorkDispatcher[int, int] = CorkDispatcher(60_000, 16, fallback=lambda: 0, get_batch_size=lambda _: 1)
    ask = dispatcher(model)
    calls_s = []
    for number in range(CALLS):
        start = time.perf_counter()
        await ask(number)
        calls_s.append(time.perf_counter() - start)
    dispatcher.shutdown()
    assert statistics.median(calls_s) < 2 * CALL_S
    return calls_s


SUITE = Suite("pauses", "objects frozen, as in every runner", "the collector's own choice", run, rounds=5)
