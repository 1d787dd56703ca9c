"""Measuring in turn, and what a measurement amounts to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

T = TypeVar("T")

SETTLE_S = 0.3
"""A pause before short measurements: threads that have just worked spin for 0.2 s before they sleep."""


def alternate(
    contestants: Sequence[Callable[[int], T]], rounds: int, *, warm_up: int = 1, report: Callable[[str], None] = print
) -> list[list[T]]:
    """Call every contestant once a round, in order: A B A B and so on.

    Absolute times drift on shared machines; neighbours in time have the machine in the same state.

    Args:
        contestants: each is called with the number of the round, so that it can choose that round's inputs. Warm-up
            rounds have negative numbers.
        rounds: rounds that count, at least 1.
        warm_up: rounds before them whose results are dropped.
        report: is told after each round how it went.

    Returns:
        For each contestant, what it returned in each round.
    """
    results: list[list[T]] = [[] for _ in contestants]
    for number in range(-warm_up, rounds):
        start = time.perf_counter()
        for mine, contestant in zip(results, contestants, strict=True):
            result = contestant(number)
            if number >= 0:
                mine.append(result)
        name = "warm-up" if number < 0 else f"round {number + 1}/{rounds}"
        report(f"  {name}: {time.perf_counter() - start:.1f} s")
    return results


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def percentile(values: Sequence[float], percent: float) -> float:
    """Percentile by linear interpolation between the two nearest values, as numpy's default.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    at = (len(ordered) - 1) * percent / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a suite's table.

    Attributes:
        case: what was measured.
        value: what is judged: the median of the rounds' ratios or differences, or a single figure.
        unit: of `value`; `x` is a ratio.
        low: least value of a round.
        high: greatest value of a round.
        a: median of A in `ab_unit`, None where there is no pair.
        b: median of B in `ab_unit`.
        ab_unit: unit of `a` and `b`.
        target: bound for `value`, None where the figure only explains others.
        better: which side of the target is the good one.
        limit: whether it says what another figure's target is up against, and so belongs beside it.
    """

    case: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    a: float | None = None
    b: float | None = None
    ab_unit: str = ""
    target: float | None = None
    better: Literal["higher", "lower"] = "higher"
    limit: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the value is on the good side of the target; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        """For a results file: four significant digits, empty fields left out."""
        fields = {k: _short(v) for k, v in asdict(self).items() if v is not None and v != "" and v is not False}
        return fields if self.target is None else {**fields, "met": self.met}


def ratio(
    case: str,
    a: Sequence[float],
    b: Sequence[float],
    ab_unit: str,
    *,
    target: float | None = None,
    better: Literal["higher", "lower"] = "higher",
    inverse: bool = False,
    limit: bool = False,
) -> Figure:
    """Median over the rounds of A over B, with the least and the greatest round.

    Args:
        case: what was measured.
        a: A's result in each round.
        b: B's, in the same order.
        ab_unit: unit of both.
        target: bound for the ratio.
        better: which side of it is the good one.
        inverse: B over A instead, which is how much faster A is where both are times.
        limit: as in `Figure`.
    """
    ratios = [y / x if inverse else x / y for x, y in zip(a, b, strict=True)]
    return replace(_paired(case, ratios, "x", a, b, ab_unit, target, better), limit=limit)


def difference(
    case: str,
    a: Sequence[float],
    b: Sequence[float],
    unit: str,
    *,
    target: float | None = None,
    better: Literal["higher", "lower"] = "lower",
) -> Figure:
    """Median over the rounds of A less B, with the least and the greatest round; arguments as `ratio`'s."""
    return _paired(case, [x - y for x, y in zip(a, b, strict=True)], unit, a, b, unit, target, better)


def _paired(
    case: str,
    values: list[float],
    unit: str,
    a: Sequence[float],
    b: Sequence[float],
    ab_unit: str,
    target: float | None,
    better: Literal["higher", "lower"],
) -> Figure:
    return Figure(
        case,
        statistics.median(values),
        unit,
        min(values),
        max(values),
        statistics.median(a),
        statistics.median(b),
        ab_unit,
        target,
        better,
    )


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
