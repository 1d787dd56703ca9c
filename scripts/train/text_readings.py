"""What a large language model reads in comments, and what KOTE's annotators would have said of them.

It was shown comments without their labels, 125 at a time, and asked: of ten ordinary readers, how many would mark each
of the six? Marks are 0 to 9. `text_readings.tsv` holds a line for each comment read: data set, id, six digits.
`text_comments.tsv` holds comments that it wrote, in the manner of one of kote_val's but about something else, with the
marks it gives each: id of that one, six digits, text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from text_data import LABELS, Floats

READINGS = Path(__file__).with_suffix(".tsv")
COMMENTS = READINGS.with_name("text_comments.tsv")
MOST = 9
"""The highest mark."""


@dataclass(frozen=True, slots=True, eq=False)
class WrittenComments:
    """Comments that no data set holds.

    Attributes:
        texts: n of them, NFC.
        marks: float32, shape (n, 6).
        after: the id of the KOTE comment whose manner each has.
    """

    texts: list[str]
    marks: Floats
    after: list[str]

    def take(self, rows: NDArray[np.int64]) -> "WrittenComments":
        """Some of them, in the order of the rows."""
        return WrittenComments([self.texts[row] for row in rows], self.marks[rows], [self.after[row] for row in rows])


def to_marks(digits: Sequence[str]) -> Floats:
    """Six digits for each text as float32, shape (n, 6)."""
    return np.array([[int(digit) for digit in six] for six in digits], np.float32).reshape(-1, len(LABELS))


def read_marks(source: Literal["kote", "goemotions"]) -> dict[str, str]:
    """The six digits of each comment of a data set that was read, by its id."""
    lines = (line.split("\t") for line in READINGS.read_text(encoding="utf-8").splitlines())
    return {name: digits for theirs, name, digits in lines if theirs == source}


def read_comments() -> WrittenComments:
    """All that were written."""
    lines = [line.split("\t") for line in COMMENTS.read_text(encoding="utf-8").splitlines()]
    return WrittenComments(
        [text for _, _, text in lines], to_marks([six for _, six, _ in lines]), [name for name, _, _ in lines]
    )


class Annotators:
    """What KOTE's annotators would say, given the marks: logistic regression on their log-odds.

    Args:
        marks: of comments that point at one of the six, shape (n, 6).
        labels: which, shape (n,).
    """

    def __init__(self, marks: Floats, labels: NDArray[np.int64]) -> None:
        self._learned = LogisticRegression(C=0.3, max_iter=2_000).fit(log_odds(marks), labels)

    def answer(self, marks: Floats) -> Floats:
        """Probabilities of the six, float32, shape (n, 6)."""
        answers: Floats = self._learned.predict_proba(log_odds(marks)).astype(np.float32)
        return answers


def log_odds(marks: Floats) -> Floats:
    """Of the share of readers; none and all of them are half a reader from the ends."""
    odds: Floats = np.log((marks + 0.5) / (MOST + 0.5 - marks))
    return odds
