"""Fit a calibration on clips whose emotion is known, and say by cross-validation whether it is worth having."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from maeum.calibration import LOG_FLOOR, Calibration, Fit, Quality, Space, Stacked, log_features, soften
from maeum.errors import InvalidManifest
from maeum.evaluation.intervals import Ints
from maeum.evaluation.journal import Prediction
from maeum.evaluation.manifest import Clip
from maeum.evaluation.metrics import mean_log_loss, reliability, summary_figures
from maeum.evaluation.predict import Models
from maeum.evaluation.spaces import label_spaces, text_in_space, voice_in_space
from maeum.fusion import Fusion, Vector, vote
from maeum.stages import Failure

MIN_CLIPS_PER_LABEL = 3
MAX_FOLDS, FOLDS_WITHIN = 5, 3
FEW_CLIPS = 20
FIXED_WEIGHTS = (0.7, 0.3)  # the reference's
_COLDEST, _COLD, _WARMEST = 0.05, 0.25, 20.0
STRENGTHS = (1.0, 0.3, 0.1, 0.03)
"""Inverse strengths of the stacked regression's regularisation, scikit-learn's `C`: of few clips, or few speakers, it
learns by heart what it is not kept from."""
_TINY = float(np.finfo(np.float64).tiny)
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Clips with words, and their labels in one space.

    Attributes:
        space: whose labels they are.
        true: number of the true label in the space, shape (n_clips,).
        sentences: probabilities of each clip's sentences, each of shape (n_sentences, n_text_labels).
        voice: probabilities of the voice, shape (n_clips, n_voice_labels).
        groups: clips of one group are never on both sides of a fold: they have the same speaker or, where the manifest
            names none, the same content.
    """

    space: Space
    true: Ints
    sentences: tuple[Vector, ...]
    voice: Vector
    groups: tuple[str, ...]

    def take(self, indices: Ints) -> Examples:
        """Those clips alone."""
        sentences, groups = (tuple(many[index] for index in indices) for many in (self.sentences, self.groups))
        return Examples(self.space, self.true[indices], sentences, self.voice[indices], groups)

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
        InvalidManifest: as `check_clips`, of those that have words.
    """
    labelled = [pair for pair in zip(clips, outcomes, strict=True) if pair[0].emotion is not None]
    answered = [(clip, outcome) for clip, outcome in labelled if isinstance(outcome, Prediction)]
    spoken = [(clip, prediction) for clip, prediction in answered if prediction.sentences]
    space = check_clips([clip for clip, _ in spoken], models.fusion)
    by_speaker = spoken[0][0].speaker is not None
    labels = label_spaces(models.fusion)[space]
    examples = Examples(
        space=space,
        true=np.array([labels.index(str(clip.emotion)) for clip, _ in spoken], dtype=np.int64),
        sentences=tuple(np.asarray(prediction.sentences) for _, prediction in spoken),
        voice=np.array([prediction.voice for _, prediction in spoken]),
        groups=tuple(str(clip.speaker) if by_speaker else prediction.content for clip, prediction in spoken),
    )
    counts = Counter(labels[index] for index in examples.true)
    owner = {
        "models": models.identities,
        "projection": models.fusion.projection.identity(),
        "voice_pooling": models.voice_pooling,
    }
    folds = _folds(examples)
    if not folds:
        raise InvalidManifest("all clips are the same one", code="too_few_clips")
    if any(len(np.unique(examples.true[train])) < 2 for train, _ in folds):
        raise InvalidManifest("a fold has a single label to learn: add clips, or speakers", code="too_few_clips")
    ways = ("weights", "stacked", "text alone", "voice alone")
    held_out: dict[str, Vector] = {name: np.zeros((len(examples.true), len(labels))) for name in ways}
    for train, test in folds:
        fitted, tested = _fit(examples.take(train), models.fusion, owner, "weights"), examples.take(test)
        for name in ("weights", "stacked"):
            held_out[name][test] = _fused(fitted, tested, models.fusion, stacked=name == "stacked")
        text, voice = _softened(fitted, tested)
        held_out["text alone"][test] = text_in_space(models.fusion, space, text)
        held_out["voice alone"][test] = voice_in_space(models.fusion, space, voice)
    fixed = replace(models.fusion, text_weight=FIXED_WEIGHTS[0], voice_weight=FIXED_WEIGHTS[1])
    english = fixed.fuse_english(examples.votes(), examples.voice)
    quality = {
        "fixed": _quality(examples.true, english if examples.space == "english" else fixed.to_korean(english)),
        **{name: _quality(examples.true, vectors) for name, vectors in held_out.items()},
    }
    unseen = [label for label in labels if not counts[label]]
    stacked_wins = not unseen and quality["stacked"].log_loss < quality["weights"].log_loss
    fitted = _fit(examples, models.fusion, owner, "stacked" if stacked_wins else "weights")
    warnings = [*_unlearned(examples.true, folds, labels), *_at_a_bound(fitted)]
    if min(counts.values()) < FEW_CLIPS:
        warnings.append(f"some labels have fewer than {FEW_CLIPS} clips: take this for a trial")
    fit = Fit(
        n_clips=len(examples.true),
        n_clips_per_label={label: counts[label] for label in labels if counts[label]},
        n_without_speech=len(answered) - len(spoken),
        n_folds=len(folds),
        speakers_kept_apart=by_speaker,
        quality=quality,
        reason=_reason(quality, fitted.fusion, unseen),
        warnings=tuple(warnings),
        contents=tuple(sorted({prediction.content for _, prediction in spoken})),
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
    for alone in ("text alone", "voice alone"):
        if quality[alone].log_loss < quality[chosen].log_loss:
            reason += f"; {alone} has {quality[alone].log_loss:.3f}: by log loss fusing is no gain on these clips"
    return reason


def check_clips(clips: Sequence[Clip], fusion: Fusion) -> Space:
    """Refuse clips that no calibration can be fitted on; worth doing before the models are asked.

    Args:
        clips: with an emotion.
        fusion: knows the labels.

    Returns:
        The space that all emotions are of.

    Raises:
        InvalidManifest: labels of both spaces, too few clips of a label, some clips without a speaker, or one speaker.
    """
    if not clips:
        raise InvalidManifest("no clip of the manifest has sound, an emotion and words", code="too_few_clips")
    counts = Counter(str(clip.emotion) for clip in clips)
    space = next((space for space, labels in label_spaces(fusion).items() if set(counts) <= set(labels)), None)
    if space is None:
        raise InvalidManifest("the manifest has emotions of both label spaces: calibrate on one of them at a time")
    if len(counts) < 2:
        raise InvalidManifest("calibrating needs clips of at least two labels", code="too_few_clips")
    few = {label: count for label, count in counts.items() if count < MIN_CLIPS_PER_LABEL}
    if few:
        raise InvalidManifest(
            f"calibrating needs at least {MIN_CLIPS_PER_LABEL} clips with words of each label that the manifest "
            f"names; there are {', '.join(f'{count} of {label}' for label, count in few.items())}",
            code="too_few_clips",
        )
    speakers = {clip.speaker for clip in clips}
    silent = next((clip for clip in clips if clip.speaker is None), None)
    if silent is not None and len(speakers) > 1:
        raise InvalidManifest(f"line {silent.line} of the manifest names no speaker, others do")
    if silent is None and len(speakers) == 1:
        raise InvalidManifest("one speaker cannot be kept apart from himself: name two or none", code="too_few_clips")
    return space


def _folds(examples: Examples, most: int = MAX_FOLDS) -> list[tuple[Ints, Ints]]:
    """Clips to learn from and to be tested on; none where there are too few to divide."""
    n_folds = min(most, len(set(examples.groups)), *np.unique_counts(examples.true).counts.tolist())
    if n_folds < 2:
        return []
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=_SEED)
    folds = splitter.split(examples.voice, examples.true, examples.groups)
    return [(train, test) for train, test in folds if len(test)]


def _unlearned(true: Ints, folds: Sequence[tuple[Ints, Ints]], labels: Sequence[str]) -> Iterator[str]:
    """A label that some fold was tested on without having learned it, as when one speaker has all its clips."""
    for index in sorted({int(index) for train, test in folds for index in set(true[test]) - set(true[train])}):
        yield (
            f"all that is {labels[index]} was in one fold, which could not learn it before it was tested on it: the "
            "cross-validated figures are worse than they should be, most of all those of stacked fusion; add clips of "
            "it by others"
        )


def _at_a_bound(fitted: Calibration) -> Iterator[str]:
    for modality, temperature in (("text", fitted.text_temperature), ("voice", fitted.voice_temperature)):
        if temperature > _WARMEST / 1.01:
            yield (
                f"the temperature of {modality} is at its bound of {_WARMEST:g}: taken at its word, it hardly tells "
                "these labels apart"
            )
        if temperature < _COLDEST * 1.01:
            yield f"the temperature of {modality} is at its bound of {_COLDEST:g}: there are too few clips to doubt it"
        elif temperature < _COLD:
            yield (
                f"the temperature of {modality}, {temperature:.2f}, makes it surer than these clips can show: "
                "add clips that it gets wrong"
            )


def _fit(examples: Examples, fusion: Fusion, owner: Mapping[str, Any], way: str) -> Calibration:
    space = examples.space
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
            **owner,
            "text_labels": fusion.text_labels,
            "voice_labels": fusion.voice_labels,
            "text_temperature": text_temperature,
            "voice_temperature": voice_temperature,
            "text_weight": weight,
            "voice_weight": 1 - weight,
            "fusion": way,
            "stacked": _stack(log_features(text, voice), examples, label_spaces(fusion)[space]),
        }
    )


def _temperature(soften_by: Callable[[float], Vector], true: Ints) -> float:
    """The temperature with the least log loss of labels that are doubted a little.

    As in Platt scaling (1999), of n clips another could be the first error: a share of 1 / (n + 2) of each label is
    spread over all. Otherwise clips without an error would be softened by as little as there is, and the first error
    elsewhere would outweigh a hundred others.
    """
    doubt = 1 / (len(true) + 2)

    def loss(log_temperature: float) -> float:
        probabilities = soften_by(float(np.exp(log_temperature)))
        spread = -float(np.log(np.maximum(probabilities, _TINY)).mean())
        return (1 - doubt) * mean_log_loss(true, probabilities) + doubt * spread

    found = minimize_scalar(
        loss,
        bounds=(np.log(_COLDEST), np.log(_WARMEST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def _stack(features: Vector, examples: Examples, labels: Sequence[str]) -> Stacked:
    """The regression, regularised as does best on folds of these examples."""
    folds = [
        (train, test) for train, test in _folds(examples, FOLDS_WITHIN) if len(np.unique(examples.true[train])) > 1
    ]

    def loss(how: tuple[float, bool]) -> float:
        unseen = np.zeros((len(features), len(labels)))
        for train, test in folds:
            regression = _regress(features[train], examples.true[train], *how)
            unseen[np.ix_(test, regression.classes_)] = regression.predict_proba(features[test])
        tested = np.concatenate([test for _, test in folds])
        return mean_log_loss(examples.true[tested], np.maximum(unseen[tested], LOG_FLOOR))

    with threadpool_limits(1):  # many small fits: a second thread would mostly wait, on a busy machine for long
        ways = list(product(STRENGTHS, (False, True)))
        strength, standardised = min(ways, key=loss) if folds else ways[0]
        scaler, regression = _regress(features, examples.true, strength, standardised).named_steps.values()
    coefficients = regression.coef_ / (scaler.scale_ if standardised else 1.0)
    intercepts = regression.intercept_ - coefficients @ scaler.mean_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two labels: the second against the first
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    return Stacked(
        labels=tuple(labels[index] for index in regression.classes_),
        coefficients=tuple(tuple(row) for row in coefficients.tolist()),
        intercepts=tuple(intercepts.tolist()),
        regularisation_c=strength,
        standardised=standardised,
    )


def _regress(features: Vector, true: Ints, strength: float, standardised: bool) -> Pipeline:
    """Fit it to features that keep their scale, or do not.

    A temperature softens a modality by how well the projection maps it. Where that is not well, its features are small
    and regularised away, though they may tell the labels apart in their own way; of one scale with the others they are
    not.
    """
    scaler = StandardScaler(with_std=standardised)
    return make_pipeline(scaler, LogisticRegression(C=strength, max_iter=10_000)).fit(features, true)


def _fused(fitted: Calibration, examples: Examples, fusion: Fusion, *, stacked: bool) -> Vector:
    way = fitted.model_copy(update={"fusion": "stacked" if stacked else "weights"})
    english, korean = way.fuse(fusion, *_softened(fitted, examples))
    return english if examples.space == "english" else korean


def _softened(fitted: Calibration, examples: Examples) -> tuple[Vector, Vector]:
    return examples.text(fitted.text_temperature), soften(examples.voice, fitted.voice_temperature)


def _quality(true: Ints, vectors: Vector) -> Quality:
    given = vectors.argmax(axis=1)
    accuracy, macro_f1, uar = summary_figures(true, given)
    ece, _ = reliability(true == given, vectors.max(axis=1))
    return Quality(accuracy=accuracy, macro_f1=macro_f1, uar=uar, log_loss=mean_log_loss(true, vectors), ece=ece)
