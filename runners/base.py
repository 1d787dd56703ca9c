"""What the three runners share: their BentoML configuration, and how they run and count batches."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from bentoml._internal.configuration.containers import BentoMLContainer

from maeum.process.logs import log_to_stderr
from maeum.stages import Failure, run_isolated
from runners.lifecycle import Watchdog, forget_dead_processes, outlive_the_service, settings_to_start_with

Result = TypeVar("Result")

log_to_stderr()

_log = logging.getLogger("maeum.runners")
_SUSPICIOUS_BATCHES = 3  # one after the other, in which every item failed
_LONGEST_BATCH_S = 120  # at least, whatever requests may take: on a slow machine a batch of long clips does
SETTINGS = settings_to_start_with()
METRICS_DIR = Path(BentoMLContainer.prometheus_multiproc_dir.get())
TIMEOUT_S = math.ceil(SETTINGS.request_timeout_s)
# Out of reach: BentoML may split a call into several batches and would refuse the later parts. Who waits too long for a
# turn is refused by `maeum.batching`.
DEADLINE_MS = TIMEOUT_S * 1000

SERVICE_OPTIONS: dict[str, Any] = {
    "workers": 1,
    # Of the calls to runners: later than the request's own deadline, whose answer is documented.
    "traffic": {"timeout": TIMEOUT_S + 5},
    # The default of 100 requests per connection closes it with calls in flight: 9-40 % of them fail under load.
    "runner_connection": {"max_requests": 10**9, "max_age": 1e9},
    "logging": {"access": {"enabled": False}},
}


def at_least_two(batch: int) -> int:
    """What BentoML takes for `max_batch_size`; what is in a call is decided before it, by `maeum.batching`."""
    return max(2, batch)


class BatchWorker(Generic[Result]):
    """Runs batches of one model, keeps bad items apart, and counts. A batch that hangs ends the process.

    Args:
        stage: name of the runner in `/metrics` and in failures.
        engine: computes a batch.
        warm_up: asks the model for something easy, and raises when it cannot.
    """

    def __init__(
        self, stage: str, engine: Callable[[Any], list[Result | Failure]], warm_up: Callable[[], None]
    ) -> None:
        outlive_the_service()
        forget_dead_processes(METRICS_DIR)
        self._watchdog = Watchdog(max(2 * TIMEOUT_S, _LONGEST_BATCH_S))  # readiness and liveness have said so by then
        # Imported here: BentoML sets prometheus' multiprocess folder after this module is imported.
        from prometheus_client import Counter, Histogram

        self._stage, self._engine, self._warm_up = stage, engine, warm_up
        self._n_failed_in_a_row = 0
        self._batch_size = Histogram(
            "maeum_batch_size",
            "Items per batch",
            ["runner"],
            buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256),
        ).labels(stage)
        self._batch_seconds = Histogram(
            "maeum_batch_seconds",
            "Seconds per batch",
            ["runner"],
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        ).labels(stage)
        self._failures = Counter("maeum_item_failures", "Items that failed alone", ["runner"]).labels(stage)

    def run(self, items: Any) -> list[Result | Failure]:
        """Compute one result per item of `items` (a list, or an array along axis 0), in order; never raises."""
        start = time.perf_counter()
        with self._watchdog.watching():
            results = run_isolated(self._stage, lambda part: self._engine(items[part]), len(items))
        self._batch_size.observe(len(items))
        self._batch_seconds.observe(time.perf_counter() - start)
        n_failed = sum(isinstance(result, Failure) for result in results)
        self._failures.inc(n_failed)
        self._n_failed_in_a_row = self._n_failed_in_a_row + 1 if n_failed == len(items) else 0
        if self._n_failed_in_a_row >= _SUSPICIOUS_BATCHES:
            self._end_if_lost()
        return results

    def _end_if_lost(self) -> None:
        """End the process, which the server starts again, if the model fails on what is easy too.

        A GPU does not recover from some errors: all that comes after one fails, in no time, and the process seems well.
        """
        try:
            with self._watchdog.watching():
                self._warm_up()
        except Exception as error:
            _log.critical("event=model_lost runner=%s error=%s", self._stage, type(error).__name__)
            os._exit(1)
        self._n_failed_in_a_row = 0
