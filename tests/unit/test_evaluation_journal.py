from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from maeum.errors import InvalidManifest
from maeum.evaluation.journal import Journal, Prediction, content_of, key_of, recipe
from maeum.models import ModelFolder
from maeum.settings import PROJECT_DIR, ModelKind, Settings

PREDICTION = Prediction(
    content="0123", transcript="안녕", duration_s=1.25, confidence=0.9, sentences=((0.1, 0.9),), voice=(1 / 3, 2 / 3)
)


def test_what_is_put_is_there_next_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    with Journal(path) as journal:
        assert journal.get("a") is None
        journal.put("a", "a.wav", PREDICTION)
        assert journal.get("a") == PREDICTION
    with Journal(path) as journal:
        assert journal.get("a") == PREDICTION


def test_a_line_that_was_cut_off_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.put("a", "a.wav", PREDICTION)
        journal.put("b", "b.wav", PREDICTION)
    path.write_bytes(path.read_bytes()[:-20])
    with Journal(path) as journal:
        assert journal.get("a") == PREDICTION
        assert journal.get("b") is None
        journal.put("b", "b.wav", PREDICTION)
    with Journal(path) as journal:
        assert journal.get("b") == PREDICTION


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidManifest, match="cannot be written"):
        Journal(tmp_path / "file" / "journal.jsonl")


def put_twenty(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(20):
            journal.put(str(number), "a.wav", PREDICTION)


def test_a_full_disk_is_said_and_what_fits_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(InvalidManifest, match="cannot be written"):
            put_twenty(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Journal(path) as journal:
        assert journal.get("0") == PREDICTION


def test_one_run_at_a_time_writes(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path), pytest.raises(InvalidManifest, match="another run is writing it"):
        Journal(path)
    with Journal(path):
        pass


def test_bytes_options_and_models_make_the_key() -> None:
    keys = {
        key_of(*facts)
        for facts in (
            ("models", content_of(b"bytes"), "MALE", "ko"),
            ("models", content_of(b"bytes"), "FEMALE", "ko"),
            ("models", content_of(b"bytes"), "MALE", "en"),
            ("models", content_of(b"other"), "MALE", "ko"),
            ("others", content_of(b"bytes"), "MALE", "ko"),
        )
    }
    assert len(keys) == 5


def test_a_changed_model_makes_another_recipe(tmp_path: Path) -> None:
    shutil.copytree(PROJECT_DIR / "models" / "embedded" / "voice", tmp_path / "voice")
    folder = ModelFolder("voice", tmp_path / "voice", "folder:voice")
    settings = Settings()
    first = recipe(settings, {"voice": folder})
    (tmp_path / "voice" / "README.md").write_text("other words")
    assert recipe(settings, {"voice": folder}) == first
    assert recipe(settings.model_copy(update={"text_weight": 0.1, "device": "cpu"}), {"voice": folder}) == first
    (tmp_path / "voice" / "labels.json").write_text("[]")
    assert recipe(settings, {"voice": folder}) != first


@pytest.mark.parametrize(
    ("kind", "name"), [("speech", "model.bin"), ("text", "model.safetensors"), ("voice", "pytorch_model.pth")]
)
def test_other_weights_make_another_recipe(tmp_path: Path, kind: ModelKind, name: str) -> None:
    shutil.copytree(PROJECT_DIR / "models" / "embedded" / kind, tmp_path / kind)
    folder = ModelFolder(kind, tmp_path / kind, f"embedded:{kind}")
    first = recipe(Settings(), {kind: folder})
    weights = bytearray((tmp_path / kind / name).read_bytes())
    weights[-1] ^= 1
    (tmp_path / kind / name).write_bytes(weights)
    assert recipe(Settings(), {kind: folder}) != first


def test_other_libraries_make_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    first = recipe(Settings(), {})
    monkeypatch.setattr("maeum.evaluation.journal.version", lambda name: f"{name} of tomorrow")
    assert recipe(Settings(), {}) != first


def test_another_device_makes_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    first = recipe(Settings(device="cpu"), {})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    assert recipe(Settings(device="auto"), {}) == first
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 1)
    assert recipe(Settings(device="auto"), {}) != first


@pytest.mark.parametrize(
    ("name", "value"),
    [("speech_batch", 3), ("text_batch", 3), ("voice_batch", 3), ("max_latency_ms", 3), ("max_in_flight", 3)],
)
def test_what_only_costs_time_makes_no_other_recipe(name: str, value: int) -> None:
    assert recipe(Settings().model_copy(update={name: value}), {}) == recipe(Settings(), {})


@pytest.mark.parametrize(("name", "value"), [("text_precision", "int8"), ("voice_pooling", "windows")])
def test_what_changes_predictions_makes_another_recipe(name: str, value: str) -> None:
    assert recipe(Settings().model_copy(update={name: value}), {}) != recipe(Settings(), {})


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("sentences.py", True),
        ("engines/voice.py", True),
        ("evaluation/predict.py", True),
        ("new/module.py", True),
        ("new.py", True),
        ("cli/evaluate.py", False),
        ("http/form.py", False),
        ("http/web/__init__.py", False),
        ("http/web/page.js", False),
        ("evaluation/report.py", False),
    ],
)
def test_only_code_that_decides_predictions_makes_another_recipe(tmp_path: Path, source: str, counts: bool) -> None:
    package = tmp_path / "maeum"
    shutil.copytree(PROJECT_DIR / "maeum", package)
    first = recipe(Settings(), {}, package)
    assert recipe(Settings(), {}, package) == first
    if source.startswith("new"):
        (package / source).parent.mkdir(exist_ok=True)
    else:
        assert (package / source).is_file()
    with (package / source).open("a") as stream:
        stream.write("\n")
    assert (recipe(Settings(), {}, package) != first) == counts
