"""From predictions to scores, and from scores to the files of a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import maeum
from maeum.calibration import Calibration, Emotions, Space, combine
from maeum.evaluation.journal import Prediction
from maeum.evaluation.manifest import Clip
from maeum.evaluation.metrics import Scores, score
from maeum.evaluation.predict import Models
from maeum.evaluation.spaces import label_spaces, text_in_space, voice_in_space
from maeum.evaluation.transcripts import TranscriptScores, character_error_rate, score_transcripts
from maeum.fusion import Vector
from maeum.stages import Failure


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A clip that has a prediction, and what the pipeline answers for it."""

    clip: Clip
    prediction: Prediction
    emotions: Emotions

    @property
    def cer(self) -> float | None:
        """Character error rate, or None without a reference or audio."""
        if self.clip.text is None or self.clip.file is None:
            return None
        return character_error_rate(self.clip.text, self.prediction.transcript)


@dataclass(frozen=True, slots=True)
class FailedClip:
    """A clip that could not be analysed, and why."""

    clip: Clip
    code: str
    message: str


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
            where no clip is left to score.
    """

    labels: tuple[str, ...]
    n_without_speech: int
    n_right_by_voice_alone: int
    by_modality: dict[str, Scores | None]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All that a report says.

    Attributes:
        manifest: name of the file.
        models: how answers name them.
        calibration: what was applied, or None.
        notes: what makes the figures seem better than they are.
        outcomes: every clip, in the manifest's order.
        transcripts: scores, or None without a reference.
        emotions: scores of each space that has a truth.
    """

    manifest: str
    models: dict[str, str]
    calibration: str | None
    notes: tuple[str, ...]
    outcomes: tuple[Judged | FailedClip, ...]
    transcripts: TranscriptScores | None
    emotions: dict[Space, EmotionScores]

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
            "calibration": self.calibration,
            "notes": self.notes,
            "n_clips": len(self.outcomes),
            "n_failed": len(self.failed),
            "failed": [{"path": one.clip.path, "code": one.code, "message": one.message} for one in self.failed],
            "transcripts": None if self.transcripts is None else asdict(self.transcripts),
            "emotions": {space: asdict(scores) for space, scores in self.emotions.items()},
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
    heard = [one for one in judged if one.clip.text is not None and one.clip.file is not None]
    spaces = label_spaces(models.fusion)
    scores = {space: _score_space(space, labels, judged, models) for space, labels in spaces.items()}
    return Evaluation(
        manifest=manifest.name,
        models={str(kind): name for kind, name in models.names.items()},
        calibration=None if calibration is None else f"{calibration.fusion}, fitted on {calibration.space} labels",
        notes=tuple(_notes(judged, calibration)),
        outcomes=tuple(all_in_order),
        transcripts=score_transcripts(
            [str(one.clip.text) for one in heard],
            [one.prediction.transcript for one in heard],
            [one.prediction.confidence for one in heard],
        ),
        emotions={space: found for space, found in scores.items() if found is not None},
    )


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
    if space == "korean":
        answers = np.array([one.emotions.korean for one in labelled])
        read = [one.prediction.sentences for one in labelled]
        means = [np.mean(rows, axis=0) if rows else None for rows in read]
        alone = {"text": text, "text, mean": _rows(means, n_labels), "voice, projected": voice}
    else:
        answers = np.array([one.emotions.english for one in labelled])
        alone = {"text, projected": text, "voice": voice}
    given = [labels[top] for top in answers.argmax(axis=1)]
    return EmotionScores(
        labels=labels,
        n_without_speech=int((~spoken).sum()),
        n_right_by_voice_alone=sum(map(str.__eq__, *(np.array(side)[~spoken] for side in (truth, given)))),
        by_modality={name: score(labels, truth, rows) for name, rows in (alone | {"fused": answers}).items()},
    )


def _rows(vectors: Sequence[Vector | None], n_labels: int, project: Callable[[Vector], Vector] = np.asarray) -> Vector:
    """Vectors after a projection to a space, shape (n_clips, n_labels); NaN where there is none."""
    rows = np.full((len(vectors), n_labels), np.nan)
    for row, vector in zip(rows, vectors, strict=True):
        if vector is not None:
            row[:] = project(vector)
    return rows


def write_report(evaluation: Evaluation, models: Models, out: Path) -> None:
    """Write `metrics.json`, `predictions.parquet` and `report.html` into a folder.

    Raises:
        OSError: the folder cannot be written.
    """
    from maeum.evaluation.report import render
    from maeum.evaluation.table import write_table

    out.mkdir(parents=True, exist_ok=True)
    metrics = json.dumps(evaluation.metrics(), ensure_ascii=False, indent=2, allow_nan=False)
    (out / "metrics.json").write_text(metrics + "\n", encoding="utf-8")
    write_table(evaluation, models.fusion, out / "predictions.parquet")
    (out / "report.html").write_text(render(evaluation), encoding="utf-8")
