"""Two label spaces, the projections between them, and the fusion of words and voice. Pure functions, float64.

A vector over the words' labels is "Korean", one over the voice's labels "English", after the default label names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from maeum.errors import InvalidConfiguration, UnknownLabel

TextPooling = Literal["votes", "mean"]

KO_LABELS = ("기쁨", "당황", "분노", "불안", "상처", "슬픔")
EN_LABELS = ("ANGRY", "SAD", "DISGUST", "HAPPY", "FEAR", "SURPRISE")

# Rows EN_LABELS, columns KO_LABELS: facts of the original pipeline's source.
_KO_TO_EN = (
    (0.0, 0.0, 1.0, 0.0, 0.2, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.6, 1.0),
    (0.0, 0.0, 0.0, 0.0, 0.2, 0.0),
    (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.3, 0.0, 0.8, 0.0, 0.0),
    (0.0, 0.7, 0.0, 0.2, 0.0, 0.0),
)
# Rows KO_LABELS, columns EN_LABELS.
_EN_TO_KO = (
    (0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.2, 0.2, 0.7),
    (0.8, 0.0, 0.3, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.8, 0.3),
    (0.2, 0.2, 0.7, 0.0, 0.0, 0.0),
    (0.0, 0.8, 0.0, 0.0, 0.0, 0.0),
)

Vector = NDArray[np.float64]


class Projection(BaseModel):
    """Label names of both spaces and the matrices between them; also the schema of `MAEUM_PROJECTION_FILE`.

    `ko_to_en` has one row per English and one column per Korean label, `en_to_ko` the other way round;
    entries are finite and not negative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ko_labels: tuple[str, ...] = KO_LABELS
    en_labels: tuple[str, ...] = EN_LABELS
    ko_to_en: tuple[tuple[float, ...], ...] = _KO_TO_EN
    en_to_ko: tuple[tuple[float, ...], ...] = _EN_TO_KO

    def identity(self) -> str:
        """The first 12 digits of the SHA-256 over labels and matrices."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @model_validator(mode="after")
    def _check(self) -> Projection:
        for name, labels in (("ko_labels", self.ko_labels), ("en_labels", self.en_labels)):
            if len(set(labels)) != len(labels) or not labels:
                raise ValueError(f"{name} must hold at least one label and none twice")
        for name, matrix, rows, columns in (
            ("ko_to_en", self.ko_to_en, len(self.en_labels), len(self.ko_labels)),
            ("en_to_ko", self.en_to_ko, len(self.ko_labels), len(self.en_labels)),
        ):
            if len(matrix) != rows or any(len(row) != columns for row in matrix):
                raise ValueError(f"{name} must be {rows} rows of {columns} numbers")
            if any(entry < 0 for row in matrix for entry in row):
                raise ValueError(f"{name} must not hold a negative number")
        return self

    @classmethod
    def load(cls, path: Path | None) -> Projection:
        """Read a projection file, or give the original's projection when there is none.

        Raises:
            InvalidConfiguration: the file is missing, no JSON, or breaks a rule above.
        """
        if path is None:
            return cls()
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InvalidConfiguration(f"projection file {path.name}: {reason}") from error
        except ValidationError as error:
            raise InvalidConfiguration(f"projection file {path.name}: {reasons(error)}") from error


def reasons(error: ValidationError) -> str:
    """What breaks which rule, in one line."""
    return "; ".join(" ".join([*map(str, detail["loc"]), detail["msg"]]) for detail in error.errors(include_url=False))


def normalise(vector: Vector) -> Vector:
    """N(v) of the reference: clip to [1e-12, 1], then divide by the sum. float64 in and out, shape (…, n)."""
    clipped = np.clip(vector, 1e-12, 1.0)
    normalised: Vector = clipped / clipped.sum(axis=-1, keepdims=True)
    return normalised


def vote(probabilities: Sequence[Sequence[float]], n_labels: int) -> Vector:
    """Count each sentence for its most probable label.

    Args:
        probabilities: one row per sentence, in the text model's label order; at least one row.
        n_labels: number of labels.

    Returns:
        Share of votes per label, shape (n_labels,), rounded to a hundredth of a percent as the original does.
    """
    counts = np.bincount(np.argmax(np.asarray(probabilities), axis=1), minlength=n_labels)
    shares: Vector = np.round(counts / counts.sum() * 100, 2) / 100
    return shares


@dataclass(frozen=True, slots=True, eq=False)
class Fusion:
    """The fusion for two concrete models, whose labels are matched to the projection by name.

    Args:
        projection: label spaces and matrices.
        text_labels: the text model's labels in its own order.
        voice_labels: the voice model's labels in its own order.
        text_weight: weight of the words, 0..1.
        voice_weight: weight of the voice, 0..1.
        text_pooling: how sentences become one text vector: `votes`, the reference's, or the `mean` of their
            probabilities.

    Raises:
        UnknownLabel: a model has a label that the projection does not know, or one label twice.
    """

    projection: Projection
    text_labels: tuple[str, ...]
    voice_labels: tuple[str, ...]
    text_weight: float = 0.7
    voice_weight: float = 0.3
    text_pooling: TextPooling = "votes"

    def __post_init__(self) -> None:
        _indices("text", self.text_labels, self.projection.ko_labels)
        _indices("voice", self.voice_labels, self.projection.en_labels)

    def pool(self, sentences: Sequence[Sequence[float]]) -> Vector:
        """One text vector of all sentences, shape (n_text_labels,), sum 1 but for the rounding of votes.

        Args:
            sentences: the text model's probabilities, one row per sentence; at least one row.
        """
        if self.text_pooling == "mean":
            mean: Vector = np.mean(sentences, axis=0)
            return mean
        return vote(sentences, len(self.text_labels))

    def fuse(self, text: Vector | None, voice: Vector) -> Vector:
        """Fuse the two modalities.

        Args:
            text: a vector in the text model's label order, shape (…, n_text_labels), or None when no sentence was
                said: then the voice alone decides.
            voice: probabilities in the voice model's label order, shape (…, n_voice_labels).

        Returns:
            Probabilities in the text model's label order, shape (…, n_text_labels), sum 1.
        """
        return self.to_korean(self.fuse_english(text, voice))

    def fuse_english(self, text: Vector | None, voice: Vector | None) -> Vector:
        """Fuse as `fuse` does, but stop before the projection back. Without a voice the words alone decide.

        Returns:
            Probabilities in the order of the projection's `en_labels`, shape (…, n_en_labels), sum 1.
        """
        if text is None:
            if voice is None:
                raise ValueError("there is neither a text nor a voice vector")
            return normalise(self.voice_to_english(voice))
        if voice is None:
            return normalise(self.text_to_english(text))
        voice_en = self.voice_to_english(voice)
        return normalise(self.text_weight * self.text_to_english(text) + self.voice_weight * voice_en)

    def text_to_english(self, text: Vector) -> Vector:
        """Project a vector over the text model's labels, shape (…, n_text_labels), to shape (…, n_en_labels)."""
        ko = _indices("text", self.text_labels, self.projection.ko_labels)
        text_ko = np.zeros((*text.shape[:-1], len(self.projection.ko_labels)))
        text_ko[..., ko] = text
        return normalise(normalise(text_ko) @ np.asarray(self.projection.ko_to_en).T)

    def voice_to_english(self, voice: Vector) -> Vector:
        """Bring a vector over the voice model's labels, shape (…, n_voice_labels), to shape (…, n_en_labels)."""
        en = _indices("voice", self.voice_labels, self.projection.en_labels)
        voice_en = np.zeros((*voice.shape[:-1], len(self.projection.en_labels)))
        voice_en[..., en] = voice
        return normalise(voice_en)

    def to_korean(self, english: Vector) -> Vector:
        """Project a vector of shape (…, n_en_labels) to the text model's labels, shape (…, n_text_labels)."""
        ko = _indices("text", self.text_labels, self.projection.ko_labels)
        fused_ko = normalise(english @ np.asarray(self.projection.en_to_ko).T)
        return normalise(fused_ko[..., ko])


def _indices(modality: str, labels: Sequence[str], known: Sequence[str]) -> list[int]:
    for label in labels:
        if label not in known:
            raise UnknownLabel(
                f"the {modality} model has the label {label!r}, which the projection does not know "
                f"(it knows {', '.join(known)}); name another projection in MAEUM_PROJECTION_FILE"
            )
    if len(set(labels)) != len(labels):
        raise UnknownLabel(f"the {modality} model names a label twice: {', '.join(labels)}")
    return [known.index(label) for label in labels]
