"""Distillation of E5, then fine-tuning: the six labels, 44 + 28 beside them, and what teachers say of each text."""

import copy
import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from precision import autocast
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
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
class Described:
    """Texts as the teacher sees them.

    Attributes:
        n_grams: sparse, shape (n, n_features): n-grams of characters and of letters.
        states: float32, shape (n, 3, width): E5's mean state in three layers, scaled and of unit length.
    """

    n_grams: csr_array
    states: Floats

    def __len__(self) -> int:
        return len(self.states)

    def take(self, rows: NDArray[np.int64]) -> "Described":
        """The given texts only, in the given order."""
        return Described(self.n_grams[rows], self.states[rows])

    def likeness(self, others: "Described") -> Floats:
        """How alike every two texts are, float32, shape (n, m): n-grams shared, and Gaussians of the states."""
        likeness: Floats = np.asarray((self.n_grams @ others.n_grams.T).toarray(), np.float32)
        for layer in range(self.states.shape[1]):
            likeness += 0.5 * np.exp(self.states[:, layer] @ others.states[:, layer].T - 1)
        return likeness


def describe(texts: list[str], others: list[str], states: tuple[Floats, Floats]) -> tuple[Described, Described]:
    """Describe texts by the n-grams they hold; letters (jamo) beside syllables, so that 슬퍼 and 슬픈 share something.

    Args:
        texts: what the n-grams are collected from.
        others: texts to describe with the same n-grams.
        states: E5's, of the texts and of the others.

    Returns:
        The texts and the others.
    """
    options: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
    vectorizers = (
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, **options),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 8), min_df=3, preprocessor=to_letters, **options),
    )
    known = hstack([v.fit_transform(texts) for v in vectorizers]) / math.sqrt(2)
    unknown = hstack([v.transform(others) for v in vectorizers]) / math.sqrt(2)
    scaled = [(part - states[0].mean(axis=0)) / states[0].std(axis=0) for part in states]
    units: list[Floats] = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in scaled]
    return (
        Described(csr_array(known, dtype=np.float32), units[0]),
        Described(csr_array(unknown, dtype=np.float32), units[1]),
    )


def to_letters(text: str) -> str:
    """Syllables taken apart: 슬 becomes ㅅ, ㅡ, ㄹ."""
    return unicodedata.normalize("NFD", text.lower())


