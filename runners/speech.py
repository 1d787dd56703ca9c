"""Speech-to-text runner."""

from __future__ import annotations

import bentoml

from maeum.assembly import load_speech, speech_calls
from maeum.process.cores import one_blas_thread
from maeum.process.memory import keep_freed_memory
from maeum.stages import Failure, SpeechItem, Transcript
from runners.base import DEADLINE_MS, SERVICE_OPTIONS, SETTINGS, BatchWorker, at_least_two
from runners.lifecycle import load_or_stop

_CALLS = speech_calls(SETTINGS, SETTINGS.device)


@bentoml.service(name="maeum-speech", threads=_CALLS, **SERVICE_OPTIONS)
class SpeechRunner:
    """Transcribes recordings of several requests together."""

    def __init__(self) -> None:
        keep_freed_memory()
        one_blas_thread()
        engine = load_or_stop(load_speech)
        self._worker = BatchWorker("speech", engine.transcribe, engine.warm_up)

    @bentoml.api(batchable=True, max_batch_size=at_least_two(SETTINGS.speech_batch), max_latency_ms=DEADLINE_MS)
    def run(self, items: list[SpeechItem]) -> list[Transcript | Failure]:
        """Transcribe 16 kHz mono PCM16 recordings; same length and order."""
        return self._worker.run(items)
