"""The first teacher: kernel ridge regression on n-grams and on E5's states, and what it makes of the six labels."""

import math
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from text_data import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Texts as the teacher sees them.

    Attributes:
        n_grams: sparse, shape (n, n_features): n-grams of characters and of letters.
        states: float32, shape (n, 3, width): E5's mean state in three layers, scaled and of unit length.
    """

    n_grams: csr_array
    states: Floats

    def __len__(self) -> int:
        return len(self.states)

    def take(self, rows: NDArray[np.int64]) -> "Described":
        """The given texts only, in the given order."""
        return Described(self.n_grams[rows], self.states[rows])

    def likeness(self, others: "Described") -> Floats:
        """How alike every two texts are, float32, shape (n, m): n-grams shared, and Gaussians of the states."""
        likeness: Floats = np.asarray((self.n_grams @ others.n_grams.T).toarray(), np.float32)
        for layer in range(self.states.shape[1]):
            likeness += 0.5 * np.exp(self.states[:, layer] @ others.states[:, layer].T - 1)
        return likeness


def describe(texts: list[str], others: list[str], states: tuple[Floats, Floats]) -> tuple[Described, Described]:
    """Describe texts by the n-grams they hold; letters (jamo) beside syllables, so that 슬퍼 and 슬픈 share something.

    Args:
        texts: what the n-grams are collected from.
        others: texts to describe with the same n-grams.
        states: E5's, of the texts and of the others.

    Returns:
        The texts and the others.
    """
    options: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
    vectorizers = (
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, **options),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 8), min_df=3, preprocessor=to_letters, **options),
    )
    known = hstack([v.fit_transform(texts) for v in vectorizers]) / math.sqrt(2)
    unknown = hstack([v.transform(others) for v in vectorizers]) / math.sqrt(2)
    scaled = [(part - states[0].mean(axis=0)) / states[0].std(axis=0) for part in states]
    units: list[Floats] = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in scaled]
    return (
        Described(csr_array(known, dtype=np.float32), units[0]),
        Described(csr_array(unknown, dtype=np.float32), units[1]),
    )


def to_letters(text: str) -> str:
    """Syllables taken apart: 슬 becomes ㅅ, ㅡ, ㄹ."""
    return unicodedata.normalize("NFD", text.lower())


def teach(known: Described, targets: Floats, unknown: Described, seed: int) -> tuple[Floats, Floats]:
    """Kernel ridge regression's opinion on every text; on a known one, learned from the other known ones only.

    Args:
        known: n texts.
        targets: their targets, shape (n, m).
        unknown: other texts.
        seed: of the split.

    Returns:
        Opinions on the known texts, shape (n, m), and on the unknown ones, all between 0 and 1.
    """
    likeness = known.likeness(known)
    opinions = np.zeros_like(targets)

    def solve(rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        mean: Floats = targets[rows].mean(axis=0)
        ridge = likeness[np.ix_(rows, rows)] + np.eye(len(rows), dtype=np.float32)
        weights: Floats = np.linalg.solve(ridge, targets[rows] - mean)
        return weights, mean

    for rows, asked in KFold(5, shuffle=True, random_state=seed).split(targets):
        weights, mean = solve(rows)
        opinions[asked] = likeness[np.ix_(asked, rows)] @ weights + mean
    weights, mean = solve(np.arange(len(targets)))
    parts = np.array_split(np.arange(len(unknown)), max(1, len(unknown) // 2_000))
    elsewhere: Floats = np.concatenate([unknown.take(part).likeness(known) @ weights + mean for part in parts])
    return opinions.clip(0.0, 1.0), elsewhere.clip(0.0, 1.0)


def answer(opinions: tuple[Floats, Floats], six: Floats, seed: int) -> tuple[Floats, Floats]:
    """The teacher's probabilities of the six: logistic regression on the log-odds of its opinions about 44 labels.

    Args:
        opinions: from `teach`.
        six: groups of the known texts; those of one group are learned from, each asked about by the others only.
        seed: of the split.

    Returns:
        Probabilities for the known texts, shape (n, 6), and for the unknown ones.
    """
    known, unknown = (np.log(o / (1 - o)) for o in (part.clip(1e-3, 1 - 1e-3) for part in opinions))
    single = np.flatnonzero(six.max(axis=1) == 1.0)
    labels = six.argmax(axis=1)

    def learn(rows: NDArray[np.int64]) -> LogisticRegression:
        return LogisticRegression(C=0.3, max_iter=2_000).fit(known[rows], labels[rows])

    learned = learn(single)
    answers: Floats = learned.predict_proba(known).astype(np.float32)
    for rows, asked in KFold(5, shuffle=True, random_state=seed).split(single):
        answers[single[asked]] = learn(single[rows]).predict_proba(known[single[asked]])
    elsewhere: Floats = learned.predict_proba(unknown).astype(np.float32)
    return answers, elsewhere
