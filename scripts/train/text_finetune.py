"""Fine-tuning: the six labels, 44 of KOTE and 28 of GoEmotions beside them, and a kernel-ridge teacher."""

import copy
import itertools
import math
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from precision import autocast
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import KFold
from text_data import LABELS, Comments, Floats
from text_morphemes import Meanings, Piece
from text_pretrain import PAD, batches, encode, encoder_config, heard
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import RobertaForSequenceClassification, RobertaModel

BATCH_TOKENS = 1_500
GOEMOTIONS_PER_EPOCH = 4_000
SEVERAL = 0.3
"""Weight of a comment that points at several of the six: each gets its share."""
TRANSLATED = 0.3
"""Weight of a GoEmotions comment in the loss over the six: its labels only resemble ours."""
TAUGHT = 0.5
"""Weight, in the loss over KOTE's labels, of a GoEmotions comment: only the teacher has an opinion there."""
MEANING_WIDTH = 2.35
"""Twice the median squared distance of two comments' meanings."""
DIARY = 0.5
"""Weight of a templated diary sentence there: there are few templates."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How a network is fine-tuned."""

    epochs: int = 5
    learning_rate: float = 5e-4
    teacher_share: float = 0.4
    dropout: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Texts as the teacher sees them.

    Attributes:
        n_grams: sparse, shape (n, n_features): n-grams of characters, of letters and of morphemes.
        meanings: float32, shape (n, 256), unit length or 0: the mean of each text's morphemes.
    """

    n_grams: csr_array
    meanings: Floats

    def __len__(self) -> int:
        return len(self.meanings)

    def take(self, rows: NDArray[np.int64]) -> "Described":
        """The given texts only, in the given order."""
        return Described(self.n_grams[rows], self.meanings[rows])

    def likeness(self, others: "Described") -> Floats:
        """How alike every two texts are, float32, shape (n, m): n-grams shared, and a Gaussian of the meanings."""
        shared: Floats = (self.n_grams @ others.n_grams.T).toarray()
        distance = 2 - 2 * (self.meanings @ others.meanings.T)
        return shared + 0.5 * np.exp(-distance.clip(0) / MEANING_WIDTH)


def describe(texts: list[str], others: list[str], meanings: Meanings) -> tuple[Described, Described]:
    """Describe texts by the n-grams they hold; letters (jamo) beside syllables, so that 슬퍼 and 슬픈 share something.

    Args:
        texts: what the n-grams are collected from.
        others: texts to describe with the same n-grams.
        meanings: of morphemes.

    Returns:
        The texts and the others.
    """
    options: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
    vectorizers = (
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, **options),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 8), min_df=3, preprocessor=to_letters, **options),
        TfidfVectorizer(analyzer=pairs, min_df=2, **options),
    )
    read = [meanings.read(group) for group in (texts, others)]
    sources = ((texts, others), (texts, others), read)
    known = hstack([v.fit_transform(source[0]) for v, source in zip(vectorizers, sources, strict=True)]) / 2
    unknown = hstack([v.transform(source[1]) for v, source in zip(vectorizers, sources, strict=True)]) / 2
    return (
        Described(csr_array(known, dtype=np.float32), meanings.describe(read[0])),
        Described(csr_array(unknown, dtype=np.float32), meanings.describe(read[1])),
    )


def pairs(pieces: list[Piece]) -> list[str]:
    """Morphemes with their tags, and every two that follow each other."""
    single = ["/".join(piece.morpheme) for piece in pieces]
    return [*single, *(f"{left} {right}" for left, right in itertools.pairwise(single))]


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


def make_lessons(
    kote: Comments,
    goemotions: Comments,
    diary: tuple[list[str], list[int]],
    opinions: tuple[Floats, Floats],
    share: float,
) -> Lessons:
    """Put the three sources together.

    Args:
        kote: training rows.
        goemotions: all or some of it.
        diary: templated sentences and the index of each one's label.
        opinions: the teacher's about KOTE's 44 labels, on `kote` and on `goemotions`.
        share: of the teacher in KOTE's targets.

    Returns:
        KOTE's rows, then GoEmotions', then the diary's.
    """
    sizes = (len(kote.texts), len(goemotions.texts), len(diary[0]))
    own, foreign = kote.targets.shape[1], goemotions.targets.shape[1]
    return Lessons(
        texts=[*kote.texts, *goemotions.texts, *diary[0]],
        kote=np.concatenate(
            [(1 - share) * kote.targets + share * opinions[0], opinions[1], np.zeros((sizes[2], own), np.float32)]
        ),
        goemotions=np.concatenate(
            [np.zeros((sizes[0], foreign), np.float32), goemotions.targets, np.zeros((sizes[2], foreign), np.float32)]
        ),
        six=np.concatenate([kote.six, goemotions.six, np.eye(len(LABELS), dtype=np.float32)[diary[1]]]),
        weights=np.concatenate(
            [
                np.stack([np.ones(sizes[0]), np.zeros(sizes[0]), weigh(kote.six, SEVERAL)], axis=1),
                np.stack(
                    [np.full(sizes[1], TAUGHT), np.ones(sizes[1]), weigh(goemotions.six, 0.0) * TRANSLATED], axis=1
                ),
                np.tile([0.0, 0.0, DIARY], (sizes[2], 1)),
            ]
        ).astype(np.float32),
    )


def weigh(six: Floats, several: float) -> Floats:
    """1 for rows of one group, `several` for rows of more, 0 for rows of none; shape (n,)."""
    top = six.max(axis=1)
    return np.select([top == 1.0, top > 0.0], [np.float32(1.0), np.float32(several)], np.float32(0.0))


class Student(nn.Module):
    """The classifier that is shipped, and two heads on its last hidden layer that are thrown away."""

    def __init__(self, encoder: RobertaModel, n_kote: int, n_goemotions: int, dropout: float) -> None:
        """Build with new heads on a copy of a pre-trained encoder."""
        super().__init__()
        config = encoder_config()
        config.num_labels = len(LABELS)
        config.classifier_dropout = dropout
        self.classifier = RobertaForSequenceClassification(config)
        self.classifier.roberta = copy.deepcopy(encoder)
        self.kote = nn.Linear(config.hidden_size, n_kote)
        self.goemotions = nn.Linear(config.hidden_size, n_goemotions)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the six, of KOTE's 44 and of GoEmotions' 28 labels, each shape (batch, n)."""
        states = self.classifier.roberta(ids, attention_mask=(ids != PAD).long()).last_hidden_state
        head = self.classifier.classifier
        pooled = torch.tanh(head.dense(head.dropout(states[:, 0])))
        return head.out_proj(head.dropout(pooled)), self.kote(pooled), self.goemotions(pooled)


