"""The last stage: a student learns the written sentences, all of them, and goes on learning comments."""

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


def widen(
    model: RobertaForSequenceClassification,
    lessons: Lessons,
    n_clear: int,
    tokenizer: Tokenizer,
    seed: int,
    name: str,
) -> RobertaForSequenceClassification:
    """Train on sentences of one clear emotion, and on comments, in the mean of their targets and the model's answers.

    Args:
        model: fine-tuned; is not changed.
        lessons: what it was fine-tuned on.
        n_clear: how many of them, the last, are sentences of one clear emotion.
        tokenizer: as trained.
        seed: of the order.
        name: for the progress bar.
    """
    n_comments = len(lessons.texts) - n_clear
    six: Floats = lessons.six.copy()
    with autocast(DEVICE):
        answers = softmax(classify(model, tokenizer, lessons.texts[:n_comments]))
    six[:n_comments] = (six[:n_comments] + answers) / 2
    targets = torch.from_numpy(six).to(DEVICE)
    often = np.where(np.arange(len(six)) < n_comments, lessons.often, 1.0).astype(np.float32)
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
