"""Error rates of transcripts, counted by jiwer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from maeum.evaluation.intervals import Interval, Ints, interval, number_groups, resample


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
_BETWEEN_WORDS = re.compile(r"(?<!\d)\.|\.(?!\d)|[,;:!?…·/、。~∼]")
# Of Unicode's categories beside punctuation: emoji and other signs, modifiers such as ^, and what has no width.
_UNSPOKEN = ("P", "So", "Sk", "Cf", "Me")
_VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f]")


def normalise_text(text: str) -> str:
    """Prepare a text for comparison.

    NFC; letters and digits of full width become ASCII's. Punctuation vanishes, and so do emoji, ^^ and what has no
    width; what divides words or sentences, or is a ~, leaves a space, but a decimal point stays and the comma of 1,000
    leaves nothing. White space is folded, ends are stripped.
    """
    text = unicodedata.normalize("NFC", text).translate(_TO_HALF_WIDTH)
    text = _BETWEEN_WORDS.sub(" ", _BETWEEN_THOUSANDS.sub("", _VARIATION_SELECTORS.sub("", text)))
    kept = (char for char in text if char == "." or not unicodedata.category(char).startswith(_UNSPOKEN))
    return " ".join("".join(kept).split())


def character_error_rate(reference: str, hypothesis: str) -> float | None:
    """CER of one clip, with spaces; None when the reference holds nothing but punctuation."""
    reference, hypothesis = normalise_text(reference), normalise_text(hypothesis)
    return float(jiwer.cer(reference, hypothesis)) if reference else None


def score_transcripts(
    references: Sequence[str],
    hypotheses: Sequence[str],
    confidences: Sequence[float | None],
    groups: Sequence[object],
) -> TranscriptScores | None:
    """Compare transcripts with what was said.

    Args:
        references: what was said, one per clip. One that holds nothing but punctuation is left out.
        hypotheses: what was heard, in the same order.
        confidences: how sure the model was; None where nothing was heard, which is not sure at all.
        groups: what each clip is drawn with for the intervals: something of its own, or its speaker.

    Returns:
        The scores, or None when no reference is left.
    """
    rows = [
        (confidence or 0.0, reference, normalise_text(hypothesis), group)
        for reference, hypothesis, confidence, group in zip(
            map(normalise_text, references), hypotheses, confidences, groups, strict=True
        )
        if reference
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: -row[0])
    pairs = [(reference, hypothesis) for _, reference, hypothesis, _ in rows]
    drawn_with = number_groups([group for *_, group in rows])
    characters = [jiwer.process_characters(*pair) for pair in pairs]
    joined = [(reference.replace(" ", ""), hypothesis.replace(" ", "")) for reference, hypothesis in pairs]
    return TranscriptScores(
        n_clips=len(pairs),
        n_empty=sum(not hypothesis for _, hypothesis in pairs),
        cer=_rate(characters, drawn_with),
        cer_without_spaces=_rate([jiwer.process_characters(*pair) for pair in joined], drawn_with),
        wer=_rate([jiwer.process_words(*pair) for pair in pairs], drawn_with),
        coverage=[(index + 1) / len(pairs) for index in range(len(pairs))],
        risk=np.divide(*np.cumsum(_edits_and_lengths(characters), axis=0).T).tolist(),
    )


def _rate(outputs: Sequence[jiwer.WordOutput | jiwer.CharacterOutput], groups: Ints) -> Interval:
    counts = _edits_and_lengths(outputs)
    return interval(float(np.divide(*counts.sum(axis=0))), np.divide(*resample(counts, groups).T))


def _edits_and_lengths(outputs: Sequence[jiwer.WordOutput | jiwer.CharacterOutput]) -> Ints:
    """Edits and length of the reference, shape (n_clips, 2)."""
    edits = [output.substitutions + output.deletions + output.insertions for output in outputs]
    lengths = [output.hits + output.substitutions + output.deletions for output in outputs]
    return np.array([edits, lengths]).T
