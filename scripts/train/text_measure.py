"""What the text model is worth: figures, their intervals, calibration, and a plain model to compare with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support
from sklearn.pipeline import make_pipeline
from text_data import LABELS

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]


def softmax(logits: Scores) -> Scores:
    """Probabilities over the last axis."""
    raised: Scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Scores = raised / raised.sum(axis=-1, keepdims=True)
    return probabilities


def macro_f1(labels: Labels, predicted: Labels) -> float:
    """Mean F1 over all six labels, one that is never predicted counting as 0."""
    return float(f1_score(labels, predicted, labels=range(len(LABELS)), average="macro", zero_division=0))


def expected_calibration_error(probabilities: Scores, labels: Labels) -> float:
    """Mean gap between confidence and accuracy, over 10 equal bins of confidence weighted by their size."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs(correct[bins == b].mean() - confidence[bins == b].mean()) * np.mean(bins == b) for b in np.unique(bins)]
    return float(np.sum(gaps))


def choose_bias(logits: Scores, labels: Labels) -> tuple[Scores, float]:
    """Fit what is added to the logits, and the temperature they are divided by afterwards.

    The bias takes back a share of each label's frequency, because macro-F1 counts rare labels as much as
    frequent ones: the share with the best macro-F1 among those that keep the accuracy within a point of the best.

    Args:
        logits: shape (n, 6), of rows that the model was not trained on.
        labels: shape (n,).

    Returns:
        The bias, shape (6,), and the temperature.
    """
    frequency = np.bincount(labels, minlength=len(LABELS)) / len(labels)
    shares = np.arange(0.0, 1.01, 0.05)
    tried = [(logits - share * np.log(frequency)).argmax(axis=1) for share in shares]
    accuracies = np.array([accuracy_score(labels, predicted) for predicted in tried])
    values = np.array([macro_f1(labels, predicted) for predicted in tried])
    # A moving mean: with few rows of the rare labels, a single share's value is luck.
    smooth = np.convolve(np.pad(values, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    share = shares[np.where(accuracies >= accuracies.max() - 0.01, smooth, 0.0).argmax()]
    bias = -share * np.log(frequency)
    temperatures = np.arange(0.4, 3.0, 0.02)
    errors = [expected_calibration_error(softmax((logits + bias) / t), labels) for t in temperatures]
    likelihoods = [-np.log(softmax((logits + bias) / t)[np.arange(len(labels)), labels]).mean() for t in temperatures]
    # Bins are coarse, the likelihood is smooth but feels the bias: the mean of the two choices.
    temperature = float(temperatures[np.argmin(errors)] + temperatures[np.argmin(likelihoods)]) / 2
    return bias, temperature


def measure(probabilities: Scores, labels: Labels, seed: int) -> dict[str, Any]:
    """All figures, with 95 % intervals from 2,000 bootstrap samples of the rows.

    Args:
        probabilities: shape (n, 6).
        labels: shape (n,).
        seed: of the bootstrap.

    Returns:
        Figures that can be written as JSON.
    """
    predicted = probabilities.argmax(axis=1)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(labels), len(labels)) for _ in range(2_000)]
    spread_f1 = np.percentile([macro_f1(labels[draw], predicted[draw]) for draw in draws], (2.5, 97.5))
    spread_accuracy = np.percentile([np.mean(labels[d] == predicted[d]) for d in draws], (2.5, 97.5))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(len(LABELS)), zero_division=0
    )
    return {
        "rows": len(labels),
        "macro_f1": macro_f1(labels, predicted),
        "macro_f1_interval": spread_f1.tolist(),
        "accuracy": float(np.mean(labels == predicted)),
        "accuracy_interval": spread_accuracy.tolist(),
        "ece": expected_calibration_error(probabilities, labels),
        "labels": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
            for name, p, r, f, n in zip(LABELS, precision, recall, f1, support, strict=True)
        },
        "confusion_rows_true": confusion_matrix(labels, predicted, labels=range(len(LABELS))).tolist(),
    }


def gain_interval(labels: Labels, ours: Labels, theirs: Labels, seed: int) -> list[float]:
    """95 % interval of the difference in macro-F1, both models on the same 2,000 bootstrap samples."""
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(labels), len(labels)) for _ in range(2_000)]
    gains = [macro_f1(labels[d], ours[d]) - macro_f1(labels[d], theirs[d]) for d in draws]
    return [float(value) for value in np.percentile(gains, (2.5, 97.5))]


def tfidf_probabilities(texts: list[str], labels: Labels, unseen: list[str]) -> Scores:
    """The model to beat: logistic regression on TF-IDF of one to four characters, same training rows."""
    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True),
        LogisticRegression(C=4.0, max_iter=200),
    )
    probabilities: Scores = model.fit(texts, labels).predict_proba(unseen)
    return probabilities
