"""Fine-tuning: the six labels, and the 44 + 28 of both data sets beside them."""

import copy
import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from precision import DEVICE, autocast
from text_data import LABELS, Floats
from text_lessons import Lessons
from text_vocabulary import PAD, batches, encode, heard
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import RobertaForSequenceClassification, RobertaModel

STUDENT, TUTOR = (5, 2.5e-4), (2, 1e-4)
"""Epochs, and the peak of the learning rate, of the pre-trained layers."""
HEADS_FASTER = 5.0
"""The learning rate of new layers, as a multiple of that."""
DROPOUT = 0.1
"""Before and after the classifier's hidden layer."""
BATCH_TOKENS = 1_500
AS_HEARD = 0.3
"""Of the texts, as speech-to-text would write them."""

Plan = list[tuple[NDArray[np.int64], Tensor]]
"""Batches: rows of the lessons, and the ids of their texts, shape (batch, length)."""
Network = TypeVar("Network", bound=nn.Module)
Reader = Callable[[RobertaModel, Tensor], Tensor]


class Student(nn.Module):
    """A classifier, and two heads on its last hidden layer that are thrown away.

    Args:
        encoder: pre-trained; copied.
        n_kote: labels of the first of the two heads.
        n_goemotions: labels of the second.
        read: the encoder's states of texts, pooled to shape (batch, width).
    """

    def __init__(self, encoder: RobertaModel, n_kote: int, n_goemotions: int, read: Reader) -> None:
        super().__init__()
        self._read = read
        config = copy.deepcopy(encoder.config)
        config.num_labels = len(LABELS)
        config.classifier_dropout = DROPOUT
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
    seed: int,
    name: str,
    pace: tuple[int, float] = STUDENT,
    read: Reader = first_states,
) -> Student:
    """Train a student.

    Args:
        encoder: where to start from; is not changed.
        lessons: from `make_lessons`.
        tokenizer: as trained.
        seed: of the new layers, the order and the dropout.
        name: for the progress bar.
        pace: epochs, and the peak of the learning rate.
        read: how the encoder's states are pooled; only the first token's can be shipped, as RoBERTa's.

    Returns:
        The running average of the weights, in evaluation mode.
    """
    torch.manual_seed(seed)
    student = Student(encoder, lessons.kote.shape[1], lessons.goemotions.shape[1], read).to(DEVICE)
    rng = np.random.default_rng([seed, 1])
    ids = encode(tokenizer, lessons.texts[:1_500])
    student.whiten([batch for _, batch in batches(ids, 4_000, np.random.default_rng(seed))])
    torch.manual_seed(seed + 1)
    body = list(student.classifier.roberta.parameters())
    heads = [value for name, value in student.named_parameters() if not name.startswith("classifier.roberta.")]
    loss = loss_of(student, lessons)
    return descend(student, (body, heads), lambda: draw(lessons, tokenizer, rng), loss, pace, name)


def descend(
    network: Network,
    groups: tuple[list[nn.Parameter], list[nn.Parameter]],
    plan: Callable[[], Plan],
    loss: Callable[[NDArray[np.int64], Tensor], Tensor],
    pace: tuple[int, float],
    name: str,
) -> Network:
    """Gradient descent with a short rise and a long fall of the learning rate.

    Args:
        network: is changed.
        groups: its pre-trained parameters, and those that learn `HEADS_FASTER`.
        plan: gives the batches of an epoch.
        loss: of a batch.
        pace: epochs, and the peak of the learning rate.
        name: for the progress bar.

    Returns:
        The running average of the network's weights, in evaluation mode.
    """
    epochs, peak = pace
    average = copy.deepcopy(network).eval()
    means: list[Tensor] = list(average.parameters())
    values: list[Tensor] = list(network.parameters())
    rates = [{"params": group, "faster": faster} for group, faster in zip(groups, (1.0, HEADS_FASTER), strict=True)]
    optimizer = torch.optim.AdamW(rates, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    bar = tqdm(range(epochs), desc=name, unit="epoch")
    step = 0
    for epoch in bar:
        batches_of_epoch = plan()
        network.train()
        for place, (rows, batch) in enumerate(batches_of_epoch):
            progress = (epoch + place / len(batches_of_epoch)) / epochs
            rate = peak * min(1.0, progress * epochs * 4) * (0.52 + 0.48 * math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = rate * group["faster"]
            error = loss(rows, batch)
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


def draw(lessons: Lessons, tokenizer: Tokenizer, rng: np.random.Generator) -> Plan:
    """The batches of an epoch."""
    whole, part = np.divmod(lessons.often, 1)
    chosen = np.repeat(np.arange(len(lessons.texts)), (whole + (rng.random(len(part)) < part)).astype(np.int64))
    ids = encode(tokenizer, heard([lessons.texts[row] for row in chosen], AS_HEARD, rng))
    return [(chosen[rows], batch) for rows, batch in batches(ids, BATCH_TOKENS, rng)]


def loss_of(student: Student, lessons: Lessons) -> Callable[[NDArray[np.int64], Tensor], Tensor]:
    """The loss of a batch, from the rows in the lessons and the ids of their texts."""
    known = (lessons.six, lessons.kote, lessons.goemotions, lessons.weights)
    six, kote, goemotions, weights = (torch.from_numpy(one).to(DEVICE) for one in known)

    def loss(rows: NDArray[np.int64], ids: Tensor) -> Tensor:
        with autocast(DEVICE):
            scores = student(ids)
        losses = (
            functional.cross_entropy(scores[0].float(), six[rows], reduction="none"),
            20 * bce(scores[1], kote[rows]),
            10 * bce(scores[2], goemotions[rows]),
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


def ask(student: Student, tokenizer: Tokenizer, texts: list[str]) -> Floats:
    """What a tutor thinks of texts: probabilities of the six, float32, shape (n, 6)."""
    six = np.zeros((len(texts), len(LABELS)), np.float32)
    with torch.inference_mode(), autocast(DEVICE):
        for rows, batch in batches(encode(tokenizer, texts), 4_000, np.random.default_rng(0)):
            six[rows] = torch.softmax(student(batch)[0].float(), dim=1).cpu().numpy()
    return six
