"""What the three runners share: their BentoML configuration and how they count batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from maeum.logs import log_to_stderr
from maeum.settings import get_settings
from maeum.stages import Failure, run_isolated

Result = TypeVar("Result")

log_to_stderr()

TIMEOUT_S = int(get_settings().request_timeout_s)

SERVICE_OPTIONS: dict[str, Any] = {
    "workers": 1,
    "traffic": {"timeout": TIMEOUT_S},
    # The default of 100 requests per connection closes it with calls in flight: 9-40 % of them fail under load.
    "runner_connection": {"max_requests": 10**9, "max_age": 1e9},
    "logging": {"access": {"enabled": False}},
}


class BatchWorker(Generic[Result]):
    """Runs batches of one model, keeps bad items apart, and counts.

    Args:
        stage: name of the runner in `/metrics` and in failures.
        engine: computes a batch.
    """

    def __init__(self, stage: str, engine: Callable[[Any], list[Result | Failure]]) -> None:
        # Imported here: BentoML sets prometheus' multiprocess folder after this module is imported.
        from prometheus_client import Counter, Histogram

        self._stage, self._engine = stage, engine
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
        results = run_isolated(self._stage, lambda part: self._engine(items[part]), len(items))
        self._batch_size.observe(len(items))
        self._batch_seconds.observe(time.perf_counter() - start)
        self._failures.inc(sum(isinstance(result, Failure) for result in results))
        return results
