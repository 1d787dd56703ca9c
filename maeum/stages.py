"""What travels between the pipeline and the three model stages, and the shape of a stage.

A stage has one batched method. It keeps length and order, and never raises for one item: a bad item gets a
`Failure` in its place, so that one upload cannot spoil the batch it happens to share.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from maeum.errors import StageFailed

Probabilities: TypeAlias = tuple[float, ...]
"""One probability per label, in the model's own label order; each 0..1, sum 1."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in a batch's result where one item failed. `message` is safe to show."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SpeechItem:
    """A recording, or a piece of a long one, for the speech stage.

    Args:
        pcm16: mono little-endian 16-bit PCM at 16 kHz.
        language: code.
        more: whether the recording goes on after this piece; then the transcript says from where to go on.
        past_vad: decode all of it, whether or not it holds speech, as who asks only for an answer wants.
    """

    pcm16: bytes
    language: str
    more: bool = False
    past_vad: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of transcript with its place in the recording, in seconds, and what the decoder knew of it.

    Args:
        avg_logprob: mean log-probability of the tokens that were decoded together with it.
        no_speech_prob: probability that there was nothing to decode.
        compression_ratio: bytes of that text by its compressed bytes; high when it repeats itself.
    """

    start_s: float
    end_s: float
    text: str
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said: `text` is NFC-normalised and stripped; empty when nothing was.

    Args:
        speech_spans: where the voice activity detection found speech, (start, end) in seconds.
        heard_language: what a multilingual model hears, and its probability; None when it is not multilingual.
        resume: sample of the piece at which the next one begins, past its own; None when all of it was heard.

    Raises:
        ValueError: it resumes where it began, and so for ever.
    """

    text: str
    segments: tuple[Segment, ...] = ()
    speech_spans: tuple[tuple[float, float], ...] = ()
    heard_language: tuple[str, float] | None = None
    resume: int | None = None

    def __post_init__(self) -> None:
        if self.resume is not None and self.resume <= 0:
            raise ValueError("a transcript must resume past its beginning")


Items_contra = TypeVar("Items_contra", contravariant=True)
Result = TypeVar("Result")


class Stage(Protocol[Items_contra, Result]):
    """One model, wherever it runs."""

    async def run(self, items: Items_contra) -> list[Result | Failure]:
        """Compute one result per item, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Stages:
    """The three model stages that a pipeline composes.

    Args:
        speech: recordings to transcripts.
        text: sentences to probabilities.
        voice: voice features, float32, shape (n, 100, 13), to probabilities.
    """

    speech: Stage[Sequence[SpeechItem], Transcript]
    text: Stage[Sequence[str], Probabilities]
    voice: Stage[NDArray[np.float32], Probabilities]


_log = logging.getLogger(__name__)


def good(result: Result | Failure) -> Result:
    """A stage's result.

    Raises:
        StageFailed: the stage failed on this item.
    """
    if isinstance(result, Failure):
        raise StageFailed(result.message, code=result.code)
    return result


def run_isolated(
    stage: str, run: Callable[[slice], list[Result | Failure]], n_items: int, *, _offset: int = 0
) -> list[Result | Failure]:
    """Run a batch; when it raises, halve it until the item at fault stands alone, and give that one a `Failure`.

    Args:
        stage: name for the failure's code and the log.
        run: computes the results of a slice of the batch, one per item.
        n_items: number of items in the batch.

    Returns:
        n_items results in order.
    """
    try:
        results = run(slice(_offset, _offset + n_items))
        if len(results) != n_items:
            raise RuntimeError(f"{len(results)} results for {n_items} items")
    except Exception as error:
        if n_items <= 1:
            _log.error("stage=%s code=%s_failed error=%s", stage, stage, type(error).__name__)
            return [Failure(f"{stage}_failed", f"the {stage} model failed on this recording")] * n_items
        half = n_items // 2
        return run_isolated(stage, run, half, _offset=_offset) + run_isolated(
            stage, run, n_items - half, _offset=_offset + half
        )
    return results
