from __future__ import annotations

import io
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maeum.http.form import AnalyzeForm
from tests.form_requests import BOUNDARY, END, FILE, LIMIT, part, post, post_body, read

# what a good form gives


def test_a_file_alone_gets_the_defaults() -> None:
    answer = post(files={"file": ("a.wav", b"sound", "audio/wav")}).json()
    defaults = {"gender": "MALE", "lang": "ko", "summary": True, "voice_pooling": "", "baseline": ""}
    assert answer == {"size": 5, "hex": b"sound".hex(), **defaults}


def test_all_fields_are_read_as_sent() -> None:
    data = {"gender": " female ", "lang": "EN", "summary": "false"}
    answer = post(files={"file": ("일기.m4a", b"\x00\xff\r\n--", "audio/mp4")}, data=data).json()
    assert (answer["gender"], answer["lang"], answer["summary"]) == ("female", "EN", False)
    assert bytes.fromhex(answer["hex"]) == b"\x00\xff\r\n--"


def test_text_fields_may_be_json_strings_as_bentomls_client_sends_them() -> None:
    answer = post(
        files={"file": ("a.wav", b"x")}, data={"gender": '"FEMALE"', "lang": '"ko"', "summary": '"true"'}
    ).json()
    assert (answer["gender"], answer["lang"], answer["summary"]) == ("FEMALE", "ko", True)


def test_the_codec_that_a_client_names_is_not_used() -> None:
    """Punycode takes time that grows with the square of the length, on the event loop; it would read this as MALE."""
    body = FILE + part('name="gender"', b"MALE-") + END
    answer = post_body(body, f"multipart/form-data; charset=punycode; boundary={BOUNDARY}")
    assert answer.json()["gender"] == "MALE-"


def test_empty_text_fields_count_as_not_sent() -> None:
    answer = post(files={"file": ("a.wav", b"x")}, data={"gender": "", "lang": "  ", "summary": '""'}).json()
    assert (answer["gender"], answer["lang"], answer["summary"]) == ("MALE", "ko", True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, True) for text in ("true", "TRUE", "1", "yes", "on", " true\n")],
        *[(text, False) for text in ("false", "False", "0", "no", "off")],
    ],
)
def test_summary_is_read_as_a_truth_value(text: str, value: bool) -> None:
    assert post(files={"file": ("a.wav", b"x")}, data={"summary": text}).json()["summary"] is value


@pytest.mark.parametrize("text", ["maybe", "2", "tru", "null", "참", "true,false"])
def test_another_summary_value_is_refused(text: str) -> None:
    answer = post(files={"file": ("a.wav", b"x")}, data={"summary": text})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_summary")


@pytest.mark.parametrize("filename", ["", "a.wav", "../../etc/passwd", "http://127.0.0.1/a.wav", 'q"uo;te', "가" * 500])
def test_the_file_name_does_not_matter(filename: str) -> None:
    assert post(files={"file": (filename or "x", b"sound")}).json()["size"] == 5


def test_a_file_without_a_name_but_with_bytes_is_a_file() -> None:
    assert post_body(part('name="file"; filename=""', b"sound") + END).json()["size"] == 5


def test_a_named_file_without_bytes_is_left_to_the_decoder() -> None:
    assert post(files={"file": ("a.wav", b"")}).json()["size"] == 0


def test_unknown_fields_are_ignored() -> None:
    assert post(files={"file": ("a.wav", b"x")}, data={"user": "7", "note": "안녕"}).status_code == 200


@given(st.binary(max_size=2_000), st.lists(st.integers(1, 500), max_size=20))
@example(b"\r\n--" + BOUNDARY.encode(), [1] * 20)
@settings(deadline=None, max_examples=60)
def test_any_bytes_arrive_whole_however_they_are_chunked(content: bytes, sizes: list[int]) -> None:
    if f"\r\n--{BOUNDARY}".encode() in b"\r\n" + content:
        content = b""
    stream = io.BytesIO(part('name="file"; filename="a"', content) + part('name="lang"', b"en") + END)
    chunks = [chunk for size in sizes if (chunk := stream.read(size))] + [stream.read()]
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    result, _ = read([*messages, {"type": "http.request", "body": b"", "more_body": False}])
    assert result == AnalyzeForm(content, "MALE", "en", True)


