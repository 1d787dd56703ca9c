"""The predictions as a table for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from maeum.fusion import Fusion, Vector

if TYPE_CHECKING:
    from maeum.evaluation.run import Evaluation


def write_table(evaluation: Evaluation, fusion: Fusion, path: Path) -> None:
    """Write one row per clip as Parquet: first those with a prediction, then those that failed.

    Columns: the manifest's (`path`, `reference`, `emotion`, `gender`, `language`, `speaker`); `transcript`, `cer`,
    `confidence`, `duration_s`, `n_sentences`; one column of probabilities for each label of `text`, `voice`, `fused`
    and `fused_en`, named like `fused 기쁨`, and the most probable one of each, named like `fused_top`; `error_code` and
    `error_message`. What a clip does not have is null. The names of the models are in the file's metadata.
    """
    judged, failed = evaluation.judged, evaluation.failed
    after = [None] * len(failed)
    columns: dict[str, pa.Array] = {}

    def text(name: str, values: list[str | None]) -> None:
        columns[name] = pa.array(values, pa.string())

    text("path", [*(one.clip.path for one in judged), *(clip.path for clip in failed)])
    text("reference", [*(one.clip.text for one in judged), *after])
    text("emotion", [*(one.clip.emotion for one in judged), *after])
    text("gender", [*(one.clip.gender for one in judged), *after])
    text("language", [*(one.clip.language for one in judged), *after])
    text("speaker", [*(one.clip.speaker for one in judged), *after])
    text("transcript", [*(one.prediction.transcript for one in judged), *after])
    columns["cer"] = pa.array([*(one.cer for one in judged), *after], pa.float64())
    columns["confidence"] = pa.array([*(one.prediction.confidence for one in judged), *after], pa.float64())
    columns["duration_s"] = pa.array([*(one.prediction.duration_s for one in judged), *after], pa.float64())
    columns["n_sentences"] = pa.array([*(len(one.prediction.sentences) for one in judged), *after], pa.int64())
    for name, labels, vectors in (
        ("text", fusion.text_labels, [one.emotions.text for one in judged]),
        ("voice", fusion.voice_labels, [one.emotions.voice for one in judged]),
        ("fused", fusion.text_labels, [one.emotions.korean for one in judged]),
        ("fused_en", fusion.projection.en_labels, [one.emotions.english for one in judged]),
    ):
        text(f"{name}_top", [*(_top(labels, vector) for vector in vectors), *after])
        for index, label in enumerate(labels):
            values = [None if vector is None else float(vector[index]) for vector in vectors]
            columns[f"{name} {label}"] = pa.array([*values, *after], pa.float64())
    text("error_code", [*([None] * len(judged)), *(clip.code for clip in failed)])
    text("error_message", [*([None] * len(judged)), *(clip.message for clip in failed)])
    table = pa.table(columns)
    facts = json.dumps({"models": evaluation.models, "calibration": evaluation.calibration}, ensure_ascii=False)
    pq.write_table(table.replace_schema_metadata({"maeum": facts}), path)


def _top(labels: tuple[str, ...], vector: Vector | None) -> str | None:
    return None if vector is None else labels[int(vector.argmax())]
