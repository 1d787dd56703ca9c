"""From predictions to scores, and from scores to the files of a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import maeum
from maeum.calibration import Calibration, Space, combine
from maeum.evaluation.journal import Prediction
from maeum.evaluation.judged import FailedClip, Judged, score_heard
from maeum.evaluation.manifest import Clip
from maeum.evaluation.metrics import Difference, Scores, difference, score
from maeum.evaluation.predict import Models
from maeum.evaluation.slices import Slice, slices
from maeum.evaluation.spaces import label_spaces, text_in_space, voice_in_space
from maeum.evaluation.transcripts import TranscriptScores
from maeum.files import as_text, private, replacing
from maeum.fusion import Fusion, Vector
from maeum.stages import Failure

MIN_SPEAKERS = 5  # to draw them with all their clips: of fewer there are too few mixtures


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """Scores against the labels of one space.

    Attributes:
        labels: of the space.
        n_without_speech: clips where nothing was said. They have no text vector: `text` leaves them out, and `fused`
            is the voice alone.
        n_right_by_voice_alone: those of them where that answer is right.
        by_modality: `text`, `text, mean` (of the sentences' probabilities, where `text` may be votes), `voice,
            projected` and `fused` for Korean labels, `text, projected`, `voice` and `fused` for English ones; None
            where no clip is left to score. Rows that are words only have no voice, and nothing to fuse.
        drawn_by: of each modality and of each difference (`fused less …`): `speakers` where intervals draw them with
            all their clips, or `clips`.
        fused_less: `fused` less each of the others, on the clips that both answer.
    """

    labels: tuple[str, ...]
    n_without_speech: int
    n_right_by_voice_alone: int
    by_modality: dict[str, Scores | None]
    drawn_by: dict[str, str]
    fused_less: dict[str, Difference | None]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All that a report says.

    Attributes:
        manifest: name of the file.
        models: how answers name them.
        fusion: how words and voice were brought together, in words.
        notes: what makes the figures seem better than they are.
        outcomes: every clip, in the manifest's order.
        transcripts: scores, or None without a reference.
        emotions: scores of each space that has a truth.
        transcripts_drawn_by: `speakers` or `clips`, as there.
        slices: by gender, language and speaker, where a column has several values.
    """

    manifest: str
    models: dict[str, str]
    fusion: str
    notes: tuple[str, ...]
    outcomes: tuple[Judged | FailedClip, ...]
    transcripts: TranscriptScores | None
    emotions: dict[Space, EmotionScores]
    transcripts_drawn_by: str
    slices: tuple[Slice, ...]

    @property
    def judged(self) -> tuple[Judged, ...]:
        """The clips that have a prediction."""
        return tuple(one for one in self.outcomes if isinstance(one, Judged))

    @property
    def failed(self) -> tuple[FailedClip, ...]:
        """The clips that have none."""
        return tuple(one for one in self.outcomes if isinstance(one, FailedClip))

    def metrics(self) -> dict[str, Any]:
        """The contents of `metrics.json`."""
        return {
            "maeum": maeum.__version__,
            "manifest": self.manifest,
            "models": self.models,
            "fusion": self.fusion,
            "notes": self.notes,
            "n_clips": len(self.outcomes),
            "n_failed": len(self.failed),
            "failed": [{"path": one.clip.path, "code": one.code, "message": one.message} for one in self.failed],
            "transcripts": None if self.transcripts is None else asdict(self.transcripts),
            "emotions": {space: asdict(scores) for space, scores in self.emotions.items()},
            "transcripts_drawn_by": self.transcripts_drawn_by,
            "slices": [asdict(one) for one in self.slices],
        }


def judge(
    manifest: Path,
    clips: Sequence[Clip],
    outcomes: Sequence[Prediction | Failure],
    models: Models,
    calibration: Calibration | None,
) -> Evaluation:
    """Score predictions against the manifest.

    Args:
        manifest: for its name.
        clips: of the manifest.
        outcomes: one per clip, in order.
        models: that made them.
        calibration: applied as the service would.
    """
    judged: list[Judged] = []
    all_in_order: list[Judged | FailedClip] = []
    for clip, outcome in zip(clips, outcomes, strict=True):
        if isinstance(outcome, Failure):
            all_in_order.append(FailedClip(clip, outcome.code, outcome.message))
        else:
            voice = None if outcome.voice is None else np.asarray(outcome.voice)
            judged.append(Judged(clip, outcome, combine(models.fusion, calibration, outcome.sentences, voice)))
            all_in_order.append(judged[-1])
    heard = [one for one in judged if one.has_reference]
    drawn_with, drawn_by = _drawn_with(heard, np.full(len(heard), fill_value=True))
    spaces = label_spaces(models.fusion)
    scores = {space: _score_space(space, labels, judged, models) for space, labels in spaces.items()}
    return Evaluation(
        manifest=as_text(manifest.name),
        models={str(kind): name for kind, name in models.names.items()},
        fusion=_how_fused(models.fusion, calibration),
        notes=tuple(_notes(judged, calibration)),
        outcomes=tuple(all_in_order),
        transcripts=score_heard(heard, drawn_with),
        emotions={space: found for space, found in scores.items() if found is not None},
        transcripts_drawn_by=drawn_by,
        slices=tuple(slices(judged, spaces)),
    )


def _how_fused(fusion: Fusion, calibration: Calibration | None) -> str:
    if calibration is not None:
        return f"calibration: {calibration.fusion}, fitted on {calibration.space} labels"
    return f"weights {fusion.text_weight:g} and {fusion.voice_weight:g}, sentences by {fusion.text_pooling}"


def _drawn_with(judged: Sequence[Judged], counted: NDArray[np.bool_]) -> tuple[list[object], str]:
    """What each clip is drawn with for intervals of those that count, and how that is called."""
    speakers: list[object] = [one.clip.speaker for one in judged]
    counting = {speaker for speaker, counts in zip(speakers, counted, strict=True) if counts}
    if None not in counting and len(counting) >= MIN_SPEAKERS:
        return speakers, "speakers"
    return list(range(len(judged))), "clips"


def _notes(judged: Sequence[Judged], calibration: Calibration | None) -> Iterator[str]:
    contents = [one.prediction.content for one in judged]
    n_repeated = len(contents) - len(set(contents))
    if n_repeated:
        yield f"{n_repeated} of {len(contents)} clips repeat another's content: intervals are too narrow"
    fitted_on = set(calibration.fit.contents if calibration is not None and calibration.fit is not None else ())
    n_seen = sum(one in fitted_on for one in contents)
    if n_seen:
        yield f"the calibration was fitted on {n_seen} of these {len(contents)} clips: what it changes is flattered"


def _score_space(
    space: Space, labels: tuple[str, ...], judged: Sequence[Judged], models: Models
) -> EmotionScores | None:
    labelled = [one for one in judged if one.clip.emotion in labels]
    if not labelled:
        return None
    truth = [str(one.clip.emotion) for one in labelled]
    spoken = np.array([one.emotions.text is not None for one in labelled])
    fusion, n_labels = models.fusion, len(labels)
    text = _rows([one.emotions.text for one in labelled], n_labels, partial(text_in_space, fusion, space))
    voice = _rows([one.emotions.voice for one in labelled], n_labels, partial(voice_in_space, fusion, space))
    answers = _rows([one.answer(space) for one in labelled], n_labels)
    if space == "korean":
        read = [one.prediction.sentences for one in labelled]
        means = [np.mean(rows, axis=0) if rows else None for rows in read]
        alone = {"text": text, "text, mean": _rows(means, n_labels), "voice, projected": voice}
    else:
        alone = {"text, projected": text, "voice": voice}
    ways = alone | {"fused": answers}
    answered = {name: np.asarray(np.isfinite(rows).all(axis=1)) for name, rows in ways.items()}
    drawn = {name: _drawn_with(labelled, answered[name]) for name in ways}
    drawn |= {f"fused less {name}": _drawn_with(labelled, answered[name] & answered["fused"]) for name in alone}
    return EmotionScores(
        labels=labels,
        n_without_speech=int((~spoken).sum()),
        n_right_by_voice_alone=sum(
            bool(one.is_right(labels, one.answer(space))) for one in labelled if one.emotions.text is None
        ),
        by_modality={name: score(labels, truth, rows, drawn[name][0]) for name, rows in ways.items()},
        drawn_by={name: drawn_by for name, (_, drawn_by) in drawn.items()},
        fused_less={
            name: difference(labels, truth, answers, rows, drawn[f"fused less {name}"][0])
            for name, rows in alone.items()
        },
    )


def _rows(vectors: Sequence[Vector | None], n_labels: int, project: Callable[[Vector], Vector] = np.asarray) -> Vector:
    """Vectors after a projection to a space, shape (n_clips, n_labels); NaN where there is none."""
    rows = np.full((len(vectors), n_labels), np.nan)
    for row, vector in zip(rows, vectors, strict=True):
        if vector is not None:
            row[:] = project(vector)
    return rows


def write_report(evaluation: Evaluation, models: Models, out: Path) -> None:
    """Write `metrics.json`, `predictions.parquet` and `report.html` into a folder; nobody else may read them.

    Raises:
        OSError: the folder cannot be written.
    """
    from maeum.evaluation.report import render
    from maeum.evaluation.table import write_table

    out.mkdir(parents=True, exist_ok=True)
    metrics = json.dumps(evaluation.metrics(), ensure_ascii=False, indent=2, allow_nan=False)
    for name, text in (("metrics.json", metrics + "\n"), ("report.html", render(evaluation))):
        with replacing(out / name, private) as stream:
            stream.write(text.encode())
    write_table(evaluation, models.fusion, out / "predictions.parquet")
