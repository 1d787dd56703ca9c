"""Label names, read from a model's own files without loading the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maeum.errors import ModelInvalid, ModelMissing
from maeum.fusion import EN_LABELS, KO_LABELS


def read_text_labels(folder: Path) -> tuple[str, ...]:
    """Labels of a text model in its logits' order.

    `id2label` of `config.json` wins, else that of `label_map.json`, else the original's order. A config whose
    labels are transformers' placeholders (`LABEL_0`, …) names none.

    Raises:
        ModelMissing: there is no `config.json`.
        ModelInvalid: a file is no JSON object, or its ids are not 0..n-1.
    """
    for name in ("config.json", "label_map.json"):
        path = folder / name
        if not path.is_file():
            if name == "config.json":
                raise ModelMissing("the text model has no config.json")
            continue
        id2label = read_json_object(path).get("id2label")
        if id2label:
            labels = _in_order(id2label, path)
            if labels != tuple(f"LABEL_{index}" for index in range(len(labels))):
                return labels
    return KO_LABELS


def read_voice_labels(folder: Path) -> tuple[str, ...]:
    """Labels of a voice model in its logits' order, from `labels.json`, else the original's order.

    Raises:
        ModelInvalid: `labels.json` is no JSON list of strings.
    """
    path = folder / "labels.json"
    if not path.is_file():
        return EN_LABELS
    labels = read_json(path)
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ModelInvalid(f"{path.name} must hold a list of label names")
    return tuple(labels)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelInvalid: the file is unreadable, no JSON, or no object.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise ModelInvalid(f"{path.name} must hold a JSON object")
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ModelInvalid: the file is unreadable or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelInvalid(f"{path.name} is not readable JSON") from error


def _in_order(id2label: Any, path: Path) -> tuple[str, ...]:
    if isinstance(id2label, list):
        id2label = dict(enumerate(id2label))
    try:
        by_id = {int(key): str(label) for key, label in id2label.items()}
    except (AttributeError, ValueError) as error:
        raise ModelInvalid(f"id2label in {path.name} must map 0..n-1 to names") from error
    if sorted(by_id) != list(range(len(by_id))):
        raise ModelInvalid(f"id2label in {path.name} must map 0..n-1 to names")
    return tuple(by_id[index] for index in range(len(by_id)))
