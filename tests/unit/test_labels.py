from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maeum.errors import ModelInvalid, ModelMissing
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.labels import read_json_object, read_text_labels, read_voice_labels

PLACEHOLDERS = {str(index): f"LABEL_{index}" for index in range(6)}
REVERSED = tuple(reversed(KO_LABELS))


def write(folder: Path, **files: Any) -> Path:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return folder


def by_id(labels: tuple[str, ...]) -> dict[str, str]:
    return {str(index): label for index, label in enumerate(labels)}


def test_labels_of_the_config_win_over_the_label_map(tmp_path: Path) -> None:
    write(tmp_path, config={"id2label": by_id(REVERSED)}, label_map={"id2label": by_id(KO_LABELS)})
    assert read_text_labels(tmp_path) == REVERSED


@pytest.mark.parametrize("config", [{}, {"id2label": None}, {"id2label": {}}, {"id2label": PLACEHOLDERS}])
def test_label_map_stands_in_where_the_config_names_no_labels(tmp_path: Path, config: dict[str, Any]) -> None:
    write(tmp_path, config=config, label_map={"label2id": {}, "id2label": by_id(REVERSED)})
    assert read_text_labels(tmp_path) == REVERSED


@pytest.mark.parametrize("label_map", [None, {}, {"id2label": {}}, {"id2label": PLACEHOLDERS}])
def test_original_order_where_nothing_names_labels(tmp_path: Path, label_map: dict[str, Any] | None) -> None:
    write(tmp_path, config={"id2label": PLACEHOLDERS})
    if label_map is not None:
        write(tmp_path, label_map=label_map)
    assert read_text_labels(tmp_path) == KO_LABELS


@given(order=st.permutations(KO_LABELS), data=st.data())
def test_ids_decide_the_order_not_their_place_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], data: st.DataObject
) -> None:
    items = data.draw(st.permutations(list(enumerate(order))))
    folder = write(tmp_path_factory.mktemp("text"), config={"id2label": {str(key): name for key, name in items}})
    assert read_text_labels(folder) == tuple(order)


def test_a_list_of_labels_is_read_too(tmp_path: Path) -> None:
    assert read_text_labels(write(tmp_path, config={"id2label": list(REVERSED)})) == REVERSED


def test_text_model_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"no config\.json") as caught:
        read_text_labels(tmp_path)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    "id2label",
    [{"0": "기쁨", "2": "분노"}, {"1": "기쁨"}, {"zero": "기쁨"}, "기쁨", 6, {"-1": "기쁨", "0": "분노"}],
)
def test_ids_that_are_not_0_to_n(tmp_path: Path, id2label: Any) -> None:
    with pytest.raises(ModelInvalid, match=r"id2label in config\.json must map") as caught:
        read_text_labels(write(tmp_path, config={"id2label": id2label}))
    assert str(tmp_path) not in caught.value.message


def test_voice_labels_in_the_file_s_order(tmp_path: Path) -> None:
    order = tuple(reversed(EN_LABELS))
    assert read_voice_labels(write(tmp_path, labels=list(order))) == order


def test_voice_labels_without_a_file(tmp_path: Path) -> None:
    assert read_voice_labels(tmp_path) == EN_LABELS


@pytest.mark.parametrize("labels", [[], {}, "ANGRY", ["ANGRY", 1], [["ANGRY"]], None])
def test_voice_labels_that_are_no_list_of_names(tmp_path: Path, labels: Any) -> None:
    with pytest.raises(ModelInvalid, match=r"labels\.json must hold a list of label names"):
        read_voice_labels(write(tmp_path, labels=labels))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"id2label": ' + b"1" * 5000 + b"}", b"[" * 100_000],
    ids=["empty", "half", "not utf-8", "huge number", "deep"],
)
def test_file_that_is_no_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelInvalid, match=r"^config\.json is not readable JSON$"):
        read_json_object(path)


def test_json_that_is_no_object(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"^config\.json must hold a JSON object$"):
        read_json_object(write(tmp_path, config=[1]) / "config.json")
