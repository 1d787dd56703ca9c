from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from maeum.errors import MaeumError
from maeum.form import AnalyzeForm, read_form

LIMIT = 300_000
BOUNDARY = "b0undary"
ENVELOPE = 64 * 1024


async def echo(request: Request) -> Response:
    try:
        form = await read_form(request, LIMIT, contract=request.url.path == "/contract")
    except MaeumError as error:
        return JSONResponse({"code": error.code, "message": error.message}, error.status)
    return JSONResponse(
        {
            "size": len(form.data),
            "gender": form.gender,
            "lang": form.lang,
            "summary": form.summary,
            "voice_pooling": form.voice_pooling,
            "baseline": form.baseline,
            "hex": form.data[:32].hex(),
        }
    )


APP = Starlette(routes=[Route("/", echo, methods=["POST"]), Route("/contract", echo, methods=["POST"])])


def post(path: str = "/", **arguments: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://maeum") as client:
            return await client.post(path, **arguments)

    return asyncio.run(send())


def post_body(body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> httpx.Response:
    return post(content=body, headers={"content-type": content_type})


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = (f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", "")
    return "\r\n".join(lines).encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FILE = part('name="file"; filename="a.wav"', b"sound", "Content-Type: audio/wav")


def read(
    messages: Iterable[Message], headers: dict[str, str] | None = None, *, pause_s: float = 0
) -> tuple[AnalyzeForm | MaeumError, int]:
    """Read a form from scripted ASGI messages; gives the result and how many messages were taken.

    The clock of the event loop jumps by `pause_s` before each message.
    """
    queue = list(messages)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        if pause_s:
            loop = asyncio.get_running_loop()
            jumped_s = loop.time() + pause_s
            loop.time = lambda: jumped_s  # type: ignore[method-assign]
            for _ in range(3):  # turns of the loop, in which what is due happens
                await asyncio.sleep(0)
        return queue[taken - 1]

    raw = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | (headers or {})
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
    }

    async def run() -> AnalyzeForm | MaeumError:
        try:
            return await read_form(Request(scope, receive), LIMIT)
        except MaeumError as error:
            return error

    return asyncio.run(run()), taken


def code_of(result: AnalyzeForm | MaeumError) -> str:
    return result.code if isinstance(result, MaeumError) else "ok"


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


# malformed


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", FILE + END),
        ("multipart/form-data; boundary=", FILE + END),
        ("multipart/form-data; boundary=other", FILE + END),
        ("multipart/form-data; boundary=" + "x" * 5_000, FILE + END),
        (f"multipart/form-data; boundary={BOUNDARY}", b"no form at all"),
        (f"multipart/form-data; boundary={BOUNDARY}", b"\r\n" * 10 + b"no form at all"),
        (f"multipart/form-data; boundary={BOUNDARY}", part("size=3", b"sound") + END),
        (f"multipart/form-data; boundary={BOUNDARY}", part("", b"sound") + END),
        (f"multipart/form-data; boundary={BOUNDARY}", b"--b0undary\r\nbad header\r\n\r\nx\r\n" + END),
        (f"multipart/form-data; boundary={BOUNDARY}", b"--b0undary\r\n: x\r\n\r\nx\r\n" + END),
        (f"multipart/form-data; boundary={BOUNDARY}", FILE),  # the last boundary is missing
        (f"multipart/form-data; boundary={BOUNDARY}", FILE[:-4]),
        (f"multipart/form-data; boundary={BOUNDARY}", FILE[:30]),
        (f"multipart/form-data; boundary={BOUNDARY}", b""),
        (f"multipart/form-data; boundary={BOUNDARY}", FILE * 5 + END),
        (f"multipart/form-data; boundary={BOUNDARY}", FILE + part('name="a"', b"x") * 17 + END),
    ],
)
def test_a_form_that_is_malformed_is_a_400(content_type: str, body: bytes) -> None:
    answer = post_body(body, content_type)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_form")


def test_a_text_field_counts_towards_the_limit() -> None:
    answer = post_body(FILE + part('name="lang"', bytes(LIMIT + ENVELOPE)) + END)
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "no-such-charset", "utf-16", "idna", "base64", "undefined"])
def test_any_charset_gives_an_answer(charset: str) -> None:
    body = FILE + part('name="gender"', "남성\xff".encode()) + part('name="lang"', b"\xff\xfe\xfd") + END
    answer = post_body(body, f"multipart/form-data; boundary={BOUNDARY}; charset={charset}")
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("name", ["gender", "lang", "summary"])
def test_a_text_field_sent_as_a_file_is_refused(name: str) -> None:
    answer = post(files={"file": ("a.wav", b"x"), name: ("b.txt", b"MALE")})
    assert (answer.status_code, answer.json()["code"]) == (422, f"invalid_{name}")


