"""Figures of the clips that have something in common: a gender, a language, a speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from maeum.calibration import Space
from maeum.evaluation.judged import Judged, score_heard
from maeum.evaluation.manifest import Clip

MAX_SLICES = 40


@dataclass(frozen=True, slots=True)
class Slice:
    """Clips that have something in common, and how the service does on them.

    Attributes:
        column: of the manifest.
        value: that all of them have there.
        n_clips: how many have a prediction.
        cer: over those with a reference, or None.
        accuracy: of the fused vector by space, over those with a label of it; a space without such clips is left out.
        n_labelled: how many clips those are.
    """

    column: str
    value: str
    n_clips: int
    cer: float | None
    accuracy: dict[Space, float]
    n_labelled: dict[Space, int]


def slices(judged: Sequence[Judged], spaces: Mapping[Space, tuple[str, ...]]) -> Iterator[Slice]:
    """The slices of every column that has several values, the `MAX_SLICES` with most clips of each.

    Args:
        judged: clips that have a prediction.
        spaces: labels of each space.
    """
    columns: dict[str, Callable[[Clip], str | None]] = {
        "gender": lambda clip: clip.gender,
        "lang": lambda clip: clip.language,
        "speaker": lambda clip: clip.speaker,
    }
    for column, value_of in columns.items():
        counts = Counter(value_of(one.clip) or "" for one in judged)
        if len(counts) == 1:
            continue
        for value in sorted(value for value, _ in counts.most_common(MAX_SLICES)):
            some = [one for one in judged if (value_of(one.clip) or "") == value]
            heard = [one for one in some if one.has_reference]
            said = score_heard(heard, range(len(heard)))
            right = {
                space: [one.is_right(labels, one.answer(space)) for one in some] for space, labels in spaces.items()
            }
            counted = {space: [each for each in found if each is not None] for space, found in right.items()}
            yield Slice(
                column,
                value,
                len(some),
                None if said is None else said.cer.value,
                {space: sum(found) / len(found) for space, found in counted.items() if found},
                {space: len(found) for space, found in counted.items() if found},
            )
