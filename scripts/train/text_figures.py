"""What a finished text model is worth: on kote_test, on written and on plain sentences."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold
from text_check import CHECKS
from text_data import LABELS, Comments, read_kote
from text_measure import Scores, gain_interval, measure, tfidf_probabilities
from text_readings import Annotators
from text_sources import Sources
from text_written import written_sentences

from maeum.engines.text import TextEngine
from maeum.stages import Failure


def predict(folder: Path, texts: list[str]) -> Scores:
    """Probabilities from the finished folder, shape (n, 6), by the service's own engine."""
    return np.array([row for row in TextEngine(folder).classify(texts) if not isinstance(row, Failure)])


def figures_of(folder: Path, sources: Sources, data: Path, seed: int) -> dict[str, Any]:
    """Figures on kote_test's rows with one label, on written and on plain sentences.

    Beside it TF-IDF with logistic regression on the comments, and on all that was written for this model as well: each
    written comment as the label with the highest mark.
    """
    unseen = single(read_kote(data / "text" / "kote_test.tsv"))
    labels = unseen.six.argmax(axis=1)
    known, foreign = single(sources.kote), single(sources.goemotions)
    texts, their_labels = sources.clear
    written = sources.comments
    comments = [*known.texts, *foreign.texts]
    comment_labels = np.concatenate([known.six.argmax(axis=1), foreign.six.argmax(axis=1)])
    plain = {
        "tfidf": tfidf_probabilities(comments, comment_labels, unseen.texts),
        "tfidf_written_too": tfidf_probabilities(
            [*comments, *texts, *written.texts],
            np.concatenate([comment_labels, their_labels, written.marks.argmax(axis=1)]),
            unseen.texts,
        ),
    }
    ours = predict(folder, unseen.texts)
    sentences = [(label, sentence) for label, group in CHECKS.items() for sentence in group]
    answers = predict(folder, [sentence for _, sentence in sentences]).argmax(axis=1)
    wrong = {
        sentence: f"{label} → {LABELS[answer]}"
        for (label, sentence), answer in zip(sentences, answers, strict=True)
        if LABELS[answer] != label
    }
    return {
        "kote_test": measure(ours, labels, seed),
        **{name: measure(theirs, labels, seed) for name, theirs in plain.items()},
        "macro_f1_gain_intervals": {
            name: gain_interval(labels, ours.argmax(axis=1), theirs.argmax(axis=1), seed)
            for name, theirs in plain.items()
        },
        "marks": on_marks(sources, seed),
        "written": {kind: on_written(folder, kind, seed) for kind in ("comment", "diary")},
        "plain_sentences": {"right": len(sentences) - len(wrong), "of": len(sentences), "wrong": wrong},
    }


def on_marks(sources: Sources, seed: int) -> dict[str, Any]:
    """How well the language model's marks tell the labels of kote_val's rows with one, each by those of other rows."""
    single = sources.kote.single
    marks, labels = sources.kote_marks[single], sources.kote.six[single].argmax(axis=1)
    probabilities = np.zeros((len(single), len(LABELS)))
    for known, unseen in StratifiedKFold(10, shuffle=True, random_state=seed).split(marks, labels):
        probabilities[unseen] = Annotators(marks[known], labels[known]).answer(marks[unseen])
    return measure(probabilities, labels, seed)


def on_written(folder: Path, kind: str, seed: int) -> dict[str, Any]:
    """Figures on the written sentences of one kind that are kept for the test."""
    sentences = [sentence for sentence in written_sentences("test") if sentence.kind == kind]
    labels = np.array([LABELS.index(sentence.label) for sentence in sentences])
    return measure(predict(folder, [sentence.text for sentence in sentences]), labels, seed)


def single(comments: Comments) -> Comments:
    """Only the rows that point at exactly one of the six."""
    return comments.take(comments.single)
