"""What is to be learned from each text: labels, what readers would have marked, or both, and what all of E5 says."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from text_data import LABELS, Floats
from text_sources import Sources

LABELLED, UNLABELLED = (0.15, 0.35, 0.5), (0.0, 0.4, 0.6)
"""Shares of the label, of what the language model reads and of the kernel teacher's answer in the six targets of a KOTE
comment that has a label or has none."""
TRANSLATED = 0.3
"""Weight of a translated comment in the loss over the six."""
TEMPLATED = 0.5
"""Weight of a templated diary sentence there: there are few templates."""
OFTEN = {"kote": 1.5, "translated": 0.25, "templated": 0.5}
"""How many times an epoch reads a text of each kind, on average; a written sentence once."""
COMMENTS = 20_000
"""Written comments that an epoch reads, on average."""
SMOOTHED = 0.1
"""Of a written sentence's label, spread over all six: nobody is that sure of what another person feels."""


class Opinions(NamedTuple):
    """What the kernel teacher thinks, as probabilities of the six, float32, shape (n, 6) each.

    Attributes:
        kote: of KOTE's rows that may be learned from, each as if it had not been read.
        translated: of the translated comments that the language model read.
        comments: of those that it wrote in the manner of those rows.
    """

    kote: Floats
    translated: Floats
    comments: Floats


class States(NamedTuple):
    """What all of E5 says, float32, shape (n, layers, width) each.

    Attributes:
        kote: of all of kote_val.
        comments: of all that the language model wrote.
        translated: of the translated comments that it read.
        written: of the sentences written for one label each.
    """

    kote: Floats
    comments: Floats
    translated: Floats
    written: Floats

    def scaled(self) -> "States":
        """As deviations from the mean in standard deviations, shape (n, layers * width) each."""
        everything = np.concatenate(self)
        mean, deviation = everything.mean(axis=0), everything.std(axis=0)
        return States(*(((part - mean) / deviation).reshape(len(part), -1) for part in self))


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Texts with what is to be learned from each; unknown targets have no weight.

    Attributes:
        texts: n of them.
        six: float32, shape (n, 6).
        kote: float32, shape (n, 44).
        goemotions: float32, shape (n, 28).
        states: float16, shape (n, k): what all of E5 says.
        weights: float32, shape (n, 4), of the four targets.
        often: float32, shape (n,): how many times an epoch reads the text, on average.
    """

    texts: list[str]
    six: Floats
    kote: Floats
    goemotions: Floats
    states: NDArray[np.float16]
    weights: Floats
    often: Floats

    def __add__(self, other: "Lessons") -> "Lessons":
        names = ("six", "kote", "goemotions", "states", "weights", "often")
        return Lessons(
            [*self.texts, *other.texts], *(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names)
        )


def make_lessons(sources: Sources, rows: NDArray[np.int64], teacher: Opinions, states: States) -> Lessons:
    """Put the sources together, as if only some rows of kote_val existed.

    Args:
        sources: all.
        rows: of kote_val, that may be learned from; of the written comments, those in their manner.
        teacher: what one who has not read more of kote_val thinks.
        states: what E5 says, scaled.

    Returns:
        KOTE's rows, all other comments, and the sentences of one clear emotion.
    """
    kote, translated = sources.kote.take(rows), sources.translated
    n_kote, n_goemotions, n_said = kote.targets.shape[1], translated.targets.shape[1], states.kote.shape[1]

    def lessons(
        texts: list[str],
        six: Floats,
        weight: float,
        said: Floats | None = None,
        kote_labels: Floats | None = None,
        goemotions_labels: Floats | None = None,
        often: float = 1.0,
    ) -> Lessons:
        n = len(texts)
        known = [np.full(n, one is not None) for one in (kote_labels, goemotions_labels, said)]
        return Lessons(
            texts,
            six.astype(np.float32),
            np.zeros((n, n_kote), np.float32) if kote_labels is None else kote_labels,
            np.zeros((n, n_goemotions), np.float32) if goemotions_labels is None else goemotions_labels,
            np.zeros((n, n_said), np.float16) if said is None else said.astype(np.float16),
            np.stack([np.full(n, weight), *known], axis=1).astype(np.float32),
            np.full(n, often, np.float32),
        )

    annotators, marks = sources.annotators(rows), sources.kote_marks[rows]
    theirs = sources.in_the_manner_of(rows)
    comments = sources.comments.take(theirs)
    (templates, their_labels), (written, labels) = sources.templated, sources.written
    six = np.eye(len(LABELS), dtype=np.float32)
    return (
        lessons(
            kote.texts,
            mix(kote.six, annotators.answer(marks), teacher.kote),
            1.0,
            states.kote[rows],
            kote_labels=kote.targets,
            often=OFTEN["kote"],
        )
        + lessons(
            translated.texts,
            np.float32(0.5) * (annotators.answer(sources.translated_marks) + teacher.translated),
            TRANSLATED,
            states.translated,
            goemotions_labels=translated.targets,
            often=OFTEN["translated"],
        )
        + lessons(
            comments.texts,
            np.float32(0.5) * (annotators.answer(comments.marks) + teacher.comments),
            1.0,
            states.comments[theirs],
            often=COMMENTS / len(theirs),
        )
        + lessons(templates, six[their_labels], TEMPLATED, often=OFTEN["templated"])
        + lessons(written, six[labels] * (1 - SMOOTHED) + SMOOTHED / len(LABELS), 1.0, states.written)
    )


def mix(six: Floats, read: Floats, taught: Floats) -> Floats:
    """The targets of KOTE's comments, float32, shape (n, 6).

    Args:
        six: their labels; rows without one are 0.
        read: what the language model reads in them.
        taught: what the teacher thinks that had not read their labels.
    """
    labelled, unlabelled = (
        np.tensordot(np.array(shares, np.float32), np.stack([six, read, taught]), axes=1)
        for shares in (LABELLED, UNLABELLED)
    )
    targets: Floats = np.where(six.sum(axis=1, keepdims=True) > 0, labelled, unlabelled)
    return targets
