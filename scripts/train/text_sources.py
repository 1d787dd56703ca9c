"""All that the text model is trained on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from text_data import LABELS, read_goemotions, read_kote
from text_diary import diary_sentences
from text_readings import Annotators, read_comments, read_marks, to_marks
from text_written import written_sentences

TEMPLATED_PER_LABEL = 250


class Sources:
    """All that is trained on.

    Attributes:
        kote: kote_val.
        kote_marks: what a large language model read there, float32, shape (n, 6).
        goemotions: all of GoEmotions-Korean.
        translated: those of it that the language model read.
        translated_marks: what it read there.
        comments: those that it wrote.
        templated: diary sentences from templates, and the index of each one's label.
        written: sentences written for one label each, and its index.
        clear: both.
    """

    def __init__(self, data: Path, seed: int) -> None:
        self.kote, self.goemotions = read_kote(data / "text" / "kote_val.tsv"), read_goemotions(data / "text")
        marks = read_marks("kote")
        self.kote_marks = to_marks([marks[name] for name in self.kote.ids])
        marks = read_marks("goemotions")
        self.translated = self.goemotions.take(np.flatnonzero([name in marks for name in self.goemotions.ids]))
        self.translated_marks = to_marks([marks[name] for name in self.translated.ids])
        self.comments = read_comments()
        self.templated = diary_sentences(LABELS, TEMPLATED_PER_LABEL, seed)
        written = written_sentences("train")
        self.written = [sentence.text for sentence in written], [LABELS.index(sentence.label) for sentence in written]
        self.clear = [*self.templated[0], *self.written[0]], [*self.templated[1], *self.written[1]]

    def annotators(self, rows: NDArray[np.int64]) -> Annotators:
        """What KOTE's would say, given marks; learned from those of the given rows that have one label."""
        kote, marks = self.kote.take(rows), self.kote_marks[rows]
        return Annotators(marks[kote.single], kote.six[kote.single].argmax(axis=1))

    def in_the_manner_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The written comments that are in the manner of one of KOTE's given rows."""
        return np.flatnonzero(np.isin(self.comments.after, self.kote.take(rows).ids))
