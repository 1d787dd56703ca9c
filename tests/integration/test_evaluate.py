"""`maeum evaluate` as its users run it: a process over the spoken clips, interrupted and taken up again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from maeum.cli import main
from maeum.errors import ModelInvalid
from maeum.evaluation.journal import JOURNAL_NAME
from maeum.fusion import KO_LABELS
from tests.conftest import DATA_DIR, heed_interrupts

MAEUM = str(Path(sys.executable).with_name("maeum"))


def journal_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / JOURNAL_NAME).read_bytes().splitlines()]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(out / "predictions.parquet").to_pylist())


def good_rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for row in rows_of(out) if row["error_code"] is None]


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spoken clips by absolute paths, a broken file and one that is not there beside the manifest."""
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "broken.wav").write_bytes(b"RIFF")
    with (DATA_DIR / "clips.csv").open(encoding="utf-8", newline="") as stream:
        rows = [{**row, "path": str(DATA_DIR / row["path"])} for row in csv.DictReader(stream)]
    columns = list(rows[0])
    nothing = dict.fromkeys(columns, "")
    rows[3:3] = [{**nothing, "path": name, "emotion": "슬픔"} for name in ("broken.wav", "없음.wav")]
    rows.append({**nothing, "text": "오늘은 정말 기뻤다.", "emotion": "기쁨"})
    path = folder / "clips.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run without an interrupt: its folder and what it said."""
    out = tmp_path_factory.mktemp("whole")
    done = subprocess.run(
        [MAEUM, "evaluate", str(manifest), "--out", str(out)],
        env={**os.environ, "MAEUM_MAX_LATENCY_MS": "1"},  # a bound for requests: nobody waits for a clip of a list
        capture_output=True,
        encoding="utf-8",
        timeout=280,
    )
    return out, done


def test_a_manifest_whose_name_is_no_utf_8_has_a_report(tmp_path: Path) -> None:
    manifest = tmp_path / os.fsdecode(b"m\xff.csv")
    manifest.write_text("text,emotion\n오늘은 정말 기뻤다.,기쁨\n", encoding="utf-8")
    assert main(["evaluate", str(manifest), "--out", str(tmp_path / "report")]) == 0
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["manifest"] == r"m\xff.csv"
    assert r"m\xff.csv" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_a_broken_file_is_listed_and_the_others_are_measured(
    whole: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = whole
    assert done.returncode == 1
    assert "broken.wav: the file is not audio that can be decoded (undecodable_audio)" in done.stderr
    assert "없음.wav: there is no such file (file_not_found)" in done.stderr
    assert "Traceback" not in done.stderr
    assert all(label in done.stdout for label in KO_LABELS)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["n_failed"] == 2
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    assert metrics["n_clips"] == len(journal_of(out)) + 2
    assert metrics["transcripts"]["cer"]["value"] < 0.5
    (words,) = (line for line in journal_of(out) if line["voice"] is None)
    assert (words["transcript"], len(words["sentences"])) == ("오늘은 정말 기뻤다.", 1)
    assert metrics["transcripts"]["n_clips"] == len(journal_of(out)) - 1
    assert metrics["emotions"]["korean"]["by_modality"]["fused"]["accuracy"]["value"] > 1 / 6
    assert metrics["emotions"]["korean"]["by_modality"]["voice, projected"]["n_clips"] > 0
    assert "voice, projected" in done.stdout
    assert [row["error_code"] for row in rows_of(out)[3:5]] == ["undecodable_audio", "file_not_found"]
    assert [row["emotion"] for row in rows_of(out)[3:5]] == ["슬픔", "슬픔"]
    assert "broken.wav" in (out / "report.html").read_text(encoding="utf-8")


def test_a_second_run_computes_nothing(
    whole: tuple[Path, subprocess.CompletedProcess[str]],
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    out, _ = whole
    journal = (out / JOURNAL_NAME).read_bytes()
    rows = good_rows_of(out)
    (tmp_path / JOURNAL_NAME).write_bytes(journal)
    # A broken file is tried again, with the models.
    good = manifest.with_name("good.csv")
    good.write_text(manifest.read_text(encoding="utf-8").replace("broken.wav", "gone.wav"), encoding="utf-8")

    def refuse(settings: object) -> None:
        raise AssertionError("the models were loaded")

    monkeypatch.setattr("maeum.evaluation.predict.build_local_pipeline", refuse)
    assert main(["evaluate", str(good), "--out", str(tmp_path)]) == 1
    assert (tmp_path / JOURNAL_NAME).read_bytes() == journal
    assert good_rows_of(tmp_path) == rows


def test_an_interrupted_run_goes_on_where_it_stopped(
    whole: tuple[Path, subprocess.CompletedProcess[str]], manifest: Path, tmp_path: Path
) -> None:
    expected = rows_of(whole[0])
    journal = tmp_path / JOURNAL_NAME
    with subprocess.Popen(
        [MAEUM, "evaluate", str(manifest), "--out", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    ) as process:
        deadline = time.monotonic() + 240
        while n_lines(journal) == 0 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "maeum: interrupted" in errors.decode()
    assert "Traceback" not in errors.decode()
    before = journal_of(tmp_path)
    assert 0 < len(before) < len(expected) - 2
    assert not (tmp_path / "report.html").exists()

    assert main(["evaluate", str(manifest), "--out", str(tmp_path)]) == 1
    after = journal_of(tmp_path)
    assert after[: len(before)] == before
    assert len({line["key"] for line in after}) == len(after) == len(expected) - 2
    for found, row in zip(rows_of(tmp_path), expected, strict=True):
        # Clips that shared another batch may differ in the last digits of float32.
        assert found == pytest.approx(row, abs=1e-3)


@pytest.mark.parametrize(
    ("content", "named"),
    [("emotion\n기쁨\n", "column path"), ("path,emotion\na.wav,joy\n", "'joy'"), ("path,lang\na.wav,xx\n", "'xx'")],
)
def test_a_wrong_manifest_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, named: str) -> None:
    manifest = tmp_path / "clips.csv"
    manifest.write_text(content, encoding="utf-8")
    assert main(["evaluate", str(manifest), "--out", str(tmp_path / "report")]) == 2
    err = capsys.readouterr().err
    assert named in err
    assert "invalid_manifest" in err
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_made_is_2(tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["evaluate", str(manifest), "--out", str(tmp_path / "file" / "report")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_is_3(
    tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(settings: object) -> None:
        raise ModelInvalid("the text model's weights are damaged")

    monkeypatch.setattr("maeum.evaluation.predict.build_local_pipeline", fail)
    assert main(["evaluate", str(manifest), "--out", str(tmp_path)]) == 3
    assert "weights are damaged" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_calibration_that_is_none_is_3(tmp_path: Path, manifest: Path) -> None:
    wrong = tmp_path / "calibration.json"
    wrong.write_text("{}", encoding="utf-8")
    done = subprocess.run(
        [MAEUM, "evaluate", str(manifest), "--out", str(tmp_path / "report")],
        env={**os.environ, "MAEUM_CALIBRATION": str(wrong)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 3
    assert "calibration.json" in done.stderr
