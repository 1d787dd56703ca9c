"""Fine-tuning: the six labels, 44 + 28 beside them, and what teachers say of each text."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from precision import DEVICE, autocast
from text_data import LABELS, Comments, Floats
from text_vocabulary import PAD, batches, encode, heard
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import RobertaForSequenceClassification, RobertaModel

BATCH_TOKENS = 1_500
GOEMOTIONS_PER_EPOCH = 6_000
UNCERTAIN = 0.3
"""Weight, in the loss over the six, of a comment that points at several of them or at none."""
TRANSLATED = 0.3
"""Weight of a GoEmotions comment there: its labels only resemble ours."""
TAUGHT = 0.5
"""Weight, in the loss over KOTE's labels, of a GoEmotions comment: only the teacher has an opinion there."""
DIARY = 0.5
"""Weight of a templated diary sentence there: there are few templates."""
HEADS_FASTER = 5.0
"""The learning rate of new layers, as a multiple of that of pre-trained ones."""


Plan = list[tuple[NDArray[np.int64], Tensor]]
"""Batches: rows, and the ids of their texts, shape (batch, length)."""
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How a network is fine-tuned.

    Attributes:
        epochs: passes.
        learning_rate: peak.
        teacher_share: of the teacher's opinions in KOTE's 44 targets.
        answer_share: of its answers in KOTE's six targets.
        foreign_answer_share: the same of GoEmotions.
        dropout: before and after the classifier's hidden layer.
    """

    epochs: int = 5
    learning_rate: float = 2.5e-4
    teacher_share: float = 0.5
    answer_share: float = 0.5
    foreign_answer_share: float = 0.5
    dropout: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Texts with what is to be learned from each; unknown targets have no weight.

    Attributes:
        texts: n of them.
        kote: float32, shape (n, 44).
        goemotions: float32, shape (n, 28).
        six: float32, shape (n, 6).
        weights: float32, shape (n, 3), of the three targets.
    """

    texts: list[str]
    kote: Floats
    goemotions: Floats
    six: Floats
    weights: Floats


def make_lessons(
    kote: Comments,
    goemotions: Comments,
    diary: tuple[list[str], list[int]],
    opinions: tuple[Floats, Floats],
    answers: tuple[Floats, Floats],
    recipe: Recipe,
) -> Lessons:
    """Put the sources together.

    Args:
        kote: training rows.
        goemotions: all or some of it.
        diary: templated sentences and the index of each one's label.
        opinions: the teacher's about KOTE's 44 labels, on `kote` and on `goemotions`.
        answers: the teacher's about the six, likewise.
        recipe: says how much the teacher counts beside the labels.

    Returns:
        KOTE's rows, then GoEmotions', then the diary's.
    """
    sizes = (len(kote.texts), len(goemotions.texts), len(diary[0]))
    own, foreign = kote.targets.shape[1], goemotions.targets.shape[1]
    share = recipe.teacher_share
    return Lessons(
        texts=[*kote.texts, *goemotions.texts, *diary[0]],
        kote=np.concatenate(
            [(1 - share) * kote.targets + share * opinions[0], opinions[1], np.zeros((sizes[2], own), np.float32)]
        ),
        goemotions=np.concatenate(
            [np.zeros((sizes[0], foreign), np.float32), goemotions.targets, np.zeros((sizes[2], foreign), np.float32)]
        ),
        six=np.concatenate(
            [
                mix(kote.six, kote.six.sum(axis=1) > 0, answers[0], recipe.answer_share),
                mix(goemotions.six, goemotions.six.max(axis=1) == 1.0, answers[1], recipe.foreign_answer_share),
                np.eye(len(LABELS), dtype=np.float32)[diary[1]],
            ]
        ),
        weights=np.concatenate(
            [
                np.stack([np.ones(sizes[0]), np.zeros(sizes[0]), weigh(kote.six)], axis=1),
                np.tile([TAUGHT, 1.0, TRANSLATED], (sizes[1], 1)),
                np.tile([0.0, 0.0, DIARY], (sizes[2], 1)),
            ]
        ).astype(np.float32),
    )


