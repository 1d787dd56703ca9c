"""The original in a process of its own, so that what maeum's processes are set to does not make it faster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import seconds
from benchmarks.original import Original
from benchmarks.suite import original_of
from maeum.settings import Settings


class OriginalApart:
    """Asks the original in its process.

    Args:
        pool: one process, in which `original_apart` has made the original.
    """

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def transcribe(
        self, recordings: Sequence[NDArray[np.float32]], lang: str, *, word_times: bool
    ) -> tuple[float, list[str]]:
        """Transcribe recordings, one after the other.

        Args:
            recordings: float32 samples at 16 kHz, shape (n,) each.
            lang: language code.
            word_times: whether they are computed, as the original does.

        Returns:
            The seconds that it took there, and the texts.
        """
        return self._pool.submit(_transcribe, recordings, lang, word_times).result()


@contextmanager
def original_apart(settings: Settings, device: str) -> Iterator[OriginalApart]:
    """The sequential original over the models that settings name, until the block ends."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit the settings
    with ProcessPoolExecutor(1, context, _start, (settings, device)) as pool:
        yield OriginalApart(pool)


_original: Original


def _start(settings: Settings, device: str) -> None:
    global _original  # of this process alone
    _original = original_of(settings, device)


def _transcribe(recordings: Sequence[NDArray[np.float32]], lang: str, word_times: bool) -> tuple[float, list[str]]:
    texts: list[str] = []
    duration_s = seconds(lambda: texts.extend(_original.transcribe(one, lang, word_times) for one in recordings))
    return duration_s, texts
