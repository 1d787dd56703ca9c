"""A teacher without a network: kernel ridge regression on n-grams and on E5's states.

It reads what the student reads, and answers about each of those texts as if it had not read that one.
"""

import math
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from text_data import Floats
from text_measure import softmax

SHARPNESS = 3.0
"""Of the Gaussians: how fast likeness falls with the distance of two states."""
STATE_SHARE = 0.5
"""Of each layer's Gaussian; the n-grams count once."""
LEAST = 2e-3
"""Answers are cut there before their logarithm is taken."""
ROWS_AT_ONCE = 1_500


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Texts as the teacher sees them.

    Attributes:
        n_grams: sparse, shape (n, n_features): n-grams of characters and of letters.
        states: float32, shape (n, layers, width): E5's mean states, scaled and of unit length.
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
        alike = np.empty((len(self), len(others)), np.float32)
        for first in range(0, len(self), ROWS_AT_ONCE):
            some = self.take(np.arange(first, min(first + ROWS_AT_ONCE, len(self))))
            part: Floats = np.asarray((some.n_grams @ others.n_grams.T).toarray(), np.float32)
            for layer in range(self.states.shape[1]):
                part += STATE_SHARE * np.exp(SHARPNESS * (some.states[:, layer] @ others.states[:, layer].T - 1))
            alike[first : first + len(some)] = part
        return alike


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
    mean, deviation = states[0].mean(axis=0), states[0].std(axis=0)
    scaled = [(part - mean) / deviation for part in states]
    units: list[Floats] = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in scaled]
    return (
        Described(csr_array(known, dtype=np.float32), units[0]),
        Described(csr_array(unknown, dtype=np.float32), units[1]),
    )


def to_letters(text: str) -> str:
    """Syllables taken apart: 슬 becomes ㅅ, ㅡ, ㄹ."""
    return unicodedata.normalize("NFD", text.lower())


def teach(known: Described, targets: Floats, noise: Floats, mean: Floats, unknown: Described) -> tuple[Floats, Floats]:
    """Kernel ridge regression's answer about every text; about a known one, learned from the other known ones only.

    A known text's answer needs no second fit: with A the likeness plus the noise and w the weights, the answer without
    text i is its target less w_i / (A^-1)_ii (Rasmussen & Williams 2006, Gaussian Processes, equation 5.12).

    Args:
        known: n texts.
        targets: their targets, shape (n, k).
        noise: how little each is to be believed, shape (n,).
        mean: the answer to a text that is like no other, shape (k,).
        unknown: m other texts.

    Returns:
        Answers about the known and the unknown texts, float32, shape (n, k) and (m, k).
    """
    likeness = known.likeness(known)
    likeness[np.diag_indices(len(known))] += noise
    # The transpose of a symmetric matrix is itself, in the order of memory that LAPACK works in without a copy.
    factor, failed = lapack.spotrf(likeness.T, lower=1, overwrite_a=1, clean=0)
    if failed:
        raise ValueError("the likeness of the texts is not positive definite")
    weights: Floats = lapack.spotrs(factor, targets - mean, lower=1)[0]
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    without: Floats = targets - weights / inverse.diagonal()[:, None]
    del likeness, factor, inverse
    parts = np.array_split(np.arange(len(unknown)), math.ceil(len(unknown) / ROWS_AT_ONCE) or 1)
    elsewhere: Floats = np.concatenate([unknown.take(part).likeness(known) @ weights + mean for part in parts])
    return without, elsewhere


def sharpened(answers: tuple[Floats, Floats], rows: NDArray[np.int64], labels: NDArray[np.int64]) -> list[Floats]:
    """Answers as probabilities, at the temperature at which those of known texts tell some labels best.

    Args:
        answers: from `teach`, about known and unknown texts.
        rows: known texts that have a label.
        labels: which.
    """
    logits = [np.log(part.clip(LEAST, 1.0)) for part in answers]

    def loss(temperature: float) -> float:
        told = softmax(logits[0][rows] / temperature)[np.arange(len(rows)), labels]
        return float(-np.log(told).mean())

    temperature = minimize_scalar(loss, bounds=(0.3, 2.0), method="bounded").x
    return [softmax(part / temperature).astype(np.float32) for part in logits]