def mix(six: Floats, known: NDArray[np.bool_], answers: Floats, share: float) -> Floats:
    """Labels with a share of the teacher's answers, and these alone where there is no label."""
    mixed: Floats = np.where(known[:, None], (1 - share) * six + share * answers, answers).astype(np.float32)
    return mixed


def weigh(six: Floats) -> Floats:
    """1 for rows of one group, less for those of several or none; shape (n,)."""
    return np.where(six.max(axis=1) == 1.0, np.float32(1.0), np.float32(UNCERTAIN))


class Student(nn.Module):
    """A classifier, and two heads on its last hidden layer that are thrown away.

    Args:
        encoder: pre-trained; copied.
        n_kote: labels of the first of the two heads.
        n_goemotions: labels of the second.
        dropout: before and after the hidden layer.
        read: the encoder's states of texts, pooled to shape (batch, width).
    """

    def __init__(
        self,
        encoder: RobertaModel,
        n_kote: int,
        n_goemotions: int,
        dropout: float,
        read: Callable[[RobertaModel, Tensor], Tensor],
    ) -> None:
        super().__init__()
        self._read = read
        config = copy.deepcopy(encoder.config)
        config.num_labels = len(LABELS)
        config.classifier_dropout = dropout
        self.classifier = RobertaForSequenceClassification(config)
        self.classifier.roberta = copy.deepcopy(encoder)
        self.kote = nn.Linear(config.hidden_size, n_kote)
        self.goemotions = nn.Linear(config.hidden_size, n_goemotions)

    def whiten(self, ids: list[Tensor]) -> None:
        """Start the hidden layer so that it sees how texts differ: what all states share is fifty times as large.

        Args:
            ids: batches of texts.
        """
        with torch.no_grad():
            states = torch.cat([self._read(self.classifier.roberta, batch) for batch in ids])
            dense = self.classifier.classifier.dense
            weight = torch.randn_like(dense.weight) * 0.7 / math.sqrt(dense.in_features) / states.std(dim=0)
            dense.weight.copy_(weight)
            dense.bias.copy_(-weight @ states.mean(dim=0))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the six, of KOTE's 44 and of GoEmotions' 28 labels, each shape (batch, n)."""
        head = self.classifier.classifier
        pooled = torch.tanh(head.dense(head.dropout(self._read(self.classifier.roberta, ids))))
        return head.out_proj(head.dropout(pooled)), self.kote(pooled), self.goemotions(pooled)


def first_states(encoder: RobertaModel, ids: Tensor) -> Tensor:
    """The last layer's state of each text's first token, shape (batch, width)."""
    states: Tensor = encoder(ids, attention_mask=(ids != PAD).long()).last_hidden_state[:, 0]
    return states


def mean_states(encoder: RobertaModel, ids: Tensor) -> Tensor:
    """The mean over each text's tokens of the last layer's states, as E5 was trained to be read, (batch, width)."""
    known = (ids != PAD).long()
    share = (known / known.sum(dim=1, keepdim=True))[..., None]
    states: Tensor = (encoder(ids, attention_mask=known).last_hidden_state * share).sum(dim=1)
    return states


def fine_tune(
    encoder: RobertaModel,
    lessons: Lessons,
    tokenizer: Tokenizer,
    recipe: Recipe,
    seed: int,
    name: str,
    read: Callable[[RobertaModel, Tensor], Tensor] = first_states,
) -> Student:
    """Train a student; every epoch reads all of KOTE and the diary, and another part of GoEmotions.

    Args:
        encoder: where to start from; is not changed.
        lessons: from `make_lessons`.
        tokenizer: as trained.
        recipe: how.
        seed: of the heads and of the order.
        name: for the progress bar.
        read: how the encoder's states are pooled; only the first token's can be shipped, as RoBERTa's.

    Returns:
        The running average of the weights, in evaluation mode.
    """
    torch.manual_seed(seed)
    student = Student(encoder, lessons.kote.shape[1], lessons.goemotions.shape[1], recipe.dropout, read).to(DEVICE)
    rng = np.random.default_rng(seed)
    student.whiten([batch for _, batch in batches(encode(tokenizer, lessons.texts[:1_500]), 4_000, rng)])
    known = (lessons.kote, lessons.goemotions, lessons.six, lessons.weights)
    kote, goemotions, six, weights = (torch.from_numpy(one).to(DEVICE) for one in known)
    translated = np.flatnonzero(lessons.weights[:, 1] > 0)
    others = np.flatnonzero(lessons.weights[:, 1] == 0)

    def loss(rows: NDArray[np.int64], ids: Tensor) -> Tensor:
        with autocast(DEVICE):
            scores = student(ids)
        losses = (
            functional.cross_entropy(scores[0].float(), six[rows], reduction="none"),
            20 * bce(scores[1], kote[rows]),
            10 * bce(scores[2], goemotions[rows]),
        )
        shares = (weights[rows, 2], weights[rows, 0], weights[rows, 1])
        return torch.stack([(a * w).sum() for a, w in zip(losses, shares, strict=True)]).sum() / len(rows)

    def plan() -> Plan:
        chosen = np.concatenate([others, rng.permutation(translated)[:GOEMOTIONS_PER_EPOCH]])
        return drawn(lessons.texts, chosen, tokenizer, rng)

    body = list(student.classifier.roberta.parameters())
    heads = [p for name, p in student.named_parameters() if not name.startswith("classifier.roberta.")]
    return descend(student, (body, heads), plan, loss, recipe.epochs, recipe.learning_rate, name)


def drawn(texts: list[str], chosen: NDArray[np.int64], tokenizer: Tokenizer, rng: np.random.Generator) -> Plan:
    """Batches of some texts, a part of them as they would be heard: rows of `texts`, and ids."""
    ids = encode(tokenizer, heard([texts[row] for row in chosen], 0.3, rng))
    return [(chosen[rows], batch) for rows, batch in batches(ids, BATCH_TOKENS, rng)]


def descend(
    network: Network,
    groups: tuple[list[nn.Parameter], list[nn.Parameter]],
    plan: Callable[[], Plan],
    loss: Callable[[NDArray[np.int64], Tensor], Tensor],
    epochs: int,
    learning_rate: float,
    name: str,
) -> Network:
    """Gradient descent with a short rise and a long fall of the learning rate.

    Args:
        network: is changed.
        groups: its pre-trained parameters, and those that learn `HEADS_FASTER`.
        plan: gives the batches of an epoch.
        loss: of a batch.
        epochs: passes.
        learning_rate: peak.
        name: for the progress bar.

    Returns:
        The running average of the network's weights, in evaluation mode.
    """
    average = copy.deepcopy(network).eval()
    means: list[Tensor] = list(average.parameters())
    values: list[Tensor] = list(network.parameters())
    optimizer = torch.optim.AdamW([{"params": g} for g in groups], weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    bar = tqdm(range(epochs), desc=name, unit="epoch")
    step = 0
    for epoch in bar:
        batches_of_epoch = plan()
        network.train()
        for place, (rows, ids) in enumerate(batches_of_epoch):
            progress = (epoch + place / len(batches_of_epoch)) / epochs
            warm = min(1.0, progress * epochs * 4)
            rate = learning_rate * warm * (0.52 + 0.48 * math.cos(math.pi * progress))
            for group, faster in zip(optimizer.param_groups, (1.0, HEADS_FASTER), strict=True):
                group["lr"] = rate * faster
            error = loss(rows, ids)
            optimizer.zero_grad()
            error.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            decay = min(0.99, step / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(means, values, 1 - decay)
        bar.set_postfix(loss=f"{error.item():.3f}")
    return average


def ask(student: Student, tokenizer: Tokenizer, texts: list[str]) -> tuple[Floats, Floats]:
    """What a student thinks of texts.

    Returns:
        Probabilities of KOTE's labels, float32, shape (n, 44), and of the six, shape (n, 6).
    """
    kote = np.zeros((len(texts), student.kote.out_features), np.float32)
    six = np.zeros((len(texts), len(LABELS)), np.float32)
    with torch.inference_mode(), autocast(DEVICE):
        for rows, batch in batches(encode(tokenizer, texts), 4_000, np.random.default_rng(0)):
            scores = student(batch)
            kote[rows] = torch.sigmoid(scores[1].float()).cpu().numpy()
            six[rows] = torch.softmax(scores[0].float(), dim=1).cpu().numpy()
    return kote, six


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
