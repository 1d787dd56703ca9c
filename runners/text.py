"""Text emotion runner."""

from __future__ import annotations

import bentoml

from maeum.assembly import load_text
from maeum.stages import Failure, Probabilities
from runners.base import DEADLINE_MS, SERVICE_OPTIONS, SETTINGS, BatchWorker, at_least_two
from runners.lifecycle import load_or_stop


@bentoml.service(name="maeum-text", **SERVICE_OPTIONS)
class TextRunner:
    """Classifies sentences of several requests together."""

    def __init__(self) -> None:
        engine = load_or_stop(load_text)
        self._worker = BatchWorker("text", engine.classify, engine.warm_up)

    @bentoml.api(batchable=True, max_batch_size=at_least_two(SETTINGS.text_batch), max_latency_ms=DEADLINE_MS)
    def run(self, items: list[str]) -> list[Probabilities | Failure]:
        """Classify sentences; same length and order."""
        return self._worker.run(items)