def test_the_upload_never_touches_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a temporary file was opened")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    content = bytes(LIMIT)
    result, _ = read(
        [{"type": "http.request", "body": part('name="file"; filename="a"', content) + END, "more_body": False}]
    )
    assert isinstance(result, AnalyzeForm)
    assert result.data == content


@pytest.mark.parametrize("as_file", [False, True])
def test_a_baseline_comes_as_text_or_as_a_file(as_file: bool) -> None:
    text = '{"mean": [1], "std": [2]}'
    files = {"file": ("a.wav", b"sound")} | ({"baseline": ("me.json", text.encode())} if as_file else {})
    data = {"voice_pooling": " windows "} | ({} if as_file else {"baseline": text})
    answer = post(files=files, data=data).json()
    assert (answer["voice_pooling"], answer["baseline"]) == ("windows", text)


@pytest.mark.parametrize(("content", "expected"), [(b"\xff\xfe", "\ufffd\ufffd"), (b"", "empty"), (b" \n", "empty")])
def test_a_baseline_file_that_is_no_text_is_left_to_the_pipeline_to_refuse(content: bytes, expected: str) -> None:
    answer = post(files={"file": ("a.wav", b"sound"), "baseline": ("me.json", content)}).json()
    assert answer["baseline"] == expected


def test_a_baseline_file_is_small() -> None:
    answer = post(files={"file": ("a.wav", b"sound"), "baseline": ("me.json", b" " * 20_000)})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_baseline")


@pytest.mark.parametrize(
    "others",
    [{"summary": "요약"}, {"summary": "false"}, {"baseline": "x" * 20_000}, {"voice_pooling": "windows"}],
)
def test_the_contract_knows_no_more_fields_than_the_original(others: dict[str, str]) -> None:
    data = {"gender": "FEMALE", "lang": "ja", **others}
    answer = post("/contract", files={"file": ("a.wav", b"sound")}, data=data)
    assert answer.status_code == 200
    known = {"gender": "FEMALE", "lang": "ja", "summary": True, "voice_pooling": "", "baseline": ""}
    assert answer.json() == {"size": 5, "hex": b"sound".hex(), **known}


def test_a_baseline_sent_as_a_file_is_nothing_to_the_contract() -> None:
    files = {"file": ("a.wav", b"sound"), "baseline": ("me.json", b" " * 20_000), "summary": ("a.txt", b"x")}
    assert post("/contract", files=files).status_code == 200


def test_options_are_all_but_the_audio() -> None:
    form = AnalyzeForm(b"sound", "FEMALE", "ja", False, "windows", "{}")
    assert form.options() == {
        "gender": "FEMALE",
        "lang": "ja",
        "summary": False,
        "voice_pooling": "windows",
        "baseline": "{}",
    }


# no file


@pytest.mark.parametrize(
    "body",
    [
        END,
        part('name="lang"', b"ko") + END,
        part('name="file"', b"http://127.0.0.1/a.wav") + END,  # text, not a file
        part('name="file"; filename=""', b"", "Content-Type: application/octet-stream") + END,  # an empty file input
        part('name="audio"; filename="a.wav"', b"sound") + END,
        part('name="FILE"; filename="a.wav"', b"sound") + END,
    ],
)
def test_a_form_without_a_file_is_a_400(body: bytes) -> None:
    answer = post_body(body)
    assert (answer.status_code, answer.json()["code"]) == (400, "no_file")
    assert "'file'" in answer.json()["message"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", json.dumps({"file": "x"}).encode()),
        ("application/x-www-form-urlencoded", b"file=x"),
        ("audio/wav", b"RIFF"),
        ("multipart/mixed; boundary=b0undary", FILE + END),
        ("", b""),
    ],
)
def test_another_content_type_is_a_400(content_type: str, body: bytes) -> None:
    answer = post_body(body, content_type)
    assert (answer.status_code, answer.json()["code"]) == (400, "no_file")
    assert "multipart/form-data" in answer.json()["message"]


def test_a_request_without_content_type_and_body_is_a_400() -> None:
    assert post().json()["code"] == "no_file"
