"""Fit a calibration on clips whose emotion is known, and say by cross-validation whether it is worth having."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold

from maeum.calibration import Calibration, Fit, Quality, Space, Stacked, log_features, soften
from maeum.errors import InvalidManifest
from maeum.evaluation.journal import Prediction
from maeum.evaluation.manifest import Clip
from maeum.evaluation.metrics import Ints, mean_log_loss, reliability, summary_figures
from maeum.evaluation.predict import Models
from maeum.evaluation.spaces import label_spaces, text_in_space, voice_in_space
from maeum.fusion import Fusion, Vector, vote
from maeum.stages import Failure

MIN_CLIPS_PER_LABEL = 3
MAX_FOLDS = 5
FIXED_WEIGHTS = (0.7, 0.3)  # the reference's
_LOG_TEMPERATURES = (float(np.log(0.05)), float(np.log(20)))
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Clips with words, and their labels in one space.

    Attributes:
        space: whose labels they are.
        true: number of the true label in the space, shape (n_clips,).
        sentences: probabilities of each clip's sentences, each of shape (n_sentences, n_text_labels).
        voice: probabilities of the voice, shape (n_clips, n_voice_labels).
        speakers: who speaks in each clip, or None when the manifest does not say.
    """

    space: Space
    true: Ints
    sentences: tuple[Vector, ...]
    voice: Vector
    speakers: tuple[str, ...] | None

    def take(self, indices: Ints) -> Examples:
        """Those clips alone; speakers are left out."""
        return Examples(
            self.space, self.true[indices], tuple(self.sentences[index] for index in indices), self.voice[indices], None
        )

    def text(self, temperature: float) -> Vector:
        """Mean of the softened sentence probabilities, shape (n_clips, n_text_labels)."""
        counts = np.array([len(rows) for rows in self.sentences])
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        softened = soften(np.concatenate(self.sentences), temperature)
        return np.asarray(np.add.reduceat(softened, starts, axis=0) / counts[:, np.newaxis])

    def votes(self) -> Vector:
        """The reference's text vectors, shape (n_clips, n_text_labels)."""
        return np.array([vote(rows.tolist(), rows.shape[1]) for rows in self.sentences])


def calibrate(clips: Sequence[Clip], outcomes: Sequence[Prediction | Failure], models: Models) -> Calibration:
    """Fit both temperatures and both ways of fusing, and choose the one with the lower cross-validated log loss.

    A regression that has not seen a label would never answer it: without clips of every label the weights are chosen.

    Args:
        clips: of a manifest; those with an emotion are used.
        outcomes: one per clip, in order. Failures and clips without words are left out.
        models: that made them.

    Raises:
        InvalidManifest: labels of both spaces, too few clips of a label, or too few speakers.
    """
    examples, n_without_speech = _examples(clips, outcomes, models)
    labels = label_spaces(models.fusion)[examples.space]
    counts = Counter(labels[index] for index in examples.true)
    folds = _folds(examples, counts)
    held_out: dict[str, Vector] = {name: np.zeros((len(examples.true), len(labels))) for name in ("weights", "stacked")}
    for train, test in folds:
        fitted = _fit(examples.take(train), models, "weights")
        for name, vectors in held_out.items():
            vectors[test] = _fused(fitted, examples.take(test), models.fusion, stacked=name == "stacked")
    fixed = replace(models.fusion, text_weight=FIXED_WEIGHTS[0], voice_weight=FIXED_WEIGHTS[1])
    english = fixed.fuse_english(examples.votes(), examples.voice)
    quality = {
        "fixed": _quality(examples.true, english if examples.space == "english" else fixed.to_korean(english)),
        **{name: _quality(examples.true, vectors) for name, vectors in held_out.items()},
    }
    unseen = [label for label in labels if not counts[label]]
    stacked_wins = not unseen and quality["stacked"].log_loss < quality["weights"].log_loss
    fitted = _fit(examples, models, "stacked" if stacked_wins else "weights")
    fit = Fit(
        n_clips=len(examples.true),
        n_clips_per_label={label: counts[label] for label in labels if counts[label]},
        n_without_speech=n_without_speech,
        n_folds=len(folds),
        speakers_kept_apart=examples.speakers is not None,
        quality=quality,
        reason=_reason(quality, fitted.fusion, unseen),
    )
    # Not model_copy: what goes into the file must pass its own checks.
    return Calibration.model_validate({**dict(fitted), "fit": fit})


def _reason(quality: dict[str, Quality], chosen: str, unseen: Sequence[str]) -> str:
    other = "weights" if chosen == "stacked" else "stacked"
    losses = f"{quality[chosen].log_loss:.3f}, {other} {quality[other].log_loss:.3f}"
    reason = (
        f"no clip is {', '.join(unseen)}, which stacked fusion would then never answer; cross-validated log loss of "
        f"{chosen} fusion: {losses}"
        if unseen
        else f"{chosen} fusion has the lower cross-validated log loss: {losses}"
    )
    if quality["fixed"].log_loss <= quality[chosen].log_loss:
        reason += f"; but the fixed weights have {quality['fixed'].log_loss:.3f}, so better use no calibration"
    return reason


