"""Bad requests get a clear error with the right status, on both routes in their own form."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile

from maeum import errors
from maeum.settings import PROJECT_DIR
from tests.conftest import Clip, serve

ROUTES = ["/api/diary/analyze", "/v1/analyze"]
BENTOML_ROUTE = "/bentoml/analyze"
LIMIT = 25 * 1024 * 1024


def check(response: httpx.Response, status: int, code: str) -> None:
    """Assert the status and the error's form on the route that was asked."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert list(response.json()) == ["error"]
    if response.url.path != "/api/diary/analyze":
        assert error["code"] == code
        assert error["message"]
    else:
        assert isinstance(error, str)
        assert error


@pytest.mark.parametrize("route", ROUTES)
class TestBothRoutes:
    def test_no_file(self, server: str, route: str) -> None:
        check(httpx.post(server + route), 400, "no_file")
        check(httpx.post(server + route, data={"gender": "MALE"}), 400, "no_file")
        check(httpx.post(server + route, files={"other": b"x"}), 400, "no_file")
        check(httpx.post(server + route, json={"file": "x"}), 400, "no_file")

    def test_url_in_place_of_a_file_is_not_fetched(self, server: str, route: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(1)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.wav"
            check(httpx.post(server + route, files={"file": (None, url)}), 400, "no_file")
            with pytest.raises(TimeoutError):
                listener.accept()

    def test_empty_file(self, server: str, route: str) -> None:
        check(httpx.post(server + route, files={"file": ("a.wav", b"")}), 422, "empty_audio")

    def test_not_audio(self, server: str, route: str) -> None:
        check(httpx.post(server + route, files={"file": ("a.wav", b"not audio" * 99)}), 422, "undecodable_audio")

    def test_wrong_gender(self, server: str, route: str, clip: Clip) -> None:
        response = httpx.post(server + route, files={"file": clip.data}, data={"gender": "ROBOT"})
        check(response, 422, "invalid_gender")

    @pytest.mark.parametrize(("lang", "code"), [("en", "unsupported_language"), ("한국어", "invalid_lang")])
    def test_wrong_language(self, server: str, route: str, clip: Clip, lang: str, code: str) -> None:
        check(httpx.post(server + route, files={"file": clip.data}, data={"lang": lang}), 422, code)

    def test_announced_too_large(self, server: str, route: str) -> None:
        check(httpx.post(server + route, files={"file": bytes(LIMIT + 1)}), 413, "upload_too_large")

    def test_too_large_without_an_announced_length(self, server: str, route: str) -> None:
        """A chunked body is stopped while it arrives: this one would never end."""
        url = urlsplit(server)
        with socket.create_connection((url.hostname, url.port or 80), timeout=60) as connection:
            connection.sendall(
                f"POST {route} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
            )
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            connection.sendall(b"%x\r\n%s\r\n" % (len(head), head))
            chunk = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
            with contextlib.suppress(OSError):  # the server hangs up when it has seen enough
                for _ in range(4 * LIMIT // len(chunk)):
                    connection.sendall(chunk)
            answer = _receive(connection)
        assert b" 413 " in answer.split(b"\r\n", 1)[0]

    def test_too_long(self, server: str, route: str) -> None:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.zeros(601 * 8000, np.int16), 8000, format="FLAC", subtype="PCM_16")
        check(
            httpx.post(server + route, files={"file": ("a.flac", buffer.getvalue())}, timeout=60), 413, "audio_too_long"
        )

    def test_other_method(self, server: str, route: str) -> None:
        for method in ("GET", "PUT", "OPTIONS", "PROPFIND"):
            response = httpx.request(method, server + route)
            check(response, 405, "method_not_allowed")
            assert response.headers["allow"] == "POST"

    def test_malformed_form(self, server: str, route: str) -> None:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        check(httpx.post(server + route, content=b"--c\r\nnonsense", headers=headers), 400, "malformed_form")
        check(
            httpx.post(server + route, content=b"", headers={"content-type": "multipart/form-data"}),
            400,
            "malformed_form",
        )


def _receive(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n" not in answer and (part := connection.recv(65536)):
        answer += part
    return answer


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE", "PROPFIND"])
def test_unknown_v1_route_answers_json(server: str, method: str) -> None:
    response = httpx.request(method, f"{server}/v1/nothing")

    check(response, 404, "not_found")
    assert "allow" not in response.headers


def test_unsupported_language_says_which_are_known(server: str, clip: Clip) -> None:
    response = httpx.post(f"{server}/v1/analyze", files={"file": clip.data}, data={"lang": "en"})

    assert "'en'" in response.json()["error"]["message"]
    assert "ko" in response.json()["error"]["message"]


def test_wrong_summary_value(server: str, clip: Clip) -> None:
    response = httpx.post(f"{server}/v1/analyze", files={"file": clip.data}, data={"summary": "perhaps"})

    check(response, 422, "invalid_summary")


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("small") / "log.txt"
    limits = {
        "MAEUM_MAX_UPLOAD_BYTES": "50000",
        "MAEUM_MAX_DURATION_S": "2",
        "MAEUM_MAX_IN_FLIGHT": "3",
        # BentoML itself refuses batches of one.
        **{f"MAEUM_{model}_BATCH": "1" for model in ("SPEECH", "TEXT", "VOICE")},
        "MAEUM_REQUEST_TIMEOUT_S": "5",
    }
    with serve(log, **limits) as url:
        yield url


def test_limits_are_settings(small_server: str, clip: Clip) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(40_000, np.int16), 16_000, format="FLAC", subtype="PCM_16")
    url = f"{small_server}/v1/analyze"

    check(httpx.post(url, files={"file": clip.data}), 413, "upload_too_large")
    check(httpx.post(url, files={"file": buffer.getvalue()}), 413, "audio_too_long")


@contextlib.contextmanager
def _all_places_taken(server: str) -> Iterator[list[socket.socket]]:
    """An upload on each of the three routes that stays half sent."""
    url = urlsplit(server)
    with contextlib.ExitStack() as stack:
        connections = []
        for route in (*ROUTES, BENTOML_ROUTE):
            connection = stack.enter_context(socket.create_connection((url.hostname, url.port or 80), timeout=60))
            connection.sendall(
                f"POST {route} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n".encode()
            )
            connections.append(connection)
        _wait_for_status(server, 503)
        yield connections


def _wait_for_status(server: str, status: int) -> None:
    deadline = time.monotonic() + 30
    while httpx.post(f"{server}/v1/analyze").status_code != status:
        assert time.monotonic() < deadline


def test_more_requests_than_are_worked_on_at_once_are_turned_away(small_server: str) -> None:
    with _all_places_taken(small_server), httpx.Client(base_url=small_server) as client:
        responses = [client.post(route) for route in (*ROUTES, BENTOML_ROUTE)]
    for response in responses:
        check(response, 503, "overloaded")
        assert response.headers["retry-after"] == "1"
    _wait_for_status(small_server, 400)  # the clients have left, and the places are free again


def test_a_request_ends_with_its_deadline(small_server: str) -> None:
    with _all_places_taken(small_server) as connections:
        answers = [_receive_all(connection).lower() for connection in connections]
    for answer in answers:
        head, body = answer.split(b"\r\n\r\n", 1)
        assert b" 504 " in head.split(b"\r\n", 1)[0]
        assert b"\r\nconnection: close" in head
        assert b"5 s" in body
    assert [b'"code":"timeout"' in answer for answer in answers] == [False, True, True]
    _wait_for_status(small_server, 400)


def _receive_all(connection: socket.socket) -> bytes:
    """What the server says until it hangs up."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_bentoml_s_route_answers_errors_as_v1_does(server: str, clip: Clip) -> None:
    check(httpx.post(server + BENTOML_ROUTE), 400, "no_file")
    response = httpx.post(server + BENTOML_ROUTE, files={"file": clip.data}, data={"gender": "ROBOT"})
    check(response, 422, "invalid_gender")


def test_the_readme_lists_every_code() -> None:
    readme = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    rows = readme.split("| status | code |\n")[1].split("\n\n")[0].splitlines()

    tree = re.findall(r"(\d{3})  ([a-z_, ]+)$", errors.__doc__ or "", re.MULTILINE)
    assert ("500", "internal_error") in tree
    for status, codes in tree:
        for code in codes.split(", "):
            assert [status in row for row in rows if f"`{code}`" in row] == [True], code


def test_the_log_says_which_error_was_answered(server: str, clip: Clip, server_log: Path) -> None:
    for path in ("/v1/analyze", "/api/diary/analyze", BENTOML_ROUTE):
        asked = httpx.post(f"{server}{path}", files={"file": clip.data}, data={"gender": "ROBOT"}, timeout=60)
        line = f"request_id={asked.headers['x-request-id']} method=POST path={path} status=422 code=invalid_gender"
        deadline = time.monotonic() + 10  # it is written once the answer has gone
        while line not in server_log.read_text(errors="replace"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_transcript_is_never_logged(server: str, clip: Clip, server_log: Path) -> None:
    answer = httpx.post(f"{server}/v1/analyze", files={"file": ("secret-name.flac", clip.data)}, timeout=60).json()

    log = server_log.read_text(errors="replace")
    assert "path=/v1/analyze status=200" in log
    assert answer["transcript"]["text"] not in log
    assert "secret-name" not in log
    assert json.dumps(answer["transcript"]["text"]) not in log
