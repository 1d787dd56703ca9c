"""Fine-tuning: the six labels, and beside them the 44 + 28 of both data sets and what all of E5 says of each text."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from precision import DEVICE, autocast
from text_data import LABELS
from text_lessons import Lessons
from text_vocabulary import PAD, batches, encode, heard
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import RobertaForSequenceClassification, RobertaModel

EPOCHS, LEARNING_RATE = 2, 1.5e-4
"""The learning rate is the peak of that of the pre-trained layers."""
HEADS_FASTER = 5.0
"""The learning rate of new layers, as a multiple of that."""
DROPOUT = 0.1
"""Before and after the classifier's hidden layer."""
BATCH_TOKENS = 1_500
AS_HEARD = 0.3
"""Of the texts, as speech-to-text would write them."""
LEFT_OUT = 0.15
"""Of each text's tokens, at random."""
SAY = 0.5
"""Weight of E5's states in the loss."""

Plan = list[tuple[NDArray[np.int64], Tensor]]
"""Batches: rows of the lessons, and the ids of their texts, shape (batch, length)."""


class Student(nn.Module):
    """A classifier, and three heads that are thrown away: two on its last hidden layer, one on its encoder's state.

    Args:
        encoder: pre-trained; copied.
        lessons: what it is to learn.
    """

    def __init__(self, encoder: RobertaModel, lessons: Lessons) -> None:
        super().__init__()
        config = copy.deepcopy(encoder.config)
        config.num_labels = len(LABELS)
        config.classifier_dropout = DROPOUT
        self.classifier = RobertaForSequenceClassification(config)
        self.classifier.roberta = copy.deepcopy(encoder)
        self.kote = nn.Linear(config.hidden_size, lessons.kote.shape[1])
        self.goemotions = nn.Linear(config.hidden_size, lessons.goemotions.shape[1])
        self.say = nn.Linear(config.hidden_size, lessons.states.shape[1])

    def whiten(self, ids: list[Tensor]) -> None:
        """Start the hidden layer so that it sees how texts differ: what all states share is fifty times as large.

        Args:
            ids: batches of texts.
        """
        with torch.no_grad():
            states = torch.cat([first_states(self.classifier.roberta, batch) for batch in ids])
            dense = self.classifier.classifier.dense
            weight = torch.randn_like(dense.weight) * 0.7 / math.sqrt(dense.in_features) / states.std(dim=0)
            dense.weight.copy_(weight)
            dense.bias.copy_(-weight @ states.mean(dim=0))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of the six, of KOTE's 44 and of GoEmotions' 28 labels, and E5's states, each shape (batch, n)."""
        head = self.classifier.classifier
        state = first_states(self.classifier.roberta, ids)
        pooled = torch.tanh(head.dense(head.dropout(state)))
        return head.out_proj(head.dropout(pooled)), self.kote(pooled), self.goemotions(pooled), self.say(state)


def first_states(encoder: RobertaModel, ids: Tensor) -> Tensor:
    """The last layer's state of each text's first token, shape (batch, width)."""
    states: Tensor = encoder(ids, attention_mask=(ids != PAD).long()).last_hidden_state[:, 0]
    return states


def fine_tune(
    encoder: RobertaModel,
    lessons: Lessons,
    tokenizer: Tokenizer,
    seed: int,
    kept: Path,
    pace: tuple[int, float] = (EPOCHS, LEARNING_RATE),
) -> Student:
    """Train a student.

    Args:
        encoder: where to start from; is not changed.
        lessons: from `make_lessons`.
        tokenizer: as trained.
        seed: of the new layers, the order and the dropout.
        kept: file of the state after the last whole epoch; its name is that of the progress bar.
        pace: epochs, and the peak of the learning rate.

    Returns:
        The running average of the weights, in evaluation mode.
    """
    torch.manual_seed(seed)
    student = Student(encoder, lessons).to(DEVICE)
    ids = encode(tokenizer, lessons.texts[:1_500])
    student.whiten([batch for _, batch in batches(ids, 4_000, np.random.default_rng(seed))])
    return descend(student, lambda rng: draw(lessons, tokenizer, rng), loss_of(student, lessons), pace, seed, kept)


