"""The last stage: a student learns the written sentences, all of them, and of comments what it already answers."""

import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from precision import DEVICE, autocast
from text_data import Floats
from text_finetune import classify, descend, draw
from text_lessons import Lessons
from text_measure import softmax
from text_vocabulary import PAD
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import RobertaForSequenceClassification

PACE = 3, 1.5e-4
"""Epochs, and the peak of the learning rate."""
OFTEN = 0.5
"""How often an epoch reads a comment that is not KOTE's."""


def widen(
    runs: list[RobertaForSequenceClassification],
    model: RobertaForSequenceClassification,
    lessons: Lessons,
    n_clear: int,
    tokenizer: Tokenizer,
    seed: int,
    name: str,
) -> RobertaForSequenceClassification:
    """Train on sentences of one clear emotion, and on comments with what a student's runs answer on average.

    Args:
        runs: their answers are the targets of comments.
        model: their mean; is not changed.
        lessons: theirs.
        n_clear: how many of them, the last, are sentences of one clear emotion.
        tokenizer: as trained.
        seed: of the order.
        name: for the progress bar.
    """
    n_comments = len(lessons.texts) - n_clear
    answers: Floats = lessons.six.copy()
    said = [softmax(classify(run, tokenizer, lessons.texts[:n_comments])) for run in runs]
    answers[:n_comments] = np.mean(said, axis=0)
    targets = torch.from_numpy(answers).to(DEVICE)
    often = np.ones(len(lessons.texts), np.float32)
    often[:n_comments][lessons.weights[:n_comments, 1] == 0] = OFTEN
    chosen = replace(lessons, often=often)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    student = copy.deepcopy(model)

    def loss(rows: NDArray[np.int64], ids: Tensor) -> Tensor:
        with autocast(DEVICE):
            logits: Tensor = student(ids, attention_mask=(ids != PAD).long()).logits
        return functional.cross_entropy(logits.float(), targets[rows])

    groups = list(student.roberta.parameters()), list(student.classifier.parameters())
    return descend(student, groups, lambda: draw(chosen, tokenizer, rng), loss, PACE, name)
