"""The last stage: a finished model learns the written sentences too, and keeps its own opinion of comments."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from precision import DEVICE, autocast
from text_data import LABELS, Comments, Floats
from text_finetune import GOEMOTIONS_PER_EPOCH, Plan, classify, descend, drawn
from text_measure import softmax
from text_vocabulary import PAD
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import RobertaForSequenceClassification

EPOCHS = 4
LEARNING_RATE = 1.5e-4
SMOOTHED = 0.06
"""Of each written sentence's label, spread over all six: nobody is that sure of what another person feels."""


def widen(
    model: RobertaForSequenceClassification,
    tokenizer: Tokenizer,
    comments: Comments,
    translated: Comments,
    clear: tuple[list[str], list[int]],
    seed: int,
    name: str,
) -> RobertaForSequenceClassification:
    """Train on sentences of one clear emotion, and on comments with what the model already answers.

    Args:
        model: finished; is not changed.
        tokenizer: its own.
        comments: KOTE's; each is read in every epoch, its labels are not.
        translated: GoEmotions'; likewise, a part in each epoch.
        clear: sentences, and the index of each one's label.
        seed: of the order.
        name: for the progress bar.
    """
    known = [*comments.texts, *translated.texts]
    answers = softmax(classify(model, tokenizer, known)).astype(np.float32)
    sure: Floats = np.eye(len(LABELS), dtype=np.float32)[clear[1]] * (1 - SMOOTHED) + SMOOTHED / len(LABELS)
    texts, targets = [*known, *clear[0]], torch.from_numpy(np.concatenate([answers, sure])).to(DEVICE)
    foreign = np.arange(len(comments.texts), len(known))
    always = np.setdiff1d(np.arange(len(texts)), foreign)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    student = copy.deepcopy(model)

    def plan() -> Plan:
        chosen = np.concatenate([always, rng.permutation(foreign)[:GOEMOTIONS_PER_EPOCH]])
        return drawn(texts, chosen, tokenizer, rng)

    def loss(rows: NDArray[np.int64], ids: Tensor) -> Tensor:
        with autocast(DEVICE):
            logits: Tensor = student(ids, attention_mask=(ids != PAD).long()).logits
        return functional.cross_entropy(logits.float(), targets[rows])

    groups = list(student.roberta.parameters()), list(student.classifier.parameters())
    return descend(student, groups, plan, loss, EPOCHS, LEARNING_RATE, name)