def descend(
    student: Student,
    plan: Callable[[np.random.Generator], Plan],
    loss: Callable[[NDArray[np.int64], Tensor], Tensor],
    pace: tuple[int, float],
    seed: int,
    kept: Path,
) -> Student:
    """Gradient descent: a short rise and a long fall of the learning rate.

    Args:
        student: is changed.
        plan: gives the batches of an epoch.
        loss: of a batch.
        pace: epochs, and the peak of the learning rate.
        seed: of the order and the dropout.
        kept: file of the state after the last whole epoch.

    Returns:
        The running average of the weights, in evaluation mode.
    """
    epochs, peak = pace
    average = copy.deepcopy(student).eval()
    means: list[Tensor] = list(average.parameters())
    values: list[Tensor] = list(student.parameters())
    body = list(student.classifier.roberta.parameters())
    heads = [value for name, value in student.named_parameters() if not name.startswith("classifier.roberta.")]
    rates = [{"params": group, "faster": faster} for group, faster in ((body, 1.0), (heads, HEADS_FASTER))]
    optimizer = torch.optim.AdamW(rates, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    done = taken = 0
    if kept.exists():
        state = torch.load(kept, weights_only=True, map_location=DEVICE)
        student.load_state_dict(state["parts"][0])
        average.load_state_dict(state["parts"][1])
        optimizer.load_state_dict(state["parts"][2])
        done, taken = state["epochs"], state["steps"]
    for epoch in range(done, epochs):
        torch.manual_seed(seed + 1 + epoch)
        batches_of_epoch = plan(np.random.default_rng([seed, 1, epoch]))
        bar = tqdm(batches_of_epoch, desc=f"{kept.stem} {epoch + 1}/{epochs}", unit="batch", mininterval=5)
        student.train()
        total = 0.0
        for step, (rows, batch) in enumerate(bar):
            progress = (epoch + step / len(batches_of_epoch)) / epochs
            rate = peak * min(1.0, progress * epochs * 4) * (0.52 + 0.48 * math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = rate * group["faster"]
            optimizer.zero_grad()
            error = loss(rows, batch)
            error.backward()
            nn.utils.clip_grad_norm_(values, 1.0)
            optimizer.step()
            total += error.item()
            bar.set_postfix(loss=f"{total / (step + 1):.3f}", refresh=False)
            taken += 1
            decay = min(0.99, taken / (taken + 10))
            with torch.no_grad():
                torch._foreach_lerp_(means, values, 1 - decay)
        parts = [part.state_dict() for part in (student, average, optimizer)]
        state = {"parts": parts, "epochs": epoch + 1, "steps": taken}
        torch.save(state, kept.with_suffix(".tmp"))
        kept.with_suffix(".tmp").replace(kept)
    return average


def draw(lessons: Lessons, tokenizer: Tokenizer, rng: np.random.Generator) -> Plan:
    """The batches of an epoch."""
    whole, part = np.divmod(lessons.often, 1)
    chosen = np.repeat(np.arange(len(lessons.texts)), (whole + (rng.random(len(part)) < part)).astype(np.int64))
    ids = encode(tokenizer, heard([lessons.texts[row] for row in chosen], AS_HEARD, rng))
    ids = [leave_out(one, LEFT_OUT, rng) for one in ids]
    return [(chosen[rows], batch) for rows, batch in batches(ids, BATCH_TOKENS, rng)]


def leave_out(ids: list[int], share: float, rng: np.random.Generator) -> list[int]:
    """A text's token ids without a share of them; both ends stay, and if nothing else would, everything."""
    stay = rng.random(len(ids)) >= share
    stay[[0, -1]] = True
    return [one for one, stays in zip(ids, stay, strict=True) if stays] if stay.sum() > 2 else ids


def loss_of(student: Student, lessons: Lessons) -> Callable[[NDArray[np.int64], Tensor], Tensor]:
    """The loss of a batch, from the rows in the lessons and the ids of their texts."""
    known = (lessons.six, lessons.kote, lessons.goemotions, lessons.states, lessons.weights)
    six, kote, goemotions, states, weights = (torch.from_numpy(one).to(DEVICE) for one in known)

    def loss(rows: NDArray[np.int64], ids: Tensor) -> Tensor:
        with autocast(DEVICE):
            scores = student(ids)
        losses = (
            functional.cross_entropy(scores[0].float(), six[rows], reduction="none"),
            20 * bce(scores[1], kote[rows]),
            10 * bce(scores[2], goemotions[rows]),
            SAY * functional.mse_loss(scores[3].float(), states[rows].float(), reduction="none").mean(dim=1),
        )
        return (torch.stack(losses, dim=1) * weights[rows]).sum() / len(rows)

    return loss


def bce(scores: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the labels, shape (batch,)."""
    return functional.binary_cross_entropy_with_logits(scores.float(), targets, reduction="none").mean(dim=1)


def classify(model: RobertaForSequenceClassification, tokenizer: Tokenizer, texts: list[str]) -> NDArray[np.float64]:
    """Logits, shape (n, 6), as the engine computes them, but cut as in training."""
    ids = encode(tokenizer, texts)
    logits = np.zeros((len(texts), len(LABELS)))
    with torch.inference_mode():
        for rows, batch in batches(ids, 4_000, np.random.default_rng(0)):
            logits[rows] = model(batch, attention_mask=(batch != PAD).long()).logits.double().cpu().numpy()
    return logits
