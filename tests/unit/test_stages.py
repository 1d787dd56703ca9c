from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maeum.stages import Failure, run_isolated


class Engine:
    """Doubles numbers; raises where its batch holds a bad one, as a real model fails as a whole."""

    def __init__(self, items: Sequence[int], bad: frozenset[int] = frozenset()) -> None:
        self.items, self.bad, self.calls = items, bad, 0

    def run(self, part: slice) -> list[int | Failure]:
        self.calls += 1
        batch = self.items[part]
        if self.bad & set(batch):
            raise ValueError(f"cannot read /home/user/secret {batch}")
        return [2 * item for item in batch]


def failed(result: int | Failure) -> bool:
    return isinstance(result, Failure)


def test_a_good_batch_is_one_call() -> None:
    engine = Engine(range(64))
    assert run_isolated("text", engine.run, 64) == [2 * item for item in range(64)]
    assert engine.calls == 1


@pytest.mark.parametrize("n_items", [1, 2, 3, 7, 16])
def test_one_bad_item_in_any_place_fails_alone(n_items: int) -> None:
    for bad in range(n_items):
        results = run_isolated("text", Engine(range(n_items), frozenset({bad})).run, n_items)
        assert [failed(result) for result in results] == [item == bad for item in range(n_items)]
        assert [result for result in results if not failed(result)] == [2 * i for i in range(n_items) if i != bad]


@given(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.frozensets(st.integers(0, max(0, n - 1))))))
def test_length_and_order_are_kept_whatever_is_bad(case: tuple[int, frozenset[int]]) -> None:
    n_items, bad = case
    results = run_isolated("speech", Engine(range(n_items), bad).run, n_items)
    failure = Failure("speech_failed", "the speech model failed on this recording")
    assert results == [failure if item in bad else 2 * item for item in range(n_items)]


def test_one_bad_item_costs_few_extra_calls() -> None:
    engine = Engine(range(256), frozenset({77}))
    run_isolated("text", engine.run, 256)
    assert engine.calls == 1 + 2 * 8  # two halves on each of log2(256) levels


@given(st.integers(1, 40), st.integers(-5, 5).filter(bool))
def test_a_result_of_the_wrong_length_is_an_error_not_a_shift(n_items: int, excess: int) -> None:
    def run(part: slice) -> list[int | Failure]:
        batch: list[int | Failure] = [*range(n_items)[part]]
        return (batch + [0] * 5)[: max(0, len(batch) + excess)] if len(batch) > 1 or excess < 0 else batch

    results = run_isolated("voice", run, n_items)
    assert len(results) == n_items
    assert all(failed(result) or result == item for item, result in enumerate(results))


def test_a_failure_that_the_engine_returns_is_kept() -> None:
    own = Failure("unsupported_language", "no")
    assert run_isolated("speech", lambda part: [1, own, 3], 3) == [1, own, 3]


def test_arrays_are_cut_along_their_first_axis() -> None:
    items = np.arange(12).reshape(4, 3)
    bad = 2

    def run(part: slice) -> list[int | Failure]:
        if (items[part][:, 0] == items[bad, 0]).any():
            raise RuntimeError
        return [int(row.sum()) for row in items[part]]

    results = run_isolated("voice", run, 4)
    assert [result for result in results if not failed(result)] == [3, 12, 30]
    assert failed(results[bad])


def test_nothing_is_nothing() -> None:
    assert run_isolated("text", Engine([]).run, 0) == []


def test_memory_running_out_for_a_batch_is_retried_in_halves() -> None:
    def run(part: slice) -> list[int | Failure]:
        if part.stop - part.start > 4:
            raise MemoryError
        return [*range(16)[part]]

    assert run_isolated("speech", run, 16) == list(range(16))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_request_to_stop_is_not_swallowed(error: type[BaseException]) -> None:
    def run(part: slice) -> list[int | Failure]:
        raise error

    with pytest.raises(error):
        run_isolated("text", run, 4)


def test_neither_the_failure_nor_the_log_tells_what_was_in_the_item(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        results = run_isolated("text", Engine(range(4), frozenset({1})).run, 4)
    assert "secret" not in caplog.text + str(results)
    assert "stage=text code=text_failed error=ValueError" in caplog.text
