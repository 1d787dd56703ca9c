"""Figures of a report, drawn by matplotlib as SVG inside data URIs.

Text stays text in the SVG: the reader's browser has Korean letters, matplotlib's own font has none.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from maeum.evaluation.metrics import Scores
from maeum.evaluation.transcripts import TranscriptScores


def reliability_diagram(scores: Mapping[str, Scores]) -> str:
    """Accuracy over confidence, one line per modality; on the diagonal confidence means what it says."""
    figure = Figure(figsize=(4.6, 4.0), layout="tight")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    for name, one in scores.items():
        confidences = [each.confidence for each in one.reliability]
        accuracies = [each.accuracy for each in one.reliability]
        (line,) = axes.plot(confidences, accuracies, linewidth=1, label=f"{name} (ECE {one.ece:.3f})")
        shares = [each.n_clips for each in one.reliability]
        axes.scatter(confidences, accuracies, s=[12 + 120 * n / sum(shares) for n in shares], color=line.get_color())
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(-0.03, 1.03))
    axes.legend()
    return _data_uri(figure)


def risk_coverage_diagram(scores: Mapping[str, Scores]) -> str:
    """Error rate among the most confident answers, over the share of clips answered."""
    figure = Figure(figsize=(4.6, 4.0), layout="tight")
    axes = figure.subplots()
    for name, one in scores.items():
        axes.plot(one.coverage, one.risk, marker=".", linewidth=1, label=f"{name} (AURC {one.aurc:.3f})")
    axes.set(xlabel="coverage", ylabel="risk (share of errors)", xlim=(0, 1.03), ylim=(-0.03, 1.03))
    axes.legend()
    return _data_uri(figure)


def transcript_diagram(scores: TranscriptScores) -> str:
    """CER of the surest transcripts, over the share of clips that are kept."""
    figure = Figure(figsize=(4.6, 4.0), layout="tight")
    axes = figure.subplots()
    axes.plot(scores.coverage, scores.risk, marker=".", linewidth=1)
    axes.set(xlabel="coverage, surest transcripts first", ylabel="CER", xlim=(0, 1.03), ylim=(-0.03, None))
    return _data_uri(figure)


def confusion_diagram(labels: Sequence[str], scores: Scores) -> str:
    """Counts, true labels downwards."""
    figure = Figure(figsize=(4.6, 4.2), layout="tight")
    display = ConfusionMatrixDisplay(np.array(scores.confusion), display_labels=labels)
    display.plot(ax=figure.subplots(), cmap="Blues", colorbar=False, xticks_rotation=45)
    return _data_uri(figure)


def _data_uri(figure: Figure) -> str:
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "maeum"}), warnings.catch_warnings():
        # Only for measuring: the letters are drawn by the browser.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    _, start, rest = stream.getvalue().partition(b"<svg")  # without the DTD, which lives on the web
    return "data:image/svg+xml;base64," + base64.b64encode(start + rest).decode("ascii")
