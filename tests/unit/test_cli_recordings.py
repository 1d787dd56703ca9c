from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from maeum.cli.recordings import Results, find_recordings
from maeum.errors import InvalidField
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.schemas import (
    AnalysisBody,
    EmotionBody,
    ErrorDetail,
    ModelsBody,
    SegmentBody,
    SummaryBody,
    TranscriptBody,
)

BROKEN = ErrorDetail(code="undecodable_audio", message="the file is not audio that can be decoded")


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
    for name in ("b.WAV", "a.m4a", "notes.txt", "deep/er/c.opus", "deep/.hidden.flac"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    named = str(tmp_path / "notes.txt")
    found = find_recordings([named, str(tmp_path), "absent.wav"])
    below = ["a.m4a", "b.WAV", "deep/.hidden.flac", "deep/er/c.opus"]
    assert found == [named, *(str(tmp_path / name) for name in below), "absent.wav"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InvalidField, match="holds no recordings") as caught:
        find_recordings([str(tmp_path)])
    assert caught.value.code == "no_recordings"


@pytest.mark.parametrize("name", ["all.jsonl", "all.csv"])
def test_what_has_an_analysis_is_known_and_what_failed_is_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    with results(path) as first:
        assert first.known == frozenset()
        first.write("a,\n.wav", analysis())
        first.write("b.wav", BROKEN)
        first.write("침묵.wav", analysis(""))
    whole = path.read_bytes()
    assert b"undecodable_audio" in whole
    path.write_bytes(whole + b'{"file": "cut o')  # the process ended in the middle of a line

    with results(path) as second:
        assert second.known == {"a,\n.wav", "침묵.wav"}
        second.write("b.wav", analysis())
    with results(path) as third:
        assert third.known == {"a,\n.wav", "b.wav", "침묵.wav"}
    assert path.read_bytes().count(b"b.wav") == 1
    assert b"cut o" not in path.read_bytes()
    assert [each.name for each in path.parent.iterdir()] == [name]


def test_a_json_line_is_the_http_answer(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    with results(path) as out:
        out.write("a.wav", analysis())
        out.write("b.wav", BROKEN)
    answered, failed = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert answered == {"file": "a.wav", **analysis().model_dump()}
    assert failed == {"file": "b.wav", "error": BROKEN.model_dump()}


def test_a_spreadsheet_has_a_column_for_everything(tmp_path: Path) -> None:
    path = tmp_path / "all.CSV"
    with results(path) as out:
        out.write("a.wav", analysis())
        out.write("b.wav", BROKEN)
        out.write("c.wav", analysis(""))
    assert path.read_bytes().startswith(b"\xef\xbb\xbffile,")  # or spreadsheets take it for another encoding
    with path.open(encoding="utf-8-sig", newline="") as stream:
        answered, failed, silent = csv.DictReader(stream)
    assert answered["transcript"] == analysis().transcript.text
    assert (answered["emotion"], answered["기쁨"], answered["슬픔"]) == ("기쁨", "0.5", "0.1")
    assert float(answered["text 상처"]) == float(answered["voice FEAR"]) == pytest.approx(1 / 6)
    assert answered["error"] == answered["warnings"] == ""
    assert failed["error"] == "undecodable_audio: the file is not audio that can be decoded"
    assert failed["transcript"] == failed["기쁨"] == ""
    assert (silent["text 기쁨"], silent["warnings"]) == ("", "no_speech low_confidence")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"remember the milk\n"),
        ("other.jsonl", b'{"path": "a.wav"}\n'),
        ("list.jsonl", b"[1]\n"),
        ("other.csv", b"path,emotion\na.wav,joy\n"),
        ("other.csv", b"\xff\xfe"),
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidField, match="something else than analyses") as caught, results(path):
        pass
    assert caught.value.code == "unwritable_output"
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidField, match="cannot be written: File exists"), results(tmp_path / "file" / "a.csv"):
        pass
    with pytest.raises(InvalidField, match="cannot be written: Is a directory"), results(tmp_path):
        pass
