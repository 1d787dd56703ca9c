"""Scores of a classifier's probabilities, by scikit-learn.

A clip without a vector is an abstention: its row of probabilities is NaN, and no figure counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from maeum.evaluation.intervals import Interval, Ints, interval, number_groups, resample
from maeum.fusion import Vector

N_BINS = 10


@dataclass(frozen=True, slots=True)
class LabelScores:
    """One label's figures.

    Attributes:
        precision: None when the label was never given.
        recall: None when it is no clip's truth.
        f1: None when neither.
        n_clips: whose truth it is.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    n_clips: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Clips whose confidence is in one bin of the reliability diagram."""

    confidence: float
    accuracy: float
    n_clips: int


@dataclass(frozen=True, slots=True)
class Scores:
    """How well probabilities meet the truth.

    Attributes:
        n_clips: clips with a truth and a vector.
        n_abstained: clips with a truth alone, which are left out.
        accuracy: share of clips whose most probable label is right.
        macro_f1: mean F1 over the labels that are the truth of some clip.
        uar: mean recall over the same labels, also called balanced accuracy.
        per_label: of every label of the space.
        confusion: counts, a row per true label and a column per given one.
        log_loss: mean negative logarithm of the truth's probability, in nats.
        ece: expected calibration error over ten equal bins of the top probability.
        reliability: the bins that hold a clip.
        coverage: share of clips, most confident first.
        risk: share of errors among those.
        aurc: mean risk over all coverages.
    """

    n_clips: int
    n_abstained: int
    accuracy: Interval
    macro_f1: Interval
    uar: Interval
    per_label: dict[str, LabelScores]
    confusion: list[list[int]]
    log_loss: float
    ece: float
    reliability: list[Bin]
    coverage: list[float]
    risk: list[float]
    aurc: float


def score(
    labels: Sequence[str], truth: Sequence[str], probabilities: Vector, groups: Sequence[object]
) -> Scores | None:
    """Score probabilities.

    Args:
        labels: of the space, in the order of the columns.
        truth: a label per clip.
        probabilities: shape (n_clips, n_labels); rows of NaN where there is no vector.
        groups: what each clip is drawn with for the intervals: something of its own, or its speaker.

    Returns:
        The scores, or None when no clip is left.
    """
    answered = np.asarray(np.isfinite(probabilities).all(axis=1))
    if not answered.any():
        return None
    true = np.array([labels.index(label) for label in truth], dtype=np.int64)[answered]
    probabilities = probabilities[answered]
    given = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        true, given, labels=range(len(labels)), zero_division=np.nan
    )
    confusion = confusion_matrix(true, given, labels=range(len(labels)))
    drawn = resample(_cells(true, given, len(labels)), number_groups(groups)[answered])
    drawn_figures = figures_of_counts(drawn.reshape(-1, len(labels), len(labels)), support > 0)
    accuracy, macro_f1, uar = map(interval, summary_figures(true, given), drawn_figures)
    right, confidence = true == given, probabilities.max(axis=1)
    ece, bins = reliability(right, confidence)
    coverage, risk, aurc = risk_coverage(right, confidence)
    return Scores(
        n_clips=len(true),
        n_abstained=int((~answered).sum()),
        accuracy=accuracy,
        macro_f1=macro_f1,
        uar=uar,
        per_label={
            label: LabelScores(_number(precision[i]), _number(recall[i]), _number(f1[i]), int(support[i]))
            for i, label in enumerate(labels)
        },
        confusion=confusion.tolist(),
        log_loss=mean_log_loss(true, probabilities),
        ece=ece,
        reliability=bins,
        coverage=coverage,
        risk=risk,
        aurc=aurc,
    )


def _number(figure: float) -> float | None:
    return None if np.isnan(figure) else float(figure)


def mean_log_loss(true: Ints, probabilities: Vector) -> float:
    """Log loss in nats.

    Args:
        true: number of the true label's column, shape (n,).
        probabilities: shape (n, n_labels); divided by their sums, since rounded votes may miss 1.
    """
    sums = probabilities.sum(axis=1, keepdims=True)
    return float(log_loss(true, probabilities / sums, labels=range(probabilities.shape[1])))


def summary_figures(true: Ints, given: Ints) -> tuple[float, float, float]:
    """Accuracy, macro-F1 and UAR, the latter two over the labels that are the truth of some clip."""
    _, recall, f1, _ = precision_recall_fscore_support(true, given, labels=np.unique(true), zero_division=0)
    return float((true == given).mean()), float(f1.mean()), float(recall.mean())


def reliability(right: NDArray[np.bool_], confidence: Vector) -> tuple[float, list[Bin]]:
    """Expected calibration error, and the bins behind it; there is one clip at least.

    Args:
        right: whether each answer is right, shape (n,).
        confidence: its probability, shape (n,).
    """
    # Rounded sums may pass 1 by a hair, which scikit-learn refuses.
    confidence = np.clip(confidence, 0.0, 1.0)
    accuracies, confidences = calibration_curve(right, confidence, n_bins=N_BINS, strategy="uniform", pos_label=True)
    # The same bins as calibration_curve's, whose counts it keeps for itself.
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, N_BINS + 1)[1:-1], confidence), minlength=N_BINS)
    bins = [
        Bin(float(mean), float(accuracy), int(count))
        for mean, accuracy, count in zip(confidences, accuracies, counts[counts > 0], strict=True)
    ]
    return sum(one.n_clips * abs(one.accuracy - one.confidence) for one in bins) / len(right), bins


def risk_coverage(right: NDArray[np.bool_], confidence: Vector) -> tuple[list[float], list[float], float]:
    """Error rate among the most confident answers, for every share of them; there is one at least.

    Answers of equal confidence come in no order: within them the errors rise evenly.

    Args:
        right: whether each answer is right, shape (n,).
        confidence: its probability, shape (n,).

    Returns:
        Coverages, risks at them, and the mean risk.
    """
    order = np.argsort(-confidence, kind="stable")
    errors = np.concatenate([[0], np.cumsum(~right[order])])
    ends = np.flatnonzero(np.diff(confidence[order], append=-1.0)) + 1
    ranks = np.arange(1, len(right) + 1)
    risks = np.interp(ranks, [0, *ends], errors[[0, *ends]]) / ranks
    return (ends / len(right)).tolist(), risks[ends - 1].tolist(), float(risks.mean())


def figures_of_counts(confusion: Ints, present: NDArray[np.bool_]) -> Vector:
    """What `summary_figures` gives, from many confusion matrices at once: 1,000 resamples take no time.

    Args:
        confusion: shape (…, n_labels, n_labels).
        present: labels that are the truth of some clip, shape (n_labels,).

    Returns:
        Accuracy, macro-F1 and UAR, shape (3, …); the latter two are NaN of a matrix without a clip of some label: a
        mean over the others is another figure, and a better one where that label is the hardest.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, given = confusion.sum(axis=-1), confusion.sum(axis=-2)
    f1 = 2 * hits / np.maximum(support + given, 1)
    recall = hits / np.maximum(support, 1)
    whole = (support > 0)[..., present].all(axis=-1)
    return np.stack(
        [
            hits.sum(axis=-1) / support.sum(axis=-1),
            np.where(whole, f1[..., present].mean(axis=-1), np.nan),
            np.where(whole, recall[..., present].mean(axis=-1), np.nan),
        ]
    )


