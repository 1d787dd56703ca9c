"""Merging of calls: order, isolation, cancellation, limits."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maeum.batching import BatchingStage, join_lists
from maeum.errors import StageOverloaded
from maeum.settings import PROJECT_DIR
from maeum.stages import Failure


def test_only_we_refuse_who_waits_too_long() -> None:
    """BentoML's dispatcher would refuse parts of a call that it split itself, while nobody else is served."""
    command = [sys.executable, "-c", "from runners.base import MAX_LATENCY_MS; print(MAX_LATENCY_MS)"]
    environment = {**os.environ, "MAEUM_MAX_LATENCY_MS": "500", "MAEUM_REQUEST_TIMEOUT_S": "90"}
    assert subprocess.check_output(command, cwd=PROJECT_DIR, env=environment, text=True).split()[-1] == "90000"


class Model:
    """Doubles numbers, one batch at a time, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.under_way = 0

    async def __call__(self, batch: list[int]) -> list[int | Failure]:
        assert self.under_way == 0
        self.under_way += 1
        await asyncio.sleep(0.001)
        self.under_way -= 1
        self.batches.append(batch)
        if 13 in batch:
            raise ValueError("13")
        return [2 * number for number in batch]


def stage_of(model: Model, max_weight: float = 8) -> BatchingStage[list[int], int]:
    return BatchingStage(model, merge=join_lists, max_weight=max_weight)


@given(st.lists(st.lists(st.integers(14, 99), min_size=1, max_size=5), max_size=12), st.integers(1, 9))
def test_every_call_gets_its_own_results_in_order(calls: list[list[int]], max_weight: int) -> None:
    model = Model()

    async def main() -> list[list[int | Failure]]:
        stage = stage_of(model, max_weight)
        return await asyncio.gather(*(stage.run(call) for call in calls))

    assert asyncio.run(main()) == [[2 * number for number in call] for call in calls]
    assert [number for batch in model.batches for number in batch] == [number for call in calls for number in call]
    longest = max(map(len, calls), default=0)
    assert all(len(batch) <= max(max_weight, longest) for batch in model.batches)


def test_calls_of_one_turn_and_those_that_wait_go_together() -> None:
    model = Model()

    async def main() -> None:
        stage = stage_of(model)
        first = [asyncio.create_task(stage.run([n])) for n in (1, 2, 3)]
        await asyncio.sleep(0.0005)
        later = [asyncio.create_task(stage.run([n])) for n in (4, 5)]
        await asyncio.gather(*first, *later)

    asyncio.run(main())
    assert model.batches == [[1, 2, 3], [4, 5]]


def test_a_failed_call_fails_those_in_it_and_no_later_ones() -> None:
    model = Model()

    async def main() -> tuple[list[int | Failure], list[int | Failure]]:
        stage = stage_of(model)
        with pytest.raises(ValueError, match="13"):
            await asyncio.gather(stage.run([13]), stage.run([1]))
        later, last = await asyncio.gather(stage.run([2]), stage.run([3]))
        return later, last

    assert asyncio.run(main()) == ([4], [6])


def test_a_cancelled_caller_leaves_the_others_alone() -> None:
    model = Model()

    async def main() -> list[int | Failure]:
        stage = stage_of(model)
        busy = asyncio.create_task(stage.run([1]))
        await asyncio.sleep(0.0005)
        gone, kept = asyncio.create_task(stage.run([2])), asyncio.create_task(stage.run([3]))
        await asyncio.sleep(0)
        gone.cancel()
        await busy
        return await kept

    assert asyncio.run(main()) == [6]
    assert model.batches == [[1], [3]]


def test_a_wrong_number_of_results_is_an_error() -> None:
    async def short(batch: list[int]) -> list[int | Failure]:
        return list(batch[1:])

    async def main() -> None:
        await BatchingStage[list[int], int](short, merge=join_lists, max_weight=8).run([1, 2])

    with pytest.raises(RuntimeError, match="1 results for 2 items"):
        asyncio.run(main())


def test_one_stage_serves_one_event_loop_after_another() -> None:
    stage = stage_of(Model())

    assert asyncio.run(stage.run([1])) == [2]
    assert asyncio.run(stage.run([2])) == [4]


def test_a_call_that_waits_too_long_is_refused_and_later_ones_are_not() -> None:
    model = Model()

    async def main() -> list[list[int | Failure] | BaseException]:
        stage = BatchingStage[list[int], int](model, merge=join_lists, max_weight=1, max_wait_s=0.0015)
        waiting = [asyncio.create_task(stage.run([number])) for number in range(20, 28)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert await stage.run([1]) == [2]
        return results

    results = asyncio.run(main())
    refused = [isinstance(result, StageOverloaded) for result in results]
    assert results[0] == [40]
    assert refused[-1]
    assert refused == sorted(refused)  # those in front were answered


def test_a_call_is_refused_on_time_also_while_another_is_under_way() -> None:
    async def main() -> None:
        began, done = asyncio.Event(), asyncio.Event()

        async def model(batch: list[int]) -> list[int | Failure]:
            began.set()
            await done.wait()
            return list(batch)

        stage = BatchingStage[list[int], int](model, merge=join_lists, max_weight=8, max_wait_s=0.01)
        under_way = asyncio.create_task(stage.run([1]))
        await began.wait()
        with pytest.raises(StageOverloaded):
            await stage.run([2])
        assert not under_way.done()
        done.set()
        assert await under_way == [1]

    asyncio.run(main())


def test_callers_that_leave_while_their_batch_is_under_way_change_nothing_for_the_others() -> None:
    model = Model()

    async def main() -> tuple[list[int | Failure], list[int | Failure]]:
        stage = stage_of(model)
        gone, kept = asyncio.create_task(stage.run([2, 3])), asyncio.create_task(stage.run([4]))
        await asyncio.sleep(0.0005)
        gone.cancel()
        return await kept, await stage.run([5])

    assert asyncio.run(main()) == ([8], [10])
    assert model.batches == [[2, 3, 4], [5]]


def test_a_loop_that_ends_leaves_nothing_waiting() -> None:
    answered = False

    async def model(batch: list[int]) -> list[int | Failure]:
        if not answered:
            await asyncio.Event().wait()
        return list(batch)

    stage = BatchingStage[list[int], int](model, merge=join_lists, max_weight=1)

    async def main() -> list[asyncio.Task[list[int | Failure]]]:
        calls = [asyncio.create_task(stage.run([number])) for number in (1, 2)]
        await asyncio.sleep(0.001)
        return calls

    calls = asyncio.run(main())  # cancels what is left
    assert all(call.cancelled() for call in calls)
    answered = True
    assert asyncio.run(stage.run([3])) == [3]


def test_an_item_that_cannot_be_weighed_fails_alone() -> None:
    def weigh(items: list[int]) -> float:
        if 0 in items:
            raise ValueError("weightless")
        return 1

    async def main() -> list[list[int | Failure] | BaseException]:
        stage = BatchingStage[list[int], int](Model(), merge=join_lists, weigh=weigh, max_weight=8)
        return list(await asyncio.gather(stage.run([0]), stage.run([1]), return_exceptions=True))

    failed, fine = asyncio.run(main())
    assert isinstance(failed, ValueError)
    assert fine == [2]
