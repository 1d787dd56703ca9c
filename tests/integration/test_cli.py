"""The command line as its users run it: processes, terminals, pipes, signals and a hub."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from maeum.assembly import load_text, load_voice
from maeum.cli import main
from maeum.errors import InvalidConfiguration, ModelMissing
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.schemas import AnalysisBody
from maeum.settings import Settings, get_settings
from tests.conftest import Clip, heed_interrupts
from tests.hub_server import HubServer
from tests.tiny_models import build_speech_layout, build_text_model, build_voice_model, files_of

MAEUM = str(Path(sys.executable).with_name("maeum"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MAEUM, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [MAEUM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
    )


def test_cards_in_order_and_errors_on_stderr(clips: list[Clip], tmp_path: Path) -> None:
    korean = tmp_path / "오늘의 일기.flac"
    korean.write_bytes(clips[1].data)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    done = run(
        "analyze", str(clips[0].path), str(broken), str(korean), "--gender", "female", "--no-summary", COLUMNS="160"
    )
    assert done.returncode == 1
    assert done.stderr == f"{broken}: the file is not audio that can be decoded (undecodable_audio)\n"
    titles = [line for line in done.stdout.splitlines() if line.startswith("╭")]
    assert len(titles) == 2
    assert clips[0].path.name in titles[0]
    assert korean.name in titles[1]
    for label in KO_LABELS:
        assert done.stdout.count(f" {label} ") == 2
    assert done.stdout.count("none (not_requested)") == 2


def test_json_lines_hold_the_http_answer_and_nothing_else(clip: Clip, tmp_path: Path) -> None:
    missing = str(tmp_path / "없음.wav")
    done = run("analyze", "--json", missing, str(clip.path), "--gender", clip.gender, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    failed, answered = (json.loads(line) for line in done.stdout.splitlines())
    assert failed == {"file": missing, "error": {"code": "file_not_found", "message": "there is no such file"}}
    assert list(answered) == ["file", *AnalysisBody.model_fields]
    assert answered.pop("file") == str(clip.path)
    body = AnalysisBody.model_validate(answered)
    assert body.emotion.labels == list(KO_LABELS)
    assert set(body.voice_emotion) == set(EN_LABELS)
    assert sum(body.emotion.probabilities) == pytest.approx(1, abs=1e-6)
    assert body.summary.reason == "no_api_key"
    assert "\\u" not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["all.jsonl", "all.csv"])
def test_an_archive_is_written_to_a_file_and_gone_on_with(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    archive, out = tmp_path / "archive", tmp_path / name
    archive.mkdir()
    for number, clip in enumerate(clips[:2]):
        (archive / f"{number}.flac").write_bytes(clip.data)
    (archive / "2.wav").write_bytes(b"RIFF")
    assert main(["analyze", str(archive), "--out", str(out), "--no-summary"]) == 1
    said = capsys.readouterr()
    assert said.out == f"analysed 3, of which 1 failed; wrote {out}\n"
    assert said.err == f"{archive}/2.wav: the file is not audio that can be decoded (undecodable_audio)\n"
    (archive / "2.wav").write_bytes(clips[2].data)
    assert main(["analyze", str(archive), f"{archive}/2.wav", "--out", str(out), "--no-summary"]) == 0
    said = capsys.readouterr()
    assert said.out == f"analysed 1, of which 0 failed, 2 were there before; wrote {out}\n"
    assert said.err == ""
    assert all(out.read_text("utf-8").count(f"{archive}/{file}") == 1 for file in ("0.flac", "1.flac", "2.wav"))


def test_a_terminal_sees_progress_and_a_pipe_does_not(clips: list[Clip]) -> None:
    controller, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [MAEUM, "analyze", "--json", str(clips[0].path), str(clips[1].path)],
            stdout=subprocess.PIPE,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        ) as process:
            os.close(terminal)
            shown = b"".join(_read_all(controller))
            assert process.stdout is not None
            lines = process.stdout.read().splitlines()
        assert process.returncode == 0
    finally:
        os.close(controller)
    assert b"loading the models" in shown
    assert b"analysing" in shown
    assert [json.loads(line)["file"] for line in lines] == [str(clips[0].path), str(clips[1].path)]


def _read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # Linux reports a closed terminal this way
            return
        if not data:
            return
        yield data


def test_interrupted_is_130_without_a_trace(clip: Clip) -> None:
    with start("analyze", "--json", *[str(clip.path)] * 2000) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["file"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().strip() == "maeum: interrupted"


def test_a_reader_that_leaves_ends_the_work_quietly(clip: Clip) -> None:
    with start("analyze", "--json", *[str(clip.path)] * 2000) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(60)
    assert process.returncode == 141
    assert errors == b""


@pytest.mark.parametrize("arguments", [["analyze", "--no-summary"], ["analyze", "--no-summary", "--json"]])
def test_a_reader_that_has_left_is_141_and_a_full_disk_2(clip: Clip, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for stdout, code, said in ((writing, 141, ""), (os.open("/dev/full", os.O_WRONLY), 2, "No space left on device")):
        done = subprocess.run([MAEUM, *arguments, str(clip.path)], stdout=stdout, stderr=subprocess.PIPE, timeout=240)
        os.close(stdout)
        assert done.returncode == code
        assert said in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()


def test_a_missing_model_is_3_and_says_what_to_do(clip: Clip, tmp_path: Path) -> None:
    done = run("analyze", str(clip.path), MAEUM_SPEECH_MODEL=str(tmp_path / "nowhere"))
    assert done.returncode == 3
    assert done.stdout == ""
    assert "correct MAEUM_SPEECH_MODEL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_3(clip: Clip) -> None:
    done = run("analyze", str(clip.path), MAEUM_TEXT_WEIGHT="heavy")
    assert done.returncode == 3
    assert "MAEUM_TEXT_WEIGHT" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_3(clip: Clip) -> None:
    done = run("analyze", str(clip.path), MAEUM_DEVICE="cuda")
    assert done.returncode == 3
    assert "MAEUM_DEVICE: CTranslate2 finds no GPU; auto takes one where there is one" in done.stderr
    for load in (load_text, load_voice):
        with pytest.raises(InvalidConfiguration, match="MAEUM_DEVICE: torch finds no GPU"):
            load(Settings(device="cuda"))


def test_a_misspelt_setting_is_named() -> None:
    done = run("models", "list", MAEUM_DEVCIE="cpu")
    assert done.returncode == 0
    assert done.stderr == "maeum: nobody reads MAEUM_DEVCIE; did you mean MAEUM_DEVICE?\n"


def test_a_language_that_the_model_does_not_know_is_2(clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "--lang", "한국어", str(clip.path)]) == 2
    assert "(invalid_lang)" in capsys.readouterr().err


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The production models' repositories with tiny models in them, and settings that point there."""
    with HubServer() as server:
        server.publish("Systran/faster-whisper-large-v3", files_of(build_speech_layout(tmp_path / "speech")))
        server.publish("HyukII/text-emotion-model", files_of(build_text_model(tmp_path / "text")))
        server.publish("HyukII/audio-emotion-model", files_of(build_voice_model(tmp_path / "voice")))
        for kind in ("SPEECH", "TEXT", "VOICE"):
            monkeypatch.delenv(f"MAEUM_{kind}_MODEL", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("MAEUM_MODELS_DIR", str(tmp_path / "hub"))
        get_settings.cache_clear()
        yield server
    get_settings.cache_clear()


def test_models_are_fetched_listed_and_verified(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    production = ["--profile", "production"]
    assert main(["models", "verify", *production]) == 1
    assert capsys.readouterr().out.count(ModelMissing.code) == 3

    assert main(["models", "fetch", "text", "voice", *production]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["text", "voice"]
    assert "fetching text model.safetensors" in err
    assert "pytorch_model.pth" in err
    assert "speech" not in err

    assert main(["models", "list", *production]) == 0
    speech, text, voice = capsys.readouterr().out.splitlines()
    assert ModelMissing.code in speech
    assert "hub:HyukII/text-emotion-model@" in text
    assert str(tmp_path / "hub") in voice

    assert main(["models", "verify", "voice", *production]) == 0
    (weights,) = (tmp_path / "hub").glob("*/pytorch_model.pth")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert main(["models", "verify", "voice", *production]) == 1
    assert "model_invalid" in capsys.readouterr().out


def test_a_fetch_says_that_it_waits_for_another(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    with (tmp_path / "hub" / ".fetch.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        fetching = start("models", "fetch", "voice", "--profile", "production")
        assert fetching.stderr
        silent = threading.Timer(60, fetching.kill)
        silent.start()
        said = fetching.stderr.readline().decode()
        silent.cancel()
    out, _ = fetching.communicate(timeout=60)
    assert said == f"another fetch is under way in {tmp_path / 'hub'}: this one waits until it is done\n"
    assert fetching.returncode == 0
    assert out.startswith(b"voice")


def test_a_fetch_that_fails_is_3(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAEUM_TEXT_MODEL", "hub:HyukII/no-such-model")
    get_settings.cache_clear()
    assert main(["models", "fetch", "text"]) == 3
    assert "no-such-model" in capsys.readouterr().err


def test_embedded_models_need_no_fetch(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch"]) == 0
    assert "--profile production" in capsys.readouterr().err
    assert hub.requests == []