def _cells(true: Ints, given: Ints, n_labels: int) -> Ints:
    """Each clip's own confusion matrix, flat: a 1 among zeros, shape (n_clips, n_labels²)."""
    cells = np.zeros((len(true), n_labels**2), np.int64)
    cells[np.arange(len(true)), true * n_labels + given] = 1
    return cells


@dataclass(frozen=True, slots=True)
class Difference:
    """One way of answering less another, on the clips that both answer.

    Attributes:
        n_clips: clips that both answer.
        accuracy: difference of their accuracies.
        macro_f1: difference of their macro-F1.
        uar: difference of their UAR.
    """

    n_clips: int
    accuracy: Interval
    macro_f1: Interval
    uar: Interval


def difference(
    labels: Sequence[str], truth: Sequence[str], one: Vector, other: Vector, groups: Sequence[object]
) -> Difference | None:
    """How much better one way answers than another. Both answers to a clip are drawn together.

    Args:
        labels: of the space, in the order of the columns.
        truth: a label per clip.
        one: probabilities, shape (n_clips, n_labels); rows of NaN where there is no vector.
        other: likewise.
        groups: as of `score`.

    Returns:
        The difference, or None when there is no clip that both answer.
    """
    both = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    if not both.any():
        return None
    n_labels = len(labels)
    true = np.array([labels.index(label) for label in truth], dtype=np.int64)[both]
    cells = np.hstack([_cells(true, side[both].argmax(axis=1), n_labels) for side in (one, other)])
    drawn = resample(cells, number_groups(groups)[both])
    present = np.bincount(true, minlength=n_labels) > 0

    def less(counts: Ints) -> Vector:
        halves = (half.reshape(-1, n_labels, n_labels) for half in np.hsplit(counts, 2))
        return np.asarray(np.subtract(*(figures_of_counts(half, present) for half in halves)))

    values = less(cells.sum(axis=0, keepdims=True))[:, 0].tolist()
    return Difference(int(both.sum()), *map(interval, values, less(drawn)))
