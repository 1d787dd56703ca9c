"""What is to be learned from each text: labels, what readers would have marked, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from text_data import LABELS, Floats
from text_sources import Sources

LABELLED, UNLABELLED = (0.15, 0.35, 0.5), (0.0, 0.4, 0.6)
"""Shares of the label, of what the language model reads and of the kernel teacher's answer in the six targets of a KOTE
comment that has a label or has none; without that teacher, of the other two in proportion."""
TRANSLATED = 0.3
"""Weight of a translated comment in the loss over the six."""
TEMPLATED = 0.5
"""Weight of a templated diary sentence there: there are few templates."""
TWICE, OFTEN, SOMETIMES = 2.0, 0.7, 0.5
"""How often an epoch reads a KOTE comment, a written one and a translated one; all else it reads once."""
SMOOTHED = 0.06
"""Of a written sentence's label, spread over all six: nobody is that sure of what another person feels."""


class Opinions(NamedTuple):
    """What a teacher thinks, as probabilities of the six, float32, shape (n, 6) each.

    Attributes:
        kote: of KOTE's rows that may be learned from, each as if it had not been read; None if that is not known.
        translated: of the translated comments that the language model read.
        comments: of those that it wrote in the manner of those rows.
    """

    kote: Floats | None
    translated: Floats
    comments: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Texts with what is to be learned from each; unknown targets have no weight.

    Attributes:
        texts: n of them.
        six: float32, shape (n, 6).
        kote: float32, shape (n, 44).
        goemotions: float32, shape (n, 28).
        weights: float32, shape (n, 3), of the three targets.
        often: float32, shape (n,): how many times an epoch reads the text, on average.
    """

    texts: list[str]
    six: Floats
    kote: Floats
    goemotions: Floats
    weights: Floats
    often: Floats

    def __add__(self, other: "Lessons") -> "Lessons":
        names = ("six", "kote", "goemotions", "weights", "often")
        return Lessons(
            [*self.texts, *other.texts], *(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names)
        )


def make_lessons(sources: Sources, rows: NDArray[np.int64], teachers: Sequence[Opinions] = ()) -> Lessons:
    """Put the sources together, as if only some rows of kote_val existed.

    Args:
        sources: all.
        rows: of kote_val, that may be learned from; of the written comments, those in their manner.
        teachers: what some, who have not read more of kote_val, think.

    Returns:
        KOTE's rows, all other comments, and the sentences of one clear emotion.
    """
    kote, translated = sources.kote.take(rows), sources.translated
    n_kote, n_goemotions = kote.targets.shape[1], translated.targets.shape[1]

    def lessons(
        texts: list[str],
        six: Floats,
        weight: float,
        kote_labels: Floats | None = None,
        goemotions_labels: Floats | None = None,
        often: float = 1.0,
    ) -> Lessons:
        n = len(texts)
        weights = (np.full(n, weight), np.full(n, kote_labels is not None), np.full(n, goemotions_labels is not None))
        return Lessons(
            texts,
            six.astype(np.float32),
            np.zeros((n, n_kote), np.float32) if kote_labels is None else kote_labels,
            np.zeros((n, n_goemotions), np.float32) if goemotions_labels is None else goemotions_labels,
            np.stack(weights, axis=1).astype(np.float32),
            np.full(n, often, np.float32),
        )

    annotators, marks = sources.annotators(rows), sources.kote_marks[rows]
    comments = sources.comments.take(sources.in_the_manner_of(rows))
    fair = [teacher.kote for teacher in teachers if teacher.kote is not None]
    (templates, their_labels), (written, labels) = sources.templated, sources.written
    six = np.eye(len(LABELS), dtype=np.float32)
    return (
        lessons(
            kote.texts,
            mix(kote.six, annotators.answer(marks), fair),
            1.0,
            kote_labels=kote.targets,
            often=TWICE,
        )
        + lessons(
            translated.texts,
            mean([annotators.answer(sources.translated_marks), *(teacher.translated for teacher in teachers)]),
            TRANSLATED,
            goemotions_labels=translated.targets,
            often=SOMETIMES,
        )
        + lessons(
            comments.texts,
            mean([annotators.answer(comments.marks), *(teacher.comments for teacher in teachers)]),
            1.0,
            often=OFTEN,
        )
        + lessons(templates, six[their_labels], TEMPLATED)
        + lessons(written, six[labels] * (1 - SMOOTHED) + SMOOTHED / len(LABELS), 1.0)
    )


def mix(six: Floats, read: Floats, fair: Sequence[Floats]) -> Floats:
    """The targets of KOTE's comments, float32, shape (n, 6).

    Args:
        six: their labels; rows without one are 0.
        read: what the language model reads in them.
        fair: what teachers think that had not read their labels.
    """
    parts = [six, read, mean(fair)] if fair else [six, read]

    def together(shares: tuple[float, ...]) -> Floats:
        some = np.array(shares[: len(parts)], np.float32)
        mixed: Floats = np.tensordot(some / some.sum(), np.stack(parts), axes=1)
        return mixed

    targets: Floats = np.where(six.sum(axis=1, keepdims=True) > 0, together(LABELLED), together(UNLABELLED))
    return targets


def mean(opinions: Sequence[Floats]) -> Floats:
    """Of several teachers, float32, shape (n, 6)."""
    between: Floats = np.mean(opinions, axis=0, dtype=np.float32)
    return between
