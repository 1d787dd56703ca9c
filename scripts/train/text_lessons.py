"""What is to be learned from each text: labels, what readers would have marked, or both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from text_data import LABELS, Floats
from text_readings import Annotators
from text_sources import Sources

READ = 0.8
"""The share of what the language model reads in the six targets of a KOTE comment that has labels."""
TRANSLATED = 0.3
"""Weight of a translated comment in the loss over the six."""
TEMPLATED = 0.5
"""Weight of a templated diary sentence there: there are few templates."""
TWICE, SOMETIMES = 2.0, 0.5
"""How often an epoch reads a KOTE comment, and a translated or a written sentence; all else it reads once."""
SMOOTHED = 0.06
"""Of a written sentence's label, spread over all six: nobody is that sure of what another person feels."""

Tutored = tuple[Floats, Floats]
"""Probabilities of the six: of the translated comments that the language model read, and of those that it wrote."""


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


def make_lessons(sources: Sources, rows: NDArray[np.int64], tutored: Tutored | None = None) -> Lessons:
    """Put the sources together, as if only some rows of kote_val existed.

    Args:
        sources: all.
        rows: of kote_val, that may be learned from; of the written comments, those in their manner.
        tutored: what a tutor, who has not read more of kote_val, thinks of the translated and the written comments.

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

    marks, single = sources.kote_marks[rows], kote.single
    annotators = Annotators(marks[single], kote.six[single].argmax(axis=1))
    theirs = np.flatnonzero(np.isin(sources.comments.after, kote.ids))
    comments = sources.comments.take(theirs)
    foreign, own = annotators.answer(sources.translated_marks), annotators.answer(comments.marks)
    if tutored is not None:
        foreign, own = halfway(foreign, tutored[0]), halfway(own, tutored[1][theirs])
    (templates, their_labels), (written, labels) = sources.templated, sources.written
    six = np.eye(len(LABELS), dtype=np.float32)
    return (
        lessons(
            kote.texts,
            mix(kote.six, annotators.answer(marks)),
            1.0,
            kote_labels=kote.targets,
            often=TWICE,
        )
        + lessons(
            translated.texts,
            foreign,
            TRANSLATED,
            goemotions_labels=translated.targets,
            often=SOMETIMES,
        )
        + lessons(comments.texts, own, 1.0)
        + lessons(templates, six[their_labels], TEMPLATED)
        + lessons(written, six[labels] * (1 - SMOOTHED) + SMOOTHED / len(LABELS), 1.0, often=SOMETIMES)
    )


def mix(six: Floats, answers: Floats) -> Floats:
    """Labels with a share of answers, and these alone where there is no label; shape (n, 6)."""
    mixed: Floats = np.where(six.sum(axis=1, keepdims=True) > 0, (1 - READ) * six + READ * answers, answers)
    return mixed


def halfway(one: Floats, other: Floats) -> Floats:
    """The mean of two opinions, float32, shape (n, 6)."""
    between: Floats = np.mean([one, other], axis=0, dtype=np.float32)
    return between