@given(st.binary(max_size=200), st.integers(0, len(FILE + END)), st.integers(0, 40))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_body_gives_a_form_or_a_400(noise: bytes, at: int, dropped: int) -> None:
    body = FILE + END
    result, _ = read([{"type": "http.request", "body": body[:at] + noise + body[at + dropped :], "more_body": False}])
    assert not isinstance(result, MaeumError) or result.status in (400, 422)


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=60))
@settings(deadline=None, max_examples=150)
def test_any_content_type_gives_a_form_or_a_400(text: str) -> None:
    for content_type in (text, "multipart/form-data" + text, "multipart/form-data; " + text):
        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode("latin-1"))]}

        async def receive() -> Message:
            return {"type": "http.request", "body": FILE + END, "more_body": False}

        try:
            asyncio.run(read_form(Request(scope, receive), LIMIT))
        except MaeumError as error:
            assert error.status == 400  # noqa: PT017


# size


def test_a_file_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not() -> None:
    assert post(files={"file": ("a.wav", bytes(LIMIT))}).json()["size"] == LIMIT
    answer = post(files={"file": ("a.wav", bytes(LIMIT + 1))})
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert str(LIMIT) in answer.json()["message"]


def test_an_announced_length_above_the_limit_is_refused_before_reading() -> None:
    result, taken = read([], {"content-length": str(LIMIT + ENVELOPE + 1)})
    assert (code_of(result), taken) == ("upload_too_large", 0)


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5_000])
def test_an_absurd_announced_length_is_refused(length: str) -> None:
    result, taken = read([], {"content-length": length})
    assert (code_of(result), taken) == ("upload_too_large", 0)


@pytest.mark.parametrize("length", ["-1", "abc", "", "1e9", "²"])
def test_an_announced_length_that_is_no_number_is_not_trusted(length: str) -> None:
    result, _ = read([{"type": "http.request", "body": FILE + END, "more_body": False}], {"content-length": length})
    assert code_of(result) == "ok"


def test_a_chunked_body_is_counted_while_it_arrives() -> None:
    start = part('name="file"; filename="a.wav"', b"")[:-2]
    chunk = {"type": "http.request", "body": bytes(10_000), "more_body": True}
    endless = [{"type": "http.request", "body": start, "more_body": True}] + [chunk] * 10_000
    result, taken = read(endless)
    assert code_of(result) == "upload_too_large"
    assert taken <= (LIMIT + ENVELOPE) // 10_000 + 2


def test_a_small_announced_length_does_not_lift_the_limit() -> None:
    chunk = {"type": "http.request", "body": bytes(100_000), "more_body": True}
    start = {"type": "http.request", "body": part('name="file"; filename="a.wav"', b"")[:-2], "more_body": True}
    result, taken = read([start] + [chunk] * 100, {"content-length": "10"})
    assert (code_of(result), taken <= 6) == ("upload_too_large", True)


def test_an_endless_preamble_is_counted_too() -> None:
    chunk = {"type": "http.request", "body": b"\r\n" * 5_000, "more_body": True}
    result, taken = read([chunk] * 1_000)
    assert code_of(result) in ("upload_too_large", "malformed_form")
    assert taken <= 40


def test_a_chunked_upload_from_a_real_client_is_cut_off() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield part('name="file"; filename="a.wav"', b"")[:-2]
        for _ in range(100):
            yield bytes(50_000)

    answer = post(content=endless(), headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"})
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")


# a client that leaves


@pytest.mark.parametrize("sent", [b"", FILE[:20], FILE[:-1]])
def test_a_client_that_leaves_is_a_broken_upload(sent: bytes) -> None:
    result, _ = read([{"type": "http.request", "body": sent, "more_body": True}, {"type": "http.disconnect"}])
    assert isinstance(result, MaeumError)
    assert (result.code, result.message) == ("malformed_form", "the upload broke off")


# a client that says nothing


@pytest.mark.parametrize(("pause_s", "code"), [(29, "ok"), (31, "upload_timeout")])
def test_an_upload_may_take_long_but_not_stop(pause_s: float, code: str) -> None:
    body = FILE + END
    messages = [
        {"type": "http.request", "body": body[at : at + 10], "more_body": True} for at in range(0, len(body), 10)
    ]
    result, _ = read([*messages, {"type": "http.request", "body": b"", "more_body": False}], pause_s=pause_s)
    assert code_of(result) == code


def test_empty_messages_do_not_keep_an_upload_alive() -> None:
    empty = {"type": "http.request", "body": b"", "more_body": True}
    result, taken = read([{"type": "http.request", "body": FILE, "more_body": True}] + [empty] * 9, pause_s=14)
    assert isinstance(result, MaeumError)
    assert (result.code, result.status, taken) == ("upload_timeout", 408, 4)


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


@pytest.mark.parametrize(("content", "expected"), [(b"\xff\xfe", "\ufffd\ufffd"), (b"", "empty")])
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
