from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from maeum.errors import MaeumError, StageOverloaded
from maeum.http.form import read_form
from maeum.room import UploadRoom, UploadShare
from tests.form_requests import BOUNDARY, END, ENVELOPE, FILE, LIMIT, code_of, part, post, post_body, read

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
    ],
)
def test_a_form_that_is_malformed_is_a_400(content_type: str, body: bytes) -> None:
    answer = post_body(body, content_type)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_form")


MALE = part('name="gender"', b"MALE")
NOTE = part('name="note"', b"x")
MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (FILE + NOTE * 16 + MALE, "the form has more than 16 text fields"),
        (FILE * 5, "the form has more than 4 files"),
        (FILE + part('name="note"', bytes(MEGABYTE + 1)), "a text field is larger than 1048576 bytes"),
        (FILE + part('name="baseline"', b"{" * 2 * MEGABYTE), "a text field is larger than 1048576 bytes"),
    ],
)
def test_a_form_with_too_much_in_it_is_told_the_limit(body: bytes, message: str) -> None:
    for size in (len(body + END), 10_000):
        chunks = [(body + END)[at : at + size] for at in range(0, len(body + END), size)]
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        result, _ = read([*messages, {"type": "http.request", "body": b"", "more_body": False}], limit=3 * MEGABYTE)
        assert isinstance(result, MaeumError)
        assert (result.status, result.code, result.message) == (400, "malformed_form", message)


@pytest.mark.parametrize("body", [FILE + NOTE * 15 + MALE, FILE * 4, FILE + part('name="note"', bytes(MEGABYTE))])
def test_a_form_may_have_as_much_as_the_limits_say(body: bytes) -> None:
    result, _ = read([{"type": "http.request", "body": body + END, "more_body": False}], limit=3 * MEGABYTE)
    assert code_of(result) == "ok"


def test_a_text_field_counts_towards_the_limit() -> None:
    answer = post_body(FILE + part('name="lang"', bytes(LIMIT + ENVELOPE)) + END)
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert answer.json()["message"] == f"the upload is larger than {LIMIT} bytes"  # the audio file is not


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
    body, size = part('name="file"; filename="a.wav"', bytes(290_000)) + END, 70_000
    messages = [
        {"type": "http.request", "body": body[at : at + size], "more_body": True} for at in range(0, len(body), size)
    ]
    messages[-1]["more_body"] = False
    result, _ = read(messages, pause_s=pause_s)
    assert code_of(result) == code


def test_a_trickle_does_not_keep_an_upload_alive() -> None:
    """As many of those as there are places would keep everybody else out."""
    body = part('name="file"; filename="a.wav"', bytes(290_000)) + END
    messages = [
        {"type": "http.request", "body": body[at : at + 5_000], "more_body": True} for at in range(0, len(body), 5_000)
    ]
    result, taken = read(messages, pause_s=14)
    assert (code_of(result), taken) == ("upload_timeout", 3)


def test_a_byte_now_and_then_does_not_keep_an_upload_alive() -> None:
    body = FILE + END
    messages = [{"type": "http.request", "body": body[at : at + 1], "more_body": True} for at in range(len(body))]
    result, taken = read(messages, pause_s=14)
    assert (code_of(result), taken) == ("upload_timeout", 3)


def test_who_counts_the_bytes_may_refuse_more() -> None:
    room, outcomes = UploadRoom(100_000), []

    async def receive() -> Message:
        return {"type": "http.request", "body": part('name="file"; filename="a.wav"', bytes(60_000)) + END}

    async def main() -> None:
        scope = {"type": "http", "headers": [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]}
        share, another = UploadShare(room), UploadShare(room)
        outcomes.append(len((await read_form(Request(scope, receive), LIMIT, share.take)).data))
        with pytest.raises(StageOverloaded):
            await read_form(Request(scope, receive), LIMIT, another.take)
        another.give_back()
        share.give_back()
        share.give_back()
        assert room.free == 100_000
        outcomes.append(len((await read_form(Request(scope, receive), LIMIT, share.take)).data))

    asyncio.run(main())
    assert outcomes == [60_000, 60_000]


def test_empty_messages_do_not_keep_an_upload_alive() -> None:
    empty = {"type": "http.request", "body": b"", "more_body": True}
    start = part('name="file"; filename="a.wav"', bytes(70_000))
    result, taken = read([{"type": "http.request", "body": start, "more_body": True}] + [empty] * 9, pause_s=14)
    assert isinstance(result, MaeumError)
    assert (result.code, result.status, taken) == ("upload_timeout", 408, 4)