def _examples(clips: Sequence[Clip], outcomes: Sequence[Prediction | Failure], models: Models) -> tuple[Examples, int]:
    pairs = [
        (clip, outcome)
        for clip, outcome in zip(clips, outcomes, strict=True)
        if clip.emotion is not None and isinstance(outcome, Prediction)
    ]
    spoken = [(clip, prediction) for clip, prediction in pairs if prediction.sentences]
    if not spoken:
        raise InvalidManifest("no clip of the manifest has both an emotion and words", code="too_few_clips")
    named = {str(clip.emotion) for clip, _ in spoken}
    spaces = label_spaces(models.fusion)
    space = next((space for space, labels in spaces.items() if named <= set(labels)), None)
    if space is None:
        raise InvalidManifest("the manifest has emotions of both label spaces: calibrate on one of them at a time")
    speakers = [clip.speaker for clip, _ in spoken]
    silent = next((clip for clip, _ in spoken if clip.speaker is None), None)
    if silent is not None and any(speakers):
        raise InvalidManifest(f"line {silent.line} of the manifest names no speaker, others do")
    examples = Examples(
        space=space,
        true=np.array([spaces[space].index(str(clip.emotion)) for clip, _ in spoken], dtype=np.int64),
        sentences=tuple(np.asarray(prediction.sentences) for _, prediction in spoken),
        voice=np.array([prediction.voice for _, prediction in spoken]),
        speakers=None if silent is not None else tuple(str(speaker) for speaker in speakers),
    )
    return examples, len(pairs) - len(spoken)


def _folds(examples: Examples, counts: Counter[str]) -> list[tuple[Ints, Ints]]:
    if len(counts) < 2:
        raise InvalidManifest("calibrating needs clips of at least two labels", code="too_few_clips")
    few = {label: count for label, count in counts.items() if count < MIN_CLIPS_PER_LABEL}
    if few:
        raise InvalidManifest(
            f"calibrating needs at least {MIN_CLIPS_PER_LABEL} clips with words of each label that the manifest "
            f"names; there are {', '.join(f'{count} of {label}' for label, count in few.items())}",
            code="too_few_clips",
        )
    folds: Iterator[tuple[Ints, Ints]]
    if examples.speakers is None:
        splitter = StratifiedKFold(min(MAX_FOLDS, *counts.values()), shuffle=True, random_state=_SEED)
        folds = splitter.split(examples.voice, examples.true)
    else:
        n_speakers = len(set(examples.speakers))
        if n_speakers < 2:
            raise InvalidManifest(
                "one speaker cannot be kept apart from himself: name two or none", code="too_few_clips"
            )
        folds = GroupKFold(min(MAX_FOLDS, n_speakers)).split(examples.voice, groups=examples.speakers)
    found = list(folds)
    if any(len(np.unique(examples.true[train])) < 2 for train, _ in found):
        raise InvalidManifest("without one speaker's clips a single label is left: add speakers", code="too_few_clips")
    return found


def _fit(examples: Examples, models: Models, way: str) -> Calibration:
    fusion, space = models.fusion, examples.space
    text_temperature = _temperature(
        lambda temperature: text_in_space(fusion, space, examples.text(temperature)), examples.true
    )
    voice_temperature = _temperature(
        lambda temperature: voice_in_space(fusion, space, soften(examples.voice, temperature)), examples.true
    )
    text, voice = examples.text(text_temperature), soften(examples.voice, voice_temperature)

    def loss(weight: float) -> float:
        english = replace(fusion, text_weight=weight, voice_weight=1 - weight).fuse_english(text, voice)
        return mean_log_loss(examples.true, english if space == "english" else fusion.to_korean(english))

    weight = float(minimize_scalar(loss, bounds=(0, 1), method="bounded").x)
    return Calibration.model_validate(
        {
            "space": space,
            "models": models.identities,
            "text_labels": fusion.text_labels,
            "voice_labels": fusion.voice_labels,
            "text_temperature": text_temperature,
            "voice_temperature": voice_temperature,
            "text_weight": weight,
            "voice_weight": 1 - weight,
            "fusion": way,
            "stacked": _stack(log_features(text, voice), examples.true, label_spaces(fusion)[space]),
        }
    )


def _temperature(soften_by: Callable[[float], Vector], true: Ints) -> float:
    """The temperature with the least log loss."""
    found = minimize_scalar(
        lambda log_temperature: mean_log_loss(true, soften_by(float(np.exp(log_temperature)))),
        bounds=_LOG_TEMPERATURES,
        method="bounded",
    )
    return float(np.exp(found.x))


def _stack(features: Vector, true: Ints, labels: Sequence[str]) -> Stacked:
    regression = LogisticRegression(max_iter=10_000).fit(features, true)
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two labels: the second against the first
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    return Stacked(
        labels=tuple(labels[index] for index in regression.classes_),
        coefficients=tuple(tuple(row) for row in coefficients.tolist()),
        intercepts=tuple(intercepts.tolist()),
    )


def _fused(fitted: Calibration, examples: Examples, fusion: Fusion, *, stacked: bool) -> Vector:
    way = fitted.model_copy(update={"fusion": "stacked" if stacked else "weights"})
    text, voice = examples.text(fitted.text_temperature), soften(examples.voice, fitted.voice_temperature)
    english, korean = way.fuse(fusion, text, voice)
    return english if examples.space == "english" else korean


def _quality(true: Ints, vectors: Vector) -> Quality:
    given = vectors.argmax(axis=1)
    accuracy, macro_f1, uar = summary_figures(true, given)
    ece, _ = reliability(true == given, vectors.max(axis=1))
    return Quality(
        accuracy=accuracy, macro_f1=macro_f1, uar=uar, log_loss=mean_log_loss(true, vectors), ece=float(ece or 0)
    )
