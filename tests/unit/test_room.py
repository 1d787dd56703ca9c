from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from maeum.room import Room


async def a_few_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=20),
)
def test_no_more_is_taken_than_there_is_and_everybody_gets_a_turn(size: int, askers: list[tuple[int, bool]]) -> None:
    room, taken, most, served = Room(size), 0, 0, []

    async def ask(number: int, amount: int) -> None:
        nonlocal taken, most
        await room.take(amount)
        taken += min(amount, size)
        most = max(most, taken)
        served.append(number)
        try:
            await asyncio.sleep(0)
        finally:
            taken -= min(amount, size)
            room.give(amount)

    async def main() -> None:
        tasks = [asyncio.create_task(ask(number, amount)) for number, (amount, _) in enumerate(askers)]
        await asyncio.sleep(0)
        for task, (_, leaves) in zip(tasks, askers, strict=True):
            if leaves:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await room.take(size)  # all of it is there again

    asyncio.run(asyncio.wait_for(main(), 30))
    assert most <= size
    assert served == sorted(served)
    assert {number for number, (_, leaves) in enumerate(askers) if not leaves} <= set(served)


def test_who_leaves_while_waiting_lets_the_next_one_in() -> None:
    async def main() -> None:
        room = Room(10)
        await room.take(6)
        large, small = asyncio.create_task(room.take(8)), asyncio.create_task(room.take(4))
        await a_few_turns()
        assert not small.done()  # first come, first served
        large.cancel()
        await a_few_turns()
        assert small.done()

    asyncio.run(main())
