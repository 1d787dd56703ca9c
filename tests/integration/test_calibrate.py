"""`maeum calibrate` over the spoken clips, and the pipeline under what it wrote."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maeum.assembly import build_pipeline
from maeum.calibration import Calibration, combine
from maeum.cli import main
from maeum.errors import InvalidConfiguration
from maeum.evaluation.journal import JOURNAL_NAME
from maeum.pipeline import Pipeline
from maeum.settings import Settings, get_settings
from tests.conftest import DATA_DIR, Clip

MANIFEST = DATA_DIR / "clips.csv"


@pytest.fixture(scope="module")
def calibration_file(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration of the embedded models."""
    path = tmp_path_factory.mktemp("calibrate") / "calibration.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maeum.evaluation.predict.build_local_pipeline", lambda settings: pipeline)
        assert main(["calibrate", str(MANIFEST), "--out", str(path)]) == 0
    return path


def test_what_is_no_calibration_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "clips.csv"
    manifest.write_bytes(MANIFEST.read_bytes())
    assert main(["calibrate", str(manifest), "--out", str(manifest)]) == 2
    assert "it holds something else than a calibration; name another file" in capsys.readouterr().err
    assert manifest.read_bytes() == MANIFEST.read_bytes()


def test_the_file_says_how_it_came_about(calibration_file: Path, pipeline: Pipeline) -> None:
    found = Calibration.load(calibration_file)
    assert found is not None
    assert {kind: identity.split(" sha256:")[0] for kind, identity in found.models.items()} == pipeline.model_names
    assert found.space == "korean"
    assert found.fit is not None
    assert set(found.fit.quality) == {"fixed", "weights", "stacked", "text alone", "voice alone"}
    assert found.fit.n_clips + found.fit.n_without_speech == 21
    assert not found.fit.speakers_kept_apart
    assert [path.name for path in sorted(calibration_file.parent.iterdir())] == ["calibration.json", JOURNAL_NAME]


def test_evaluate_finds_the_predictions_and_applies_the_calibration(
    calibration_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Clips without an emotion are new to the journal, so a manifest without them needs no model."""
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()
    manifest = tmp_path / "clips.csv"
    labelled = [str(DATA_DIR / line) for line in lines[1:] if not line.endswith(",")]
    manifest.write_text("\n".join([lines[0], *labelled]), encoding="utf-8")
    journal = (calibration_file.parent / JOURNAL_NAME).read_bytes()

    def refuse(settings: object) -> None:
        raise AssertionError("the models were loaded")

    monkeypatch.setattr("maeum.evaluation.predict.build_local_pipeline", refuse)
    out = calibration_file.parent
    accuracies = {}
    for name in ("", str(calibration_file)):
        monkeypatch.setenv("MAEUM_CALIBRATION", name)
        get_settings.cache_clear()
        assert main(["evaluate", str(manifest), "--out", str(out)]) == 0
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        assert metrics["fusion"].startswith("calibration: ") == bool(name)
        accuracies[name] = metrics["emotions"]["korean"]["by_modality"]["text"]["log_loss"]
    get_settings.cache_clear()
    assert (out / JOURNAL_NAME).read_bytes() == journal
    assert accuracies[""] != accuracies[str(calibration_file)]
    assert "기쁨" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["weights", "stacked"])
def test_the_pipeline_applies_it(calibration_file: Path, pipeline: Pipeline, clip: Clip, way: str) -> None:
    loaded = Calibration.load(calibration_file)
    assert loaded is not None
    calibration = loaded.model_copy(update={"fusion": way})
    options = pipeline.options(clip.gender, summary=False)
    plain = asyncio.run(pipeline.analyze(clip.data, options))
    found = asyncio.run(replace(pipeline, calibration=calibration).analyze(clip.data, options))
    voice = np.array(list(plain.voice_emotion.values()))
    expected = combine(pipeline.fusion, calibration, plain.sentence_probabilities, voice)
    assert expected.text is not None
    assert expected.voice is not None
    assert found.probabilities == pytest.approx(expected.korean.tolist(), abs=1e-4)
    assert list(found.fused_en.values()) == pytest.approx(expected.english.tolist(), abs=1e-4)
    assert list((found.text_emotion or {}).values()) == pytest.approx(expected.text.tolist(), abs=1e-4)
    assert list(found.voice_emotion.values()) == pytest.approx(expected.voice.tolist(), abs=1e-4)
    assert sum(found.probabilities) == pytest.approx(1)
    plain_again = asyncio.run(pipeline.analyze(clip.data, options))
    assert plain_again.probabilities == pytest.approx(plain.probabilities, abs=1e-6)


def test_the_setting_brings_it_into_the_pipeline(calibration_file: Path, pipeline: Pipeline) -> None:
    settings = Settings(calibration=calibration_file)
    assert build_pipeline(settings, pipeline.stages).calibration == Calibration.load(calibration_file)
    assert build_pipeline(Settings(), pipeline.stages).calibration is None


def test_a_calibration_for_other_models_does_not_start(
    calibration_file: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    facts = json.loads(calibration_file.read_text(encoding="utf-8"))
    facts["models"]["voice"] = "hub:somebody/else@0123456789ab"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(InvalidConfiguration, match="hub:somebody/else"):
        build_pipeline(Settings(calibration=other), pipeline.stages)


def test_too_few_clips_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "clips.csv"
    manifest.write_text(f"path,emotion\n{DATA_DIR / 'diary_01.flac'},기쁨\n", encoding="utf-8")
    assert main(["calibrate", str(manifest), "--out", str(tmp_path / "calibration.json")]) == 2
    assert "too_few_clips" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [manifest]  # nothing was asked of the models


def test_a_folder_is_no_place_for_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "clips.csv"
    manifest.write_text(f"path,emotion\n{DATA_DIR / 'diary_01.flac'},기쁨\n", encoding="utf-8")
    assert main(["calibrate", str(manifest), "--out", str(tmp_path)]) == 2
    assert "cannot be written: it is no file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [manifest]  # nothing was asked of the models
