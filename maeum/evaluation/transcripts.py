"""Error rates of transcripts, counted by jiwer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

CONFIDENCE = 0.95
N_RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its bootstrap interval over clips; the bounds are None where there are too few clips."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class TranscriptScores:
    """Error rates over all clips together: edits divided by the length of the references.

    Attributes:
        n_clips: clips with a reference.
        n_empty: those of them where nothing was heard.
        cer: by characters, spaces among them.
        cer_without_spaces: by characters, for Korean, whose spacing is a matter of taste.
        wer: by words.
        coverage: share of clips, surest first.
        risk: CER over those.
    """

    n_clips: int
    n_empty: int
    cer: Interval
    cer_without_spaces: Interval
    wer: Interval
    coverage: list[float]
    risk: list[float]


# U+FF01 to U+FF5E are ASCII's letters, digits and signs at the width of a Hangul syllable.
_TO_HALF_WIDTH = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_BETWEEN_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN_WORDS = re.compile(r"(?<!\d)\.|\.(?!\d)|[,;:!?…·/、。]")


def normalise_text(text: str) -> str:
    """Prepare a text for comparison.

    NFC; letters and digits of full width become ASCII's. Punctuation vanishes; what divides words or sentences leaves a
    space, but a decimal point stays and the comma of 1,000 leaves nothing. White space is folded, ends are stripped.
    """
    text = unicodedata.normalize("NFC", text).translate(_TO_HALF_WIDTH)
    text = _BETWEEN_WORDS.sub(" ", _BETWEEN_THOUSANDS.sub("", text))
    kept = (char for char in text if char == "." or not unicodedata.category(char).startswith("P"))
    return " ".join("".join(kept).split())


def character_error_rate(reference: str, hypothesis: str) -> float | None:
    """CER of one clip, with spaces; None when the reference holds nothing but punctuation."""
    reference, hypothesis = normalise_text(reference), normalise_text(hypothesis)
    return float(jiwer.cer(reference, hypothesis)) if reference else None


def score_transcripts(
    references: Sequence[str], hypotheses: Sequence[str], confidences: Sequence[float | None]
) -> TranscriptScores | None:
    """Compare transcripts with what was said.

    Args:
        references: what was said, one per clip. One that holds nothing but punctuation is left out.
        hypotheses: what was heard, in the same order.
        confidences: how sure the model was; None where nothing was heard, which is not sure at all.

    Returns:
        The scores, or None when no reference is left.
    """
    rows = [
        (confidence or 0.0, reference, normalise_text(hypothesis))
        for reference, hypothesis, confidence in zip(
            map(normalise_text, references), hypotheses, confidences, strict=True
        )
        if reference
    ]
    if not rows:
        return None
    pairs = [(reference, hypothesis) for _, reference, hypothesis in sorted(rows, key=lambda row: -row[0])]
    characters = [jiwer.process_characters(*pair) for pair in pairs]
    joined = [(reference.replace(" ", ""), hypothesis.replace(" ", "")) for reference, hypothesis in pairs]
    return TranscriptScores(
        n_clips=len(pairs),
        n_empty=sum(not hypothesis for _, hypothesis in pairs),
        cer=_rate(characters),
        cer_without_spaces=_rate([jiwer.process_characters(*pair) for pair in joined]),
        wer=_rate([jiwer.process_words(*pair) for pair in pairs]),
        coverage=[(index + 1) / len(pairs) for index in range(len(pairs))],
        risk=np.divide(*(np.cumsum(counts) for counts in _edits_and_lengths(characters))).tolist(),
    )


def _rate(outputs: Sequence[jiwer.WordOutput | jiwer.CharacterOutput]) -> Interval:
    edits, lengths = _edits_and_lengths(outputs)
    value = float(edits.sum() / lengths.sum())
    if len(outputs) < 2:
        return Interval(value, None, None)
    found = bootstrap(
        (edits, lengths),
        lambda edits, lengths, axis: edits.sum(axis=axis) / lengths.sum(axis=axis),
        paired=True,
        confidence_level=CONFIDENCE,
        n_resamples=N_RESAMPLES,
        batch=100,
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))


def _edits_and_lengths(
    outputs: Sequence[jiwer.WordOutput | jiwer.CharacterOutput],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    edits = np.array([output.substitutions + output.deletions + output.insertions for output in outputs])
    lengths = np.array([output.hits + output.substitutions + output.deletions for output in outputs])
    return edits, lengths
