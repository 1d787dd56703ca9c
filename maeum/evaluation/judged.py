"""A clip beside what the models said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maeum.calibration import Emotions, Space
from maeum.evaluation.journal import Prediction
from maeum.evaluation.manifest import Clip
from maeum.evaluation.transcripts import TranscriptScores, character_error_rate, score_transcripts
from maeum.fusion import Vector


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A clip that has a prediction, and what the pipeline answers for it."""

    clip: Clip
    prediction: Prediction
    emotions: Emotions

    @property
    def has_reference(self) -> bool:
        """Whether it is known what somebody said."""
        return self.clip.text is not None and self.clip.file is not None

    @property
    def cer(self) -> float | None:
        """Character error rate, or None without a reference or audio."""
        if self.clip.text is None or self.clip.file is None:
            return None
        return character_error_rate(self.clip.text, self.prediction.transcript)

    def answer(self, space: Space) -> Vector | None:
        """The fused vector over the labels of a space; None for words without a voice, which the service never gets."""
        if self.emotions.voice is None:
            return None
        return self.emotions.korean if space == "korean" else self.emotions.english

    def words(self) -> Vector | None:
        """What words without a voice mean, the mean over their sentences, shape (n_text_labels,); None with a voice."""
        if self.emotions.voice is not None or not self.prediction.sentences:
            return None
        mean: Vector = np.mean(self.prediction.sentences, axis=0)
        return mean

    def is_right(self, labels: Sequence[str], vector: Vector | None) -> bool | None:
        """Whether a vector's top is the truth; None without a vector, or when the truth is none of its labels."""
        if vector is None or self.clip.emotion not in labels:
            return None
        return labels[int(vector.argmax())] == self.clip.emotion


@dataclass(frozen=True, slots=True)
class FailedClip:
    """A clip that could not be analysed, and why."""

    clip: Clip
    code: str
    message: str


def score_heard(heard: Sequence[Judged], groups: Sequence[object]) -> TranscriptScores | None:
    """Score the transcripts of clips that have a reference; `groups` as of `score_transcripts`."""
    return score_transcripts(
        [str(one.clip.text) for one in heard],
        [one.prediction.transcript for one in heard],
        [one.prediction.confidence for one in heard],
        groups,
    )
