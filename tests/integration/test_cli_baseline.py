"""`maeum baseline`, and what `maeum analyze` makes of its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maeum.audio.decoding import decode
from maeum.audio.features import Baselines
from maeum.audio.mfcc import mfcc
from maeum.cli import main
from maeum.settings import PROJECT_DIR
from tests.conftest import Clip
from tests.memory_stages import wav


def test_a_speakers_baseline_is_measured_and_applied(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "me.json"
    assert main(["baseline", *(str(clip.path) for clip in clips[:3]), "--gender", "female", "--out", str(out)]) == 0
    assert capsys.readouterr() == (
        f"{out}: the baseline of 3 clips\n",
        "maeum: 3 clips say little about how a voice varies; give more\n",
    )
    measured = json.loads(out.read_text())
    means = np.stack([mfcc(decode(clip.data)).mean(axis=0) for clip in clips[:3]])
    usual = Baselines.load(PROJECT_DIR / "models" / "embedded" / "voice").female
    assert (np.abs(np.array(measured["mean"]) - means.mean(axis=0)) < usual.std).all()  # less the pauses
    assert (np.array(measured["std"]) >= usual.std - 1e-4).all()
    answers = []
    for options in ([], ["--baseline", str(out), "--voice-pooling", "windows"]):
        assert main(["analyze", "--json", "--no-summary", str(clips[0].path), *options]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    plain, own = answers
    assert own["transcript"]["text"] == plain["transcript"]["text"]
    assert own["voice_emotion"] != pytest.approx(plain["voice_emotion"], abs=1e-3)


def test_a_baseline_is_that_of_the_voice_and_not_of_the_room(clips: list[Clip], tmp_path: Path) -> None:
    spoken = [decode(clip.data).samples for clip in clips[:3]]
    room = np.float32(3e-4) * np.random.default_rng(0).standard_normal(40_000).astype(np.float32)
    measured = {}
    for name, around in (("close", room[:0]), ("waiting", room)):
        for number, samples in enumerate(spoken):
            (tmp_path / f"{name}{number}.wav").write_bytes(wav(np.concatenate([around, samples, around])))
        paths = [str(tmp_path / f"{name}{number}.wav") for number in range(3)]
        assert main(["baseline", *paths, "--out", str(tmp_path / f"{name}.json")]) == 0
        measured[name] = np.array(json.loads((tmp_path / f"{name}.json").read_text())["mean"])
    usual = Baselines.load(PROJECT_DIR / "models" / "embedded" / "voice").male
    assert (np.abs(measured["waiting"] - measured["close"]) < usual.std).all()


@pytest.mark.parametrize(
    ("names", "code", "message"),
    [
        (["a"], 2, "no baseline: a baseline takes at least two clips (invalid_baseline)"),
        (["a", "broken"], 1, "{folder}/broken: the file is not audio that can be decoded; nothing was written"),
        (["a", "absent"], 1, "{folder}/absent: No such file or directory; nothing was written"),
        (["a", "silent"], 1, "{folder}/silent: there is less than 0.5 s of speech in it; nothing was written"),
        (["a", "hum"], 1, "{folder}/hum: there is less than 0.5 s of speech in it; nothing was written"),
    ],
)
def test_clips_that_give_no_baseline_say_why(
    clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], code: int, message: str
) -> None:
    (tmp_path / "a").write_bytes(clip.data)
    (tmp_path / "broken").write_bytes(b"RIFF")
    (tmp_path / "silent").write_bytes(wav(np.zeros(48_000, np.float32)))
    (tmp_path / "hum").write_bytes(
        wav(np.float32(0.3) * np.sin(np.arange(48_000, dtype=np.float32) * np.float32(0.047)))
    )
    out = tmp_path / "me.json"
    assert main(["baseline", *(str(tmp_path / name) for name in names), "--out", str(out)]) == code
    assert capsys.readouterr().err == f"maeum: {message.format(folder=tmp_path)}\n"
    assert not out.exists()


def test_what_is_no_baseline_is_not_overwritten(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with `--out *.wav`, which names the first recording."""
    paths = [tmp_path / f"{number}.flac" for number in range(3)]
    for path, clip in zip(paths, clips, strict=False):
        path.write_bytes(clip.data)
    assert main(["baseline", "--out", *map(str, [paths[0], *paths])]) == 2
    assert "it holds something else than a baseline; name another file" in capsys.readouterr().err
    assert paths[0].read_bytes() == clips[0].data
    out = tmp_path / "me.json"
    for _ in range(2):
        assert main(["baseline", *map(str, paths), "--out", str(out)]) == 0
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"{}", b"\xff"])
def test_a_baseline_that_makes_no_sense_is_refused(
    clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "me.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["analyze", str(clip.path), "--baseline", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("(invalid_baseline)\n")
