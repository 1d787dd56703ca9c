"""Merging of calls: order, isolation, cancellation, limits."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import bentoml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

import runners  # noqa: F401 - sets BentoML's dispatcher up
from maeum.batching import BatchingStage, join_lists
from maeum.errors import StageOverloaded
from maeum.settings import PROJECT_DIR
from maeum.stages import Failure


def test_only_we_refuse_who_waits_too_long() -> None:
    """BentoML's dispatcher would refuse parts of a call that it split itself, while nobody else is served."""
    command = [sys.executable, "-c", "from runners.base import DEADLINE_MS; print(DEADLINE_MS)"]
    environment = {**os.environ, "MAEUM_MAX_LATENCY_MS": "500", "MAEUM_REQUEST_TIMEOUT_S": "90"}
    assert subprocess.check_output(command, cwd=PROJECT_DIR, env=environment, text=True).split()[-1] == "90000"


class Model:
    """Doubles numbers, a few batches at a time, and remembers the batches in the order in which they came."""

    def __init__(self, at_a_time: int = 1) -> None:
        self.batches: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.at_a_time = at_a_time

    async def __call__(self, batch: list[int]) -> list[int | Failure]:
        assert self.under_way < self.at_a_time
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.batches.append(batch)
        await asyncio.sleep(0.001 * (1 + batch[0] % 3 / 10))
        self.under_way -= 1
        if 13 in batch:
            raise ValueError("13")
        return [2 * number for number in batch]


async def a_few_turns() -> None:
    """Let the loop do what there is to do, while models sleep."""
    for _ in range(5):
        await asyncio.sleep(0)


def stage_of(model: Model, max_weight: float = 8) -> BatchingStage[list[int], int]:
    return BatchingStage(model, merge=join_lists, max_weight=max_weight, max_in_flight=model.at_a_time)


@given(
    st.lists(st.lists(st.integers(14, 99), min_size=1, max_size=5), max_size=12), st.integers(1, 9), st.integers(1, 4)
)
def test_every_call_gets_its_own_results_in_order(calls: list[list[int]], max_weight: int, at_a_time: int) -> None:
    model = Model(at_a_time)

    async def main() -> list[list[int | Failure]]:
        stage = stage_of(model, max_weight)
        return await asyncio.gather(*(stage.run(call) for call in calls))

    assert asyncio.run(main()) == [[2 * number for number in call] for call in calls]
    asked = [number for call in calls for number in call]
    assert sorted(number for batch in model.batches for number in batch) == sorted(asked)
    assert all(len(batch) <= max_weight for batch in model.batches)


def test_a_large_call_goes_in_parts_and_others_in_between() -> None:
    model = Model()

    async def main() -> None:
        stage = stage_of(model, 4)
        large, small = await asyncio.gather(stage.run([14] * 8), stage.run([15]))
        assert large == [28] * 8
        assert small == [30]

    asyncio.run(main())
    assert model.batches == [[14] * 4, [15], [14] * 4]


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


def test_a_model_with_two_workers_gets_a_second_call_at_once_and_the_third_waits() -> None:
    model = Model(at_a_time=2)

    async def main() -> list[list[int | Failure]]:
        stage = stage_of(model)
        calls = []
        for number in (1, 2, 3, 4):
            calls.append(asyncio.create_task(stage.run([number])))
            await a_few_turns()
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [[2], [4], [6], [8]]
    assert model.batches == [[1], [2], [3, 4]]
    assert model.most_under_way == 2


def test_when_the_loop_ends_those_that_wait_are_cancelled() -> None:
    model = Model(at_a_time=2)
    stage = stage_of(model)
    waiting: list[asyncio.Task[list[int | Failure]]] = []

    async def main() -> None:
        for number in (1, 2, 3):
            waiting.append(asyncio.create_task(stage.run([number])))
            await a_few_turns()

    asyncio.run(main())
    assert all(task.cancelled() for task in waiting)
    model.under_way = 0
    assert asyncio.run(stage.run([4])) == [8]


@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince211")  # BentoML's
def test_bentomls_dispatcher_has_a_batch_under_way_on_every_thread() -> None:
    both, one_began = threading.Barrier(2), threading.Event()

    class Pair:
        @bentoml.api(batchable=True)  # type: ignore[untyped-decorator]
        def run(self, items: list[int]) -> list[int]:
            one_began.set()
            both.wait(timeout=30)  # breaks unless the other batch is here too
            return items

    service = bentoml.service(Pair, name="pair", threads=2)
    with TestClient(service.to_asgi()) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/run", json={"items": [1]})
        assert one_began.wait(30)
        second = pool.submit(client.post, "/run", json={"items": [2]})
        assert (first.result().json(), second.result().json()) == ([1], [2])


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


@pytest.mark.parametrize("refused", [True, False])
def test_what_nobody_waits_for_any_more_is_not_held(refused: bool) -> None:
    class Sound(list[int]):
        """A list that can be referred to weakly."""

    async def main() -> None:
        done = asyncio.Event()

        async def model(batch: list[int]) -> list[int | Failure]:
            await done.wait()
            return list(batch)

        max_wait_s = 0.01 if refused else None
        stage = BatchingStage[list[int], int](model, merge=join_lists, max_weight=1, max_wait_s=max_wait_s)
        under_way = asyncio.create_task(stage.run([1]))
        await a_few_turns()
        in_front = asyncio.create_task(stage.run([2]))
        sound = Sound([3])
        held = weakref.ref(sound)
        gone = asyncio.create_task(stage.run(sound))
        await a_few_turns()
        if not refused:
            gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled() or isinstance(gone.exception(), StageOverloaded)
        del sound, gone
        gc.collect()
        assert held() is None
        done.set()
        await asyncio.wait([under_way, in_front])

    asyncio.run(main())


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