def teach(known: Described, targets: Floats, unknown: Described, seed: int) -> tuple[Floats, Floats]:
    """Kernel ridge regression's opinion on every text; on a known one, learned from the other known ones only.

    Args:
        known: n texts.
        targets: their targets, shape (n, m).
        unknown: other texts.
        seed: of the split.

    Returns:
        Opinions on the known texts, shape (n, m), and on the unknown ones, all between 0 and 1.
    """
    likeness = known.likeness(known)
    opinions = np.zeros_like(targets)

    def solve(rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        mean: Floats = targets[rows].mean(axis=0)
        ridge = likeness[np.ix_(rows, rows)] + np.eye(len(rows), dtype=np.float32)
        weights: Floats = np.linalg.solve(ridge, targets[rows] - mean)
        return weights, mean

    for rows, asked in KFold(5, shuffle=True, random_state=seed).split(targets):
        weights, mean = solve(rows)
        opinions[asked] = likeness[np.ix_(asked, rows)] @ weights + mean
    weights, mean = solve(np.arange(len(targets)))
    parts = np.array_split(np.arange(len(unknown)), max(1, len(unknown) // 2_000))
    elsewhere: Floats = np.concatenate([unknown.take(part).likeness(known) @ weights + mean for part in parts])
    return opinions.clip(0.0, 1.0), elsewhere.clip(0.0, 1.0)


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


def answer(opinions: tuple[Floats, Floats], six: Floats, seed: int) -> tuple[Floats, Floats]:
    """The teacher's probabilities of the six: logistic regression on the log-odds of its opinions about 44 labels.

    Args:
        opinions: from `teach`.
        six: groups of the known texts; those of one group are learned from, each asked about by the others only.
        seed: of the split.

    Returns:
        Probabilities for the known texts, shape (n, 6), and for the unknown ones.
    """
    known, unknown = (np.log(o / (1 - o)) for o in (part.clip(1e-3, 1 - 1e-3) for part in opinions))
    single = np.flatnonzero(six.max(axis=1) == 1.0)
    labels = six.argmax(axis=1)

    def learn(rows: NDArray[np.int64]) -> LogisticRegression:
        return LogisticRegression(C=0.3, max_iter=2_000).fit(known[rows], labels[rows])

    learned = learn(single)
    answers: Floats = learned.predict_proba(known).astype(np.float32)
    for rows, asked in KFold(5, shuffle=True, random_state=seed).split(single):
        answers[single[asked]] = learn(single[rows]).predict_proba(known[single[asked]])
    elsewhere: Floats = learned.predict_proba(unknown).astype(np.float32)
    return answers, elsewhere


def make_lessons(
    kote: Comments,
    goemotions: Comments,
    diary: tuple[list[str], list[int]],
    opinions: tuple[Floats, Floats],
    answers: tuple[Floats, Floats],
    recipe: Recipe,
) -> Lessons:
    """Put the three sources together.

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


def distil(
    encoder: RobertaModel, tokenizer: Tokenizer, texts: list[str], states: Floats, epochs: int, seed: int, kept: Path
) -> RobertaModel:
    """Teach the first layers of E5, in their new vocabulary, to say with their first token what all its layers say.

    Args:
        encoder: where to start from; is changed.
        tokenizer: of the new vocabulary.
        texts: any.
        states: what E5 says of each, shape (n, ...); learned as deviations from the mean in standard deviations.
        epochs: passes.
        seed: of the order.
        kept: file of the weights after the last whole epoch.

    Returns:
        The encoder.
    """
    flat = states.reshape(len(texts), -1)
    wanted = torch.from_numpy((flat - flat.mean(axis=0)) / flat.std(axis=0))
    torch.manual_seed(seed)
    student = nn.ModuleDict({"encoder": encoder, "say": nn.Linear(encoder.config.hidden_size, wanted.shape[1])})
    optimizer = torch.optim.AdamW(student.parameters(), 3e-4, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    done = 0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["epochs"]
    for epoch in range(done, epochs):
        rng = np.random.default_rng([seed, epoch])
        plan = list(batches(encode(tokenizer, heard(texts, 0.3, rng)), 3_000, rng))
        bar, total = tqdm(plan, desc=f"distillation {epoch + 1}/{epochs}", unit="batch", mininterval=5), 0.0
        student.train()
        for step, (rows, batch) in enumerate(bar):
            progress = (epoch + step / len(plan)) / epochs
            optimizer.param_groups[0]["lr"] = 3e-4 * min(
                progress * epochs * 10, 0.5 + 0.5 * math.cos(math.pi * progress)
            )
            with autocast():
                said = student["say"](first_states(encoder, batch))
            loss = functional.mse_loss(said.float(), wanted[rows])
            total += loss.item()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            bar.set_postfix(loss=f"{total / (step + 1):.3f}", refresh=False)
        state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}
        torch.save(state, kept.with_suffix(".tmp"))
        kept.with_suffix(".tmp").replace(kept)
    return encoder


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
    student = Student(encoder, lessons.kote.shape[1], lessons.goemotions.shape[1], recipe.dropout, read)
    rng = np.random.default_rng(seed)
    student.whiten([batch for _, batch in batches(encode(tokenizer, lessons.texts[:1_500]), 4_000, rng)])
    average = copy.deepcopy(student).eval()
    body = list(student.classifier.roberta.parameters())
    heads = [p for name, p in student.named_parameters() if not name.startswith("classifier.roberta.")]
    optimizer = torch.optim.AdamW(
        [{"params": body}, {"params": heads}], weight_decay=0.01, betas=(0.9, 0.98), fused=True
    )
    kote, goemotions, six = map(torch.from_numpy, (lessons.kote, lessons.goemotions, lessons.six))
    weights = torch.from_numpy(lessons.weights)
    translated = np.flatnonzero(lessons.weights[:, 1] > 0)
    others = np.flatnonzero(lessons.weights[:, 1] == 0)
    epochs = recipe.epochs
    bar = tqdm(range(epochs), desc=name, unit="epoch")
    step = 0
    for epoch in bar:
        chosen = np.concatenate([others, rng.permutation(translated)[:GOEMOTIONS_PER_EPOCH]])
        ids = encode(tokenizer, heard([lessons.texts[row] for row in chosen], 0.3, rng))
        plan = list(batches(ids, BATCH_TOKENS, rng))
        student.train()
        for place, (rows, batch) in enumerate(plan):
            progress = (epoch + place / len(plan)) / epochs
            warm = min(1.0, progress * epochs * 4)
            rate = recipe.learning_rate * warm * (0.52 + 0.48 * math.cos(math.pi * progress))
            for group, faster in zip(optimizer.param_groups, (1.0, HEADS_FASTER), strict=True):
                group["lr"] = rate * faster
            with autocast():
                scores = student(batch)
            at = chosen[rows]
            losses = (
                functional.cross_entropy(scores[0].float(), six[at], reduction="none"),
                20 * bce(scores[1], kote[at]),
                10 * bce(scores[2], goemotions[at]),
            )
            shares = (weights[at, 2], weights[at, 0], weights[at, 1])
            loss = torch.stack([(a * w).sum() for a, w in zip(losses, shares, strict=True)]).sum() / len(at)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            step += 1
            decay = min(0.99, step / (step + 10))
            with torch.no_grad():
                for mean, value in zip(average.parameters(), student.parameters(), strict=True):
                    mean.lerp_(value, 1 - decay)
        bar.set_postfix(loss=f"{loss.item():.3f}")
    return average


def ask(student: Student, tokenizer: Tokenizer, texts: list[str]) -> tuple[Floats, Floats]:
    """What a student thinks of texts.

    Returns:
        Probabilities of KOTE's labels, float32, shape (n, 44), and of the six, shape (n, 6).
    """
    kote = np.zeros((len(texts), student.kote.out_features), np.float32)
    six = np.zeros((len(texts), len(LABELS)), np.float32)
    with torch.inference_mode(), autocast():
        for rows, batch in batches(encode(tokenizer, texts), 4_000, np.random.default_rng(0)):
            scores = student(batch)
            kote[rows] = torch.sigmoid(scores[1].float()).numpy()
            six[rows] = torch.softmax(scores[0].float(), dim=1).numpy()
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
            logits[rows] = model(batch, attention_mask=(batch != PAD).long()).logits.double().numpy()
    return logits
