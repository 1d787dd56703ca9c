"""A calibration that `maeum calibrate` fitted: its file, and how it takes the place of the reference's fusion.

A temperature T softens a model's probabilities: softmax(log p / T). The words' vector is then the mean over the
sentences, since a temperature cannot move the votes. Both vectors are fused by re-fitted weights, or by a stacked
multinomial logistic regression on their logarithms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maeum.errors import InvalidConfiguration
from maeum.fusion import Fusion, Vector, normalise, reasons
from maeum.settings import ModelKind

_VERSION: Final = 2

Space = Literal["korean", "english"]
Temperature = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, le=1)]

# Below float32's resolution a softmax's probabilities say nothing; their logarithms would drown the others.
LOG_FLOOR = 1e-7


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Stacked(_Frozen):
    """Multinomial logistic regression over log-probabilities.

    `coefficients` has one row per label and one column per feature: the words' log-probabilities in the order of the
    calibration's `text_labels`, then the voice's in that of `voice_labels`. Labels that no clip carried are missing.
    `regularisation_c` is scikit-learn's `C`, the inverse strength that did best within the clips; older files lack it.
    `standardised` tells whether all features were of one scale for it; the coefficients are for features as they are.
    """

    labels: tuple[str, ...]
    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    regularisation_c: float | None = None
    standardised: bool = False


class Quality(_Frozen):
    """How well one way of fusing does on clips that it was not fitted on."""

    accuracy: float
    macro_f1: float
    uar: float
    log_loss: float
    ece: float


class Fit(_Frozen):
    """What the calibration was fitted on, and how the three ways of fusing, and either modality alone, do there.

    `contents` tells the clips by hashes of their bytes: whoever evaluates on them again should know. `warnings` says
    what makes the fit less than it seems.
    """

    n_clips: int
    n_clips_per_label: dict[str, int]
    n_without_speech: int
    n_folds: int
    speakers_kept_apart: bool
    quality: dict[Literal["fixed", "weights", "stacked", "text alone", "voice alone"], Quality]
    reason: str
    warnings: tuple[str, ...]
    contents: tuple[str, ...]


class Calibration(_Frozen):
    """The file behind `MAEUM_CALIBRATION`.

    Attributes:
        version: of this layout.
        space: `korean` when it was fitted on the words' labels, `english` when on the voice's.
        models: identities of the models that it was fitted for: names, and a hash of their files.
        projection: identity of the projection that it was fitted under.
        voice_pooling: the setting that it was fitted under.
        text_labels: the text model's labels.
        voice_labels: the voice model's labels.
        text_temperature: softens each sentence's probabilities.
        voice_temperature: softens the voice's probabilities.
        text_weight: weight of the words, re-fitted.
        voice_weight: weight of the voice, re-fitted.
        fusion: which of the two ways of fusing is used.
        stacked: the regression, over the labels of `space`.
        fit: how it came about.
    """

    version: Literal[2] = _VERSION
    space: Space
    models: dict[ModelKind, str]
    projection: str
    voice_pooling: Literal["first", "windows"]
    text_labels: tuple[str, ...]
    voice_labels: tuple[str, ...]
    text_temperature: Temperature
    voice_temperature: Temperature
    text_weight: Weight
    voice_weight: Weight
    fusion: Literal["weights", "stacked"]
    stacked: Stacked | None
    fit: Fit | None = None

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        if self.text_weight + self.voice_weight <= 0:
            raise ValueError("text_weight and voice_weight must not both be 0")
        if len(self.models) != len(get_args(ModelKind)):
            raise ValueError("models must name speech, text and voice")
        for name, labels in (("text_labels", self.text_labels), ("voice_labels", self.voice_labels)):
            if len(set(labels)) != len(labels) or not labels:
                raise ValueError(f"{name} must hold at least one label and none twice")
        if self.stacked is None:
            if self.fusion == "stacked":
                raise ValueError("fusion is stacked, but there is no regression in stacked")
            return self
        rows, columns = len(self.stacked.labels), len(self.text_labels) + len(self.voice_labels)
        if len(set(self.stacked.labels)) != rows or not rows:
            raise ValueError("stacked.labels must hold at least one label and none twice")
        if len(self.stacked.coefficients) != rows or any(len(row) != columns for row in self.stacked.coefficients):
            raise ValueError(f"stacked.coefficients must be {rows} rows of {columns} numbers")
        if len(self.stacked.intercepts) != rows:
            raise ValueError(f"stacked.intercepts must be {rows} numbers")
        return self

    @classmethod
    def load(cls, path: Path | None) -> Calibration | None:
        """Read a calibration file, or give None when there is none.

        Raises:
            InvalidConfiguration: the file is missing, no JSON, of another version, or breaks a rule above.
        """
        if path is None:
            return None
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(facts, dict) and facts.get("version") != _VERSION:
                raise ValueError(f"its version is not {_VERSION}: run `maeum calibrate` again")
            return cls.model_validate(facts)
        except (OSError, ValueError, RecursionError) as error:
            reason = reasons(error) if isinstance(error, ValidationError) else getattr(error, "strerror", str(error))
            raise InvalidConfiguration(f"calibration file {path.name}: {reason}") from error

    def check_fits(self, fusion: Fusion, models: Mapping[str, str], voice_pooling: str) -> None:
        """Check that it was fitted for these models, brought together like this.

        Args:
            fusion: of the models.
            models: the identity of each. Of one in a folder its files count, not where it lies.
            voice_pooling: the setting.

        Raises:
            InvalidConfiguration: a model has other files or other labels, a label is not known, or the projection or
                the voice's pooling is another.
        """
        for what, fitted, given in (
            *((f"the {kind} model", identity, models[kind]) for kind, identity in self.models.items()),
            ("the projection", self.projection, fusion.projection.identity()),
            ("the voice pooling", self.voice_pooling, voice_pooling),
        ):
            if fitted.split(" sha256:")[-1] != given.split(" sha256:")[-1]:
                raise InvalidConfiguration(
                    f"the calibration was fitted for {what} {fitted}, not for {given}: "
                    "run `maeum calibrate` again, or unset MAEUM_CALIBRATION"
                )
        known = fusion.text_labels if self.space == "korean" else fusion.projection.en_labels
        for owner, mine, theirs in (
            ("text model", self.text_labels, fusion.text_labels),
            ("voice model", self.voice_labels, fusion.voice_labels),
            ("stacked fusion", self.stacked.labels if self.stacked else (), known),
        ):
            strangers = set(mine) - set(theirs) if owner == "stacked fusion" else set(mine) ^ set(theirs)
            if strangers:
                raise InvalidConfiguration(
                    f"the calibration and the models disagree on the labels of the {owner}: "
                    f"{', '.join(sorted(strangers))}; run `maeum calibrate` again, or unset MAEUM_CALIBRATION"
                )

    def fuse(self, fusion: Fusion, text: Vector | None, voice: Vector | None) -> tuple[Vector, Vector]:
        """Fuse vectors that are calibrated already.

        Args:
            fusion: labels and projection; its weights are not used.
            text: shape (…, n_text_labels) in the text model's order, or None when nothing was said: then the voice
                alone decides.
            voice: shape (…, n_voice_labels) in the voice model's order, or None where there are only words.

        Returns:
            The fused vectors over the projection's `en_labels` and over the text model's labels, each with sum 1.
            The stacked fusion gives the one of its space; the other is its projection.
        """
        if text is None or voice is None or self.fusion == "weights" or self.stacked is None:
            weighted = replace(fusion, text_weight=self.text_weight, voice_weight=self.voice_weight)
            english = weighted.fuse_english(text, voice)
            return english, fusion.to_korean(english)
        features = log_features(
            text[..., [fusion.text_labels.index(label) for label in self.text_labels]],
            voice[..., [fusion.voice_labels.index(label) for label in self.voice_labels]],
        )
        logits = features @ np.asarray(self.stacked.coefficients).T + np.asarray(self.stacked.intercepts)
        labels = fusion.text_labels if self.space == "korean" else fusion.projection.en_labels
        fused = np.zeros((*logits.shape[:-1], len(labels)))
        fused[..., [labels.index(label) for label in self.stacked.labels]] = _softmax(logits)
        fused = normalise(fused)
        if self.space == "korean":
            return fusion.text_to_english(fused), fused
        return fused, fusion.to_korean(fused)


@dataclass(frozen=True, slots=True, eq=False)
class Emotions:
    """What words and voice say alone and together; `text` is None when nothing was said, `voice` when nobody spoke.

    `text` and `korean` are in the text model's label order, `voice` in the voice model's, `english` in that of the
    projection's `en_labels`.
    """

    text: Vector | None
    voice: Vector | None
    english: Vector
    korean: Vector


def combine(
    fusion: Fusion, calibration: Calibration | None, sentences: Sequence[Sequence[float]], voice: Vector | None
) -> Emotions:
    """Go from the models' probabilities for one recording to its emotions.

    Args:
        fusion: the reference's fusion.
        calibration: applied when given; without it the reference's formula holds.
        sentences: the text model's probabilities, one row per sentence; none when nothing was said.
        voice: the voice model's probabilities, shape (n_voice_labels,); None for words that nobody spoke.
    """
    if calibration is None:
        text = fusion.pool(sentences) if sentences else None
        english = fusion.fuse_english(text, voice)
        return Emotions(text, voice, english, fusion.to_korean(english))
    text = soften(np.asarray(sentences), calibration.text_temperature).mean(axis=0) if sentences else None
    voice = None if voice is None else soften(voice, calibration.voice_temperature)
    english, korean = calibration.fuse(fusion, text, voice)
    return Emotions(text, voice, english, korean)


def soften(probabilities: Vector, temperature: float) -> Vector:
    """Apply a temperature: softmax(log p / T), shape (…, n_labels). 1 changes nothing, more makes less sure."""
    return _softmax(np.log(np.clip(probabilities, 1e-12, 1.0)) / temperature)


def log_features(text: Vector, voice: Vector) -> Vector:
    """Features of the stacked fusion: log-probabilities, shape (…, n_text_labels + n_voice_labels)."""
    features: Vector = np.log(np.clip(np.concatenate([text, voice], axis=-1), LOG_FLOOR, 1.0))
    return features


def _softmax(logits: Vector) -> Vector:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    softmax: Vector = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return softmax
