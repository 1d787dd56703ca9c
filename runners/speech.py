"""Speech-to-text runner."""

from __future__ import annotations

import bentoml

from maeum.assembly import load_speech
from maeum.batching import MAX_SPEECH_WINDOWS
from maeum.stages import Failure, SpeechItem, Transcript
from runners.base import SERVICE_OPTIONS, TIMEOUT_S, BatchWorker, load_or_stop


@bentoml.service(name="maeum-speech", **SERVICE_OPTIONS)
class SpeechRunner:
    """Transcribes recordings of several requests together."""

    def __init__(self) -> None:
        self._worker = BatchWorker("speech", load_or_stop(load_speech).transcribe)

    @bentoml.api(batchable=True, max_batch_size=MAX_SPEECH_WINDOWS, max_latency_ms=TIMEOUT_S * 1000)
    def run(self, items: list[SpeechItem]) -> list[Transcript | Failure]:
        """Transcribe 16 kHz mono PCM16 recordings; same length and order."""
        return self._worker.run(items)
