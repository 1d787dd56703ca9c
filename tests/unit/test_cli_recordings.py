from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from maeum.cli.recordings import Results, find_recordings
from maeum.errors import InvalidField
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.schemas import (
    AnalysisBody,
    EmotionBody,
    ModelsBody,
    SegmentBody,
    SummaryBody,
    TranscriptBody,
)


def analysis(text: str = '오늘은, "정말" 기뻤다.\n그리고 쉬었다.') -> AnalysisBody:
    return AnalysisBody(
        transcript=TranscriptBody(
            text=text,
            language="ko",
            duration_s=2.5,
            confidence=0.9,
            segments=[
                SegmentBody(
                    start_s=0, end_s=2.5, text=text, avg_logprob=-0.1, no_speech_prob=0.01, compression_ratio=1.1
                )
            ],
        ),
        emotion=EmotionBody(labels=list(KO_LABELS), probabilities=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1], top="기쁨"),
        text_emotion=None if not text else dict.fromkeys(KO_LABELS, 1 / 6),
        voice_emotion=dict.fromkeys(EN_LABELS, 1 / 6),
        summary=SummaryBody(status="skipped", text=None, reason="no_api_key"),
        warnings=[] if text else ["no_speech", "low_confidence"],
        models=ModelsBody(speech="s", text="t", voice="v", summary=None),
        timings_ms={"total": 1.0},
    )


def results(path: Path) -> Results:
    return Results(path, KO_LABELS, EN_LABELS)


def test_a_folder_stands_for_the_recordings_below_it(tmp_path: Path) -> None:
    for name in ("b.WAV", "a.m4a", "notes.txt", "deep/er/c.opus", "deep/._c.opus"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    named = str(tmp_path / "notes.txt")
    found = find_recordings([named, str(tmp_path), "absent.wav"])
    below = ["a.m4a", "b.WAV", "deep/er/c.opus"]
    assert found == [named, *(str(tmp_path / name) for name in below), "absent.wav"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InvalidField, match="holds no recordings") as caught:
        find_recordings([str(tmp_path)])
    assert caught.value.code == "no_recordings"


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.wav").touch()
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:  # root may read every folder
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InvalidField, match="shut cannot be read: Permission denied"):
        find_recordings([str(tmp_path)])


NAMES = ["a,\n.wav", "침묵.wav", "=1+1.wav", os.fsdecode(b"\xff.wav"), os.fsdecode(b"\xfe.wav"), "\u2028\x1c.wav"]


@pytest.mark.parametrize("file", ["all.jsonl", "all.csv"])
def test_what_has_an_analysis_is_known_the_next_time(tmp_path: Path, file: str) -> None:
    path = tmp_path / "new" / file
    with results(path) as first:
        assert not first.has(NAMES[0])
        for name in NAMES:
            first.write(name, analysis("" if name == "침묵.wav" else f"첫 줄\u2028둘째 줄\x85 {'말' * 50}"))
    before = path.read_bytes()
    with results(path) as second:
        assert [name for name in NAMES if not second.has(name)] == []
        assert not second.has("b.wav")
        second.write("b.wav", analysis())
    assert path.read_bytes().startswith(before)
    assert len(path.read_bytes().split(b"\n")) == len(NAMES) + 2 + path.read_bytes().startswith(b"\xef")
    assert [each.name for each in path.parent.iterdir()] == [file]
    assert path.stat().st_mode & 0o777 == 0o600  # transcripts are private


@pytest.mark.parametrize("file", ["all.jsonl", "all.csv"])
def test_the_transcript_of_a_day_is_read_again(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    with results(path) as first:
        first.write("a.wav", analysis("하루 종일 말했다. " * 60_000))
    with results(path) as second:
        assert second.has("a.wav")


@pytest.mark.parametrize("file", ["all.jsonl", "all.csv"])
def test_a_file_that_was_cut_off_anywhere_is_gone_on_with(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    with results(path) as out:
        for name in ("가.wav", "b.wav"):
            out.write(name, analysis())
    whole = path.read_bytes()
    kept = whole.rindex(b"\n", 0, -1) + 1
    for cut in [*range(kept), *range(kept, len(whole))][:: 1 if file.endswith("csv") else 7]:
        path.write_bytes(whole[:cut])
        with results(path) as again:
            assert again.has("가.wav") == (cut >= kept - 1)  # without its break it is whole
            for name in ("가.wav", "b.wav"):
                if not again.has(name):
                    again.write(name, analysis())
        assert path.read_bytes() == whole


def test_a_json_line_is_the_http_answer(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    with results(path) as out:
        out.write("a.wav", analysis())
    (line,) = path.read_text("utf-8").splitlines()
    assert json.loads(line) == {"file": "a.wav", **analysis().model_dump()}


def test_a_spreadsheet_has_a_column_for_everything(tmp_path: Path) -> None:
    path = tmp_path / "all.CSV"
    with results(path) as out:
        out.write("a.wav", analysis())
        out.write("c.wav", analysis(""))
        out.write("@d.wav", analysis("- 말\r\n=1+1"))
    assert path.read_bytes().startswith(b'\xef\xbb\xbf"file",')  # or spreadsheets take it for another encoding
    with path.open(encoding="utf-8-sig", newline="") as stream:
        answered, silent, formula = csv.DictReader(stream)
    assert answered["transcript"] == '오늘은, "정말" 기뻤다. 그리고 쉬었다.'
    assert (answered["emotion"], answered["기쁨"], answered["슬픔"]) == ("기쁨", "0.5", "0.1")
    assert float(answered["text 상처"]) == float(answered["voice FEAR"]) == pytest.approx(1 / 6)
    assert answered["warnings"] == ""
    assert (silent["text 기쁨"], silent["warnings"]) == ("", "no_speech low_confidence")
    assert (formula["file"], formula["transcript"]) == ("'@d.wav", "'- 말 =1+1")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"remember the milk\n"),
        ("notes.txt", b"remember the milk"),
        ("me.json", b'{"mean":[1],"std":[2]}'),
        ("other.jsonl", b'{"path": "a.wav"}\n'),
        ("other.jsonl", b'{"file": "/home/me/notes", "to do": 1}'),
        ("other.jsonl", b'{"file": "a.wav", "text": "x"}\n'),
        ("list.jsonl", b"[1]\n"),
        ("other.csv", b"path,emotion\na.wav,joy\n"),
        ("other.csv", b"path"),
        ("other.csv", b"\xff\xfe"),
        ("other.csv", b'"' + b"x" * 200_000 + b'"\n'),
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidField, match="something else than analyses") as caught, results(path):
        pass
    assert caught.value.code == "unwritable_output"
    assert path.read_bytes() == content


def test_a_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    real.touch(0o640)
    link.symlink_to(real)
    with results(link) as out:
        out.write("a.wav", analysis())
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.read_bytes()


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    with results(path) as first:
        with pytest.raises(InvalidField, match="another run is writing it"), results(path):
            pass
        first.write("a.wav", analysis())
    with results(path) as second:
        assert second.has("a.wav")


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidField, match="cannot be written: File exists"), results(tmp_path / "file" / "a.csv"):
        pass
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(InvalidField, match="cannot be written: it is no file"), results(path):
            pass


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        results(tmp_path / "all.jsonl") as out,
        open("/dev/full", "r+b", buffering=0) as full,
        monkeypatch.context() as patch,
    ):
        patch.setattr(out, "_file", full)
        with pytest.raises(InvalidField, match="cannot be written: No space left on device"):
            out.write("a.wav", analysis())