def fine_tune(
    encoder: RobertaModel, lessons: Lessons, tokenizer: Tokenizer, recipe: Recipe, epochs: int, seed: int, name: str
) -> RobertaForSequenceClassification:
    """Train a student; every epoch reads all of KOTE and the diary, and another part of GoEmotions.

    Args:
        encoder: where to start from; is not changed.
        lessons: from `make_lessons`.
        tokenizer: as trained.
        recipe: how.
        epochs: passes; none leaves new heads as they are.
        seed: of the heads and of the order.
        name: for the progress bar.

    Returns:
        The running average of the classifier's weights, in evaluation mode.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    student = Student(encoder, lessons.kote.shape[1], lessons.goemotions.shape[1], recipe.dropout)
    average = copy.deepcopy(student).eval()
    optimizer = torch.optim.AdamW(
        student.parameters(), recipe.learning_rate, weight_decay=0.02, betas=(0.9, 0.98), fused=True
    )
    kote, goemotions, six = map(torch.from_numpy, (lessons.kote, lessons.goemotions, lessons.six))
    weights = torch.from_numpy(lessons.weights)
    translated = np.flatnonzero(lessons.weights[:, 1] > 0)
    others = np.flatnonzero(lessons.weights[:, 1] == 0)
    bar = tqdm(range(epochs), desc=name, unit="epoch")
    step = 0
    for epoch in bar:
        chosen = np.concatenate([others, rng.permutation(translated)[:GOEMOTIONS_PER_EPOCH]])
        ids = encode(tokenizer, heard([lessons.texts[row] for row in chosen], 0.3, rng), dropout=0.1)
        plan = list(batches(ids, BATCH_TOKENS, rng))
        student.train()
        for place, (rows, batch) in enumerate(plan):
            progress = (epoch + place / len(plan)) / epochs
            warm = min(1.0, progress * epochs * 2)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * warm * (0.52 + 0.48 * math.cos(math.pi * progress))
            with autocast():
                scores = student(batch)
            at = chosen[rows]
            losses = (
                functional.cross_entropy(scores[0].float(), six[at], reduction="none"),
                20 * bce(scores[1], kote[at]),
                10 * bce(scores[2], goemotions[at]),
            )
            order = (weights[at, 2], weights[at, 0], weights[at, 1])
            loss = torch.stack([(a * w).sum() for a, w in zip(losses, order, strict=True)]).sum() / len(at)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            step += 1
            decay = min(0.995, step / (step + 10))
            with torch.no_grad():
                for mean, value in zip(average.parameters(), student.parameters(), strict=True):
                    mean.lerp_(value, 1 - decay)
        bar.set_postfix(loss=f"{loss.item():.3f}")
    return average.classifier


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
