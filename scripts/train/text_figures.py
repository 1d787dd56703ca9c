"""What a finished text model is worth: on kote_test, on written and on plain sentences."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from text_check import CHECKS
from text_data import LABELS, Comments, read_kote
from text_measure import Scores, gain_interval, measure, tfidf_probabilities
from text_sources import Sources
from text_vocabulary import MAX_TOKENS
from text_written import written_sentences
from transformers import AutoTokenizer

from maeum.engines.text_weights import load_classifier


def predict(folder: Path, texts: list[str]) -> Scores:
    """Probabilities from the finished folder, shape (n, 6), computed the way the service does."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load_classifier(folder)[0].eval()
    probabilities = []
    with torch.inference_mode():
        for first in range(0, len(texts), 32):
            batch = tokenizer(
                texts[first : first + 32], truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt"
            )
            inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
            probabilities.append(torch.softmax(model(**inputs).logits, dim=1).double().numpy())
    return np.concatenate(probabilities)


def figures_of(folder: Path, sources: Sources, data: Path, seed: int) -> dict[str, Any]:
    """Figures on kote_test's rows with one label, on written and on plain sentences.

    Beside it TF-IDF with logistic regression on the comments, and on the templated and written sentences as well.
    """
    unseen = single(read_kote(data / "text" / "kote_test.tsv"))
    labels = unseen.six.argmax(axis=1)
    known, foreign = single(sources.kote), single(sources.goemotions)
    texts, their_labels = sources.clear
    comments = [*known.texts, *foreign.texts]
    comment_labels = np.concatenate([known.six.argmax(axis=1), foreign.six.argmax(axis=1)])
    plain = {
        "tfidf": tfidf_probabilities(comments, comment_labels, unseen.texts),
        "tfidf_clear_too": tfidf_probabilities(
            [*comments, *texts], np.concatenate([comment_labels, their_labels]), unseen.texts
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
        "written": {kind: on_written(folder, kind, seed) for kind in ("comment", "diary")},
        "plain_sentences": {"right": len(sentences) - len(wrong), "of": len(sentences), "wrong": wrong},
    }


def on_written(folder: Path, kind: str, seed: int) -> dict[str, Any]:
    """Figures on the written sentences of one kind that are kept for the test."""
    sentences = [sentence for sentence in written_sentences("test") if sentence.kind == kind]
    labels = np.array([LABELS.index(sentence.label) for sentence in sentences])
    return measure(predict(folder, [sentence.text for sentence in sentences]), labels, seed)


def single(comments: Comments) -> Comments:
    """Only the rows that point at exactly one of the six."""
    return comments.take(comments.single)
