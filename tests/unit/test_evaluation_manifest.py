from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from maeum.errors import InvalidManifest
from maeum.evaluation.manifest import Clip, Manifest, read_manifest
from maeum.fusion import EN_LABELS, KO_LABELS, Fusion, Projection

FUSION = Fusion(Projection(), KO_LABELS, EN_LABELS)


def read(folder: Path, content: str | bytes) -> Manifest:
    path = folder / "clips.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_manifest(path, FUSION, frozenset({"ko", "en"}))


def test_every_column_is_read(tmp_path: Path) -> None:
    manifest = read(
        tmp_path,
        "\ufeffpath, text,emotion,gender,lang,speaker,note\n"
        'sub/a.wav,"안녕, 잘",angry,female,EN,me,x\n/b.wav,,슬픔,,,,\n',
    )
    assert manifest.clips == (
        Clip(2, "sub/a.wav", tmp_path / "sub/a.wav", "안녕, 잘", "ANGRY", "FEMALE", "en", "me"),
        Clip(3, "/b.wav", Path("/b.wav"), None, "슬픔", None, "ko", None),
    )
    assert manifest.ignored_columns == ("note",)


def test_labels_that_differ_in_case_alone_are_told_apart(tmp_path: Path) -> None:
    words, voice, eye = ("joy", "sad"), ("Joy", "Sad"), ((1.0, 0.0), (0.0, 1.0))
    projection = Projection(ko_labels=words, en_labels=voice, ko_to_en=eye, en_to_ko=eye)
    path = tmp_path / "clips.csv"
    path.write_text("path,emotion\na.wav,joy\nb.wav,Joy\n")
    manifest = read_manifest(path, Fusion(projection, words, voice), frozenset({"ko"}))
    assert [clip.emotion for clip in manifest.clips] == ["joy", "Joy"]
    path.write_text("path,emotion\na.wav,JOY\n")
    with pytest.raises(InvalidManifest, match="'JOY' is none of joy, sad, Joy, Sad"):
        read_manifest(path, Fusion(projection, words, voice), frozenset({"ko"}))


def test_decomposed_letters_mean_the_same(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "path,text,emotion,speaker\n일기.wav,안녕,기쁨,화자\n")
    (clip,) = read(tmp_path, decomposed).clips
    assert (clip.text, clip.emotion, clip.speaker) == ("안녕", "기쁨", "화자")
    assert clip.file == tmp_path / unicodedata.normalize("NFD", "일기.wav")


@pytest.mark.parametrize(("on_disk", "in_the_list"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_file_is_found_however_its_letters_are_composed(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], in_the_list: Literal["NFC", "NFD"]
) -> None:
    file = tmp_path / unicodedata.normalize(on_disk, "일기.wav")
    file.touch()
    (clip,) = read(tmp_path, unicodedata.normalize(in_the_list, "path\n일기.wav\n")).clips
    assert clip.file == file


def test_what_a_spreadsheet_adds_is_overlooked(tmp_path: Path) -> None:
    manifest = read(tmp_path, "path,emotion,,\na.wav,기쁨,,\n,,,\n,,,\n")
    assert [clip.path for clip in manifest.clips] == ["a.wav"]
    assert manifest.ignored_columns == ()


def test_only_a_path_is_needed(tmp_path: Path) -> None:
    assert read(tmp_path, "path\na.wav\n\nb.wav\n").clips[1].path == "b.wav"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "column path"),
        ("emotion\n기쁨\n", "column path"),
        ("path,text,text\na,b,c\n", "twice: text"),
        ("path\n", "lists no clip"),
        ("path,text\na.wav\n", "line 2"),
        ("path,text\na.wav,b,c\n", "line 2"),
        ("path,text,emotion\n,,기쁨\n", "line 2 of the manifest has neither a path nor a text"),
        ("path,emotion\na.wav,기쁨\nb.wav,joy\n", "line 3 of the manifest: the emotion 'joy' is none of 기쁨"),
        ("path,gender\na.wav,X\n", "line 2 of the manifest: gender must be"),
        ("path,lang\na.wav,de\n", "does not transcribe 'de'"),
        ('path\na.wav\n"b.wav\n', "cannot be read: line 3"),
        ("path,emotion\na.wav,기쁨\n\nb.wav,joy\n", "line 4 of the manifest: the emotion"),
        ("path,emotion\na.wav,joy\nb.wav,기쁨\nc.wav,중립\n", "line 2 of the manifest: the emotion 'joy'"),
        ("path,emotion\na.wav,joy\nb.wav,기쁨\nc.wav,중립\n", "line 4 of the manifest: the emotion '중립'"),
        ("path,emotion\n" + "a.wav,joy\n" * 13, "; and 3 lines more"),
        ("path;emotion\na.wav;기쁨\n", "divided by ';', and must be by commas"),
        ("path,emotion\na.wav,기쁨\n".encode("cp949"), "not UTF-8: save it as such"),
        ("path,emotion\na.wav,기쁨\n".encode("utf-16"), "not UTF-8: save it as such"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str | bytes, named: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        read(tmp_path, content)
    assert named in caught.value.message


def test_a_workbook_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "clips.xlsx").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(InvalidManifest, match=r"clips\.xlsx is a workbook: save its sheet as CSV"):
        read_manifest(tmp_path / "clips.xlsx", FUSION, frozenset({"ko"}))


def test_a_language_may_name_its_country(tmp_path: Path) -> None:
    assert read(tmp_path, "path,lang\na.wav,ko-KR\n").clips[0].language == "ko"


def test_the_case_of_the_columns_does_not_matter(tmp_path: Path) -> None:
    (clip,) = read(tmp_path, "Path,EMOTION\na.wav,기쁨\n").clips
    assert (clip.path, clip.emotion) == ("a.wav", "기쁨")


@pytest.mark.parametrize("content", ["text\n안녕\n", "path,text\n,안녕\n", "path,text,lang\n,안녕,de\n"])
def test_a_row_without_a_path_is_words_only(tmp_path: Path, content: str) -> None:
    (clip,) = read(tmp_path, content).clips
    assert (clip.path, clip.file, clip.text) == ("line 2", None, "안녕")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"missing\.csv cannot be read: No such file"):
        read_manifest(tmp_path / "missing.csv", FUSION, frozenset({"ko"}))
