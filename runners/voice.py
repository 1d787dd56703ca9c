"""Voice emotion runner."""

from __future__ import annotations

from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType, Shape

from maeum.assembly import load_voice
from maeum.audio.features import N_FRAMES
from maeum.audio.mfcc import N_MFCC
from maeum.stages import Failure, Probabilities
from runners.base import DEADLINE_MS, SERVICE_OPTIONS, SETTINGS, BatchWorker, at_least_two
from runners.lifecycle import load_or_stop


@bentoml.service(name="maeum-voice", **SERVICE_OPTIONS)
class VoiceRunner:
    """Classifies voice features of several requests together."""

    def __init__(self) -> None:
        import torch  # which takes a second, and the other processes, who know this class, need none of it

        torch.set_num_threads(1)  # for so small a network more would wait for each other, and for the other runners'
        engine = load_or_stop(load_voice)
        self._worker = BatchWorker("voice", engine.classify, engine.warm_up)

    @bentoml.api(batchable=True, max_batch_size=at_least_two(SETTINGS.voice_batch), max_latency_ms=DEADLINE_MS)
    def run(
        self, items: Annotated[np.ndarray, DType("float32"), Shape((-1, N_FRAMES, N_MFCC))]
    ) -> list[Probabilities | Failure]:
        """Classify baseline-normalised MFCCs, shape (n, 100, 13); same length and order."""
        return self._worker.run(items)
