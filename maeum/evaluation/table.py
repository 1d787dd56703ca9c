"""The predictions as a table for other tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from maeum.evaluation.judged import Judged
from maeum.evaluation.run import Evaluation
from maeum.files import private, replacing
from maeum.fusion import Fusion, Vector


def write_table(evaluation: Evaluation, fusion: Fusion, path: Path) -> None:
    """Write one row per clip as Parquet, in the manifest's order.

    Columns: the manifest's (`path`, `reference`, `emotion`, `gender`, `language`, `speaker`); `transcript`, `cer`,
    `confidence`, `duration_s`, `n_sentences`; one column of probabilities for each label of `text`, `voice`, `fused`
    and `fused_en`, named like `fused 기쁨`, and the most probable one of each, named like `fused_top`; `error_code` and
    `error_message`. What a clip does not have is null. The names of the models are in the file's metadata.
    """
    outcomes = evaluation.outcomes
    clips = [one.clip for one in outcomes]
    judged = [one if isinstance(one, Judged) else None for one in outcomes]
    predictions = [None if one is None else one.prediction for one in judged]
    emotions = [None if one is None else one.emotions for one in judged]
    failures = [None if isinstance(one, Judged) else one for one in outcomes]
    columns: dict[str, pa.Array] = {}

    def text(name: str, values: Sequence[str | None]) -> None:
        columns[name] = pa.array(values, pa.string())

    def numbers(name: str, values: Sequence[float | None]) -> None:
        columns[name] = pa.array(values, pa.float64())

    text("path", [clip.path for clip in clips])
    text("reference", [clip.text for clip in clips])
    text("emotion", [clip.emotion for clip in clips])
    text("gender", [clip.gender for clip in clips])
    text("language", [clip.language for clip in clips])
    text("speaker", [clip.speaker for clip in clips])
    text("transcript", [None if one is None else one.transcript for one in predictions])
    numbers("cer", [None if one is None else one.cer for one in judged])
    numbers("confidence", [None if one is None else one.confidence for one in predictions])
    numbers("duration_s", [None if one is None else one.duration_s for one in predictions])
    columns["n_sentences"] = pa.array([None if one is None else len(one.sentences) for one in predictions], pa.int64())
    for name, labels, vectors in (
        ("text", fusion.text_labels, [None if one is None else one.text for one in emotions]),
        ("voice", fusion.voice_labels, [None if one is None else one.voice for one in emotions]),
        ("fused", fusion.text_labels, [None if one is None else one.answer("korean") for one in judged]),
        ("fused_en", fusion.projection.en_labels, [None if one is None else one.answer("english") for one in judged]),
    ):
        text(f"{name}_top", [_top(labels, vector) for vector in vectors])
        for index, label in enumerate(labels):
            numbers(f"{name} {label}", [None if vector is None else float(vector[index]) for vector in vectors])
    text("error_code", [None if one is None else one.code for one in failures])
    text("error_message", [None if one is None else one.message for one in failures])
    table = pa.table(columns)
    facts = json.dumps({"models": evaluation.models, "fusion": evaluation.fusion}, ensure_ascii=False)
    with replacing(path, private) as stream:
        pq.write_table(table.replace_schema_metadata({"maeum": facts}), stream)


def _top(labels: tuple[str, ...], vector: Vector | None) -> str | None:
    return None if vector is None else labels[int(vector.argmax())]
