"""Fetched models in the engines: label orders, weights that do not fit, pickles that bite."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maeum.engines import text_weights
from maeum.engines.text import TextEngine
from maeum.engines.text_weights import save_compressed
from maeum.engines.voice import VoiceEngine
from maeum.errors import ModelInvalid, StartError, UnknownLabel
from maeum.fusion import EN_LABELS, KO_LABELS, Fusion, Projection, vote
from maeum.models import fetch, resolve
from maeum.settings import ModelKind, Settings
from maeum.stages import Failure
from tests.hub_server import HubServer
from tests.tiny_models import SENTENCES, build_text_model, build_voice_model, files_of


def fetched(kind: ModelKind, files: dict[str, bytes], place: Path) -> Path:
    """Publish files on a hub, fetch them over HTTP, and return the folder that `resolve` finds."""
    with HubServer() as hub:
        hub.publish("me/model", files)
        settings = Settings.model_validate(
            {f"{kind}_model": "hub:me/model", "models_dir": place / "models", "hf_endpoint": hub.endpoint}
        )
        fetch(settings, [kind])
    return resolve(kind, settings).path


def refusal(load: Callable[[], object]) -> StartError:
    with pytest.raises(StartError) as caught:
        load()
    assert "/models/" not in caught.value.message
    return caught.value


@pytest.fixture(scope="module")
def voice_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(build_voice_model(tmp_path_factory.mktemp("built") / "voice"))


class TestTextModels:
    @pytest.mark.parametrize("labels_in", ["config.json", "label_map.json"])
    @pytest.mark.parametrize("order", [KO_LABELS[::-1], ("분노", "슬픔", "기쁨", "상처", "당황", "불안")])
    def test_another_label_order_gives_the_same_answer_by_name(
        self, tmp_path: Path, order: tuple[str, ...], labels_in: Literal["config.json", "label_map.json"]
    ) -> None:
        voice = np.asarray([0.1, 0.2, 0.1, 0.3, 0.2, 0.1])
        rows: list[list[dict[str, float]]] = []
        answers: list[dict[str, float]] = []
        for number, labels in enumerate((KO_LABELS, order)):
            built = build_text_model(tmp_path / f"built{number}", labels, labels_in=labels_in)
            engine = TextEngine(fetched("text", files_of(built), tmp_path / f"models{number}"))
            assert engine.labels == labels
            found = [row for row in engine.classify(SENTENCES) if not isinstance(row, Failure)]
            fused = Fusion(Projection(), engine.labels, EN_LABELS).fuse(vote(found, len(labels)), voice)
            rows.append([dict(zip(labels, row, strict=True)) for row in found])
            answers.append(dict(zip(labels, fused.tolist(), strict=True)))
        assert [pytest.approx(row, abs=1e-6) for row in rows[0]] == rows[1]
        assert answers[1] == pytest.approx(answers[0], abs=1e-9)

    def test_label_map_stands_in_for_placeholders(self, tmp_path: Path) -> None:
        labels = KO_LABELS[::-1]
        built = build_text_model(tmp_path / "built", labels, labels_in="label_map.json")
        assert json.loads((built / "config.json").read_bytes())["id2label"]["0"] == "LABEL_0"
        assert TextEngine(fetched("text", files_of(built), tmp_path)).labels == labels

    def test_pickled_weights(self, tmp_path: Path) -> None:
        files = files_of(build_text_model(tmp_path / "built", safe=False))
        assert "pytorch_model.bin" in files
        assert TextEngine(fetched("text", files, tmp_path)).labels == KO_LABELS

    def test_label_that_the_projection_does_not_know(self, tmp_path: Path) -> None:
        built = build_text_model(tmp_path / "built", (*KO_LABELS[:5], "중립"))
        engine = TextEngine(fetched("text", files_of(built), tmp_path))
        with pytest.raises(UnknownLabel, match="the text model has the label '중립'"):
            Fusion(Projection(), engine.labels, EN_LABELS)

    def test_fewer_labels_than_logits(self, tmp_path: Path) -> None:
        built = build_text_model(tmp_path / "built", [*KO_LABELS, "중립"], labels_in="nowhere")
        with pytest.raises(ModelInvalid, match="7 logits but 6 labels"):
            TextEngine(fetched("text", files_of(built), tmp_path))

    @pytest.mark.parametrize(
        "change",
        [
            lambda state: state.pop("classifier.out_proj.weight"),
            lambda state: state.pop("roberta.encoder.layer.1.output.dense.bias"),
            lambda state: state.update({"classifier.out_proj.weight": torch.zeros(4, 32)}),
        ],
        ids=["missing head", "missing layer", "wrong shape"],
    )
    def test_weights_that_do_not_fit(
        self,
        tmp_path: Path,
        change: Callable[[dict[str, torch.Tensor]], object],
    ) -> None:
        built = build_text_model(tmp_path / "built")
        state = load_file(built / "model.safetensors")
        change(state)
        save_file(state, built / "model.safetensors", metadata={"format": "pt"})
        folder = fetched("text", files_of(built), tmp_path)
        assert isinstance(refusal(lambda: TextEngine(folder)), ModelInvalid)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
    def test_file_that_was_published_cut_in_half(self, tmp_path: Path, name: str) -> None:
        files = files_of(build_text_model(tmp_path / "built"))
        folder = fetched("text", files | {name: files[name][: len(files[name]) // 2]}, tmp_path)
        assert isinstance(refusal(lambda: TextEngine(folder)), ModelInvalid)

    def test_compressed_weights_answer_as_the_file_that_they_were_made_of(self, tmp_path: Path) -> None:
        built = build_text_model(tmp_path / "built")
        expected = TextEngine(built).classify(SENTENCES)
        save_compressed(built / "model.safetensors")
        assert not (built / "model.safetensors").exists()
        # A file without compression beside it is another model's.
        other = build_text_model(tmp_path / "other", KO_LABELS[::-1])
        beside = {"model.safetensors": (other / "model.safetensors").read_bytes()}
        assert TextEngine(other).classify(SENTENCES) != expected
        folder = fetched("text", files_of(built) | beside, tmp_path)
        assert TextEngine(folder).classify(SENTENCES) == expected
        shutil.copy(other / "model.safetensors", built)
        assert TextEngine(built).classify(SENTENCES) == expected

    @pytest.mark.parametrize(
        "damage",
        [
            lambda stored: stored[: len(stored) // 2],
            lambda stored: b"not gzip at all",
            lambda stored: stored[:4000] + bytes(500) + stored[4500:],
            lambda stored: gzip.compress(b"no safetensors"),
            lambda stored: b"",
        ],
        ids=["cut in half", "no gzip", "a hole", "something else", "empty"],
    )
    def test_compressed_weights_that_are_damaged(self, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
        built = build_text_model(tmp_path / "built")
        weights = save_compressed(built / "model.safetensors")
        weights.write_bytes(damage(weights.read_bytes()))
        folder = fetched("text", files_of(built), tmp_path)
        assert isinstance(refusal(lambda: TextEngine(folder)), ModelInvalid)

    def test_compressed_weights_that_would_fill_the_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built = build_text_model(tmp_path / "built")
        size = (built / "model.safetensors").stat().st_size
        folder = save_compressed(built / "model.safetensors").parent
        monkeypatch.setattr(text_weights, "_MOST_BYTES", size)
        assert TextEngine(folder).classify(SENTENCES)
        monkeypatch.setattr(text_weights, "_MOST_BYTES", size - 1)
        with pytest.raises(ModelInvalid, match=r"model\.safetensors\.gz holds more than"):
            TextEngine(folder)

    def test_pickle_with_a_payload_is_refused(self, tmp_path: Path) -> None:
        marker = tmp_path / "executed"
        files = files_of(build_text_model(tmp_path / "built", safe=False))
        evil = saved({"classifier.out_proj.weight": Payload(marker)})
        folder = fetched("text", files | {"pytorch_model.bin": evil}, tmp_path)
        assert isinstance(refusal(lambda: TextEngine(folder)), ModelInvalid)
        assert not marker.exists()


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._marker),)


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)


class TestVoiceModels:
    @pytest.mark.parametrize("order", [EN_LABELS[::-1], ("HAPPY", "SAD", "FEAR", "ANGRY", "SURPRISE", "DISGUST")])
    def test_another_label_order_gives_the_same_answer_by_name(self, tmp_path: Path, order: tuple[str, ...]) -> None:
        windows = np.random.default_rng(7).normal(size=(1, 100, 13)).astype(np.float32)
        rows: list[dict[str, float]] = []
        answers: list[list[float]] = []
        for number, labels in enumerate((EN_LABELS, order)):
            built = build_voice_model(tmp_path / f"built{number}", labels)
            engine = VoiceEngine(fetched("voice", files_of(built), tmp_path / f"models{number}"))
            assert engine.labels == labels
            (row,) = engine.classify(windows)
            assert not isinstance(row, Failure)
            rows.append(dict(zip(labels, row, strict=True)))
            answers.append(Fusion(Projection(), KO_LABELS, engine.labels).fuse(None, np.asarray(row)).tolist())
        assert rows[1] == pytest.approx(rows[0], abs=1e-6)
        assert answers[1] == pytest.approx(answers[0], abs=1e-6)

    def test_python_file_in_a_local_folder_is_not_run(self, tmp_path: Path) -> None:
        folder = build_voice_model(tmp_path / "voice")
        assert (folder / "model.py").is_file()
        assert VoiceEngine(folder).labels == EN_LABELS

    def test_no_labels_file(self, voice_files: dict[str, bytes], tmp_path: Path) -> None:
        files = {name: data for name, data in voice_files.items() if name != "labels.json"}
        assert VoiceEngine(fetched("voice", files, tmp_path)).labels == EN_LABELS

    def test_label_that_the_projection_does_not_know(self, tmp_path: Path) -> None:
        built = build_voice_model(tmp_path / "built", (*EN_LABELS[:5], "NEUTRAL"))
        engine = VoiceEngine(fetched("voice", files_of(built), tmp_path))
        with pytest.raises(UnknownLabel, match="the voice model has the label 'NEUTRAL'"):
            Fusion(Projection(), KO_LABELS, engine.labels)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda state: state.pop("dense1.bias"), "dense1.bias"),
            (lambda state: state.update({"attention.weight": torch.zeros(2)}), "attention.weight"),
            (lambda state: state.update({"conv1.weight": torch.zeros(64, 40, 5)}), "conv1.weight"),
            (
                lambda state: state.update({"dense2.weight": torch.zeros(7, 128), "dense2.bias": torch.zeros(7)}),
                "dense2",
            ),
        ],
        ids=["missing key", "extra key", "wrong shape", "another number of labels"],
    )
    def test_state_dict_that_does_not_fit(
        self,
        voice_files: dict[str, bytes],
        tmp_path: Path,
        change: Callable[[dict[str, torch.Tensor]], object],
        named: str,
    ) -> None:
        state = torch.load(io.BytesIO(voice_files["pytorch_model.pth"]), weights_only=True)
        change(state)
        folder = fetched("voice", voice_files | {"pytorch_model.pth": saved(state)}, tmp_path)
        error = refusal(lambda: VoiceEngine(folder))
        assert isinstance(error, ModelInvalid)
        assert named in error.message

    @pytest.mark.parametrize("write", [saved, pickled], ids=["torch.save", "pickle"])
    @pytest.mark.parametrize("wrap", [lambda payload: payload, lambda payload: {"conv1.weight": payload}])
    def test_pickle_with_a_payload_is_refused(
        self,
        voice_files: dict[str, bytes],
        tmp_path: Path,
        write: Callable[[object], bytes],
        wrap: Callable[[object], object],
    ) -> None:
        marker = tmp_path / "executed"
        evil = write(wrap(Payload(marker)))
        folder = fetched("voice", voice_files | {"pytorch_model.pth": evil}, tmp_path)
        assert isinstance(refusal(lambda: VoiceEngine(folder)), ModelInvalid)
        assert not marker.exists()
        pickle.loads(pickle.dumps(Payload(marker)))
        assert marker.exists()

    @pytest.mark.parametrize(
        "content",
        [b"", b"PK\x03\x04 but no archive", saved([1, 2]), saved({"conv1.weight": 1}), saved(torch.zeros(3))],
        ids=["empty", "no archive", "a list", "numbers", "one tensor"],
    )
    def test_file_that_is_no_state_dict(self, voice_files: dict[str, bytes], tmp_path: Path, content: bytes) -> None:
        folder = fetched("voice", voice_files | {"pytorch_model.pth": content}, tmp_path)
        assert isinstance(refusal(lambda: VoiceEngine(folder)), ModelInvalid)
