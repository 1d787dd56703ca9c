"""Bootstrap intervals of figures that come from counts: clips are drawn, or speakers with all their clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
N_RESAMPLES = 1000
LEAST_RESAMPLES = 200
"""Of them must have a figure: macro-F1 and UAR need a clip of every label."""
_SEED = 0

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its interval.

    The bounds are None where there is too little to draw from, and where every resample gives the same: clips that are
    all right say that errors are rare, and not how rare.
    """

    value: float
    low: float | None
    high: float | None


def number_groups(groups: Sequence[object]) -> Ints:
    """The number of each clip's group, from 0 on, shape (n_clips,)."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)


def resample(counts: Ints, groups: Ints) -> Ints:
    """Draw groups with replacement, as many as there are, and add their clips' counts up.

    Args:
        counts: of each clip, shape (n_clips, n_counts).
        groups: what each clip is drawn with, shape (n_clips,): a number of its own, or its speaker's.

    Returns:
        Shape (1,000, n_counts).
    """
    of_groups = np.zeros((len(np.unique(groups)), counts.shape[1]), np.int64)
    np.add.at(of_groups, number_groups(groups.tolist()), counts)
    # Groups of equal counts are drawn by their share: of many clips there are few kinds.
    kinds, sizes = np.unique(of_groups, axis=0, return_counts=True)
    draws = np.random.default_rng(_SEED).multinomial(len(of_groups), sizes / len(of_groups), size=N_RESAMPLES)
    return np.asarray(draws @ kinds)


def interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    """The interval that holds the middle 95 % of a figure's resamples, shape (1,000,); NaN where one has no figure."""
    resampled = resampled[np.isfinite(resampled)]
    if len(resampled) < LEAST_RESAMPLES or np.ptp(resampled) == 0:
        return Interval(value, None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], method="inverted_cdf")
    return Interval(value, float(low), float(high))
