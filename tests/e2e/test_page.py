"""The page at `/` and the API's description at `/docs`, as the real server gives them."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any, cast
from urllib.parse import urljoin

import av
import httpx
import pytest
import soundfile
from fastapi import FastAPI
from starlette.testclient import TestClient

from maeum.http.web import build_router
from maeum.settings import Settings
from maeum.summary import FAILURE_REASONS, SKIP_REASONS
from tests.conftest import Clip

# The name of a format, which nobody fetches.
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
WEB = files("maeum.http.web")


def policy_of(answer: httpx.Response) -> dict[str, list[str]]:
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: values for name, *values in parts}


def references(html: str) -> list[str]:
    return [target for target in re.findall(r'(?:src|href)="([^"]+)"', html) if not target.startswith("#")]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_page_is_served_with_a_strict_policy(server: str, method: str) -> None:
    answer = httpx.request(method, f"{server}/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = policy_of(answer)
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_everything_that_a_page_names_is_on_the_server(server: str, path: str) -> None:
    html = httpx.get(server + path).text
    found = references(html)
    assert found
    for target in found:
        assert not re.match(r"\w+:|//", target), target
        answer = httpx.get(urljoin(server + path, target))
        assert answer.status_code == 200, target
        if target.endswith(".js"):
            assert answer.headers["Content-Type"].startswith("text/javascript"), target
        for module in re.findall(r'from "\./([^"]+)"', answer.text if target.startswith("page/") else ""):
            assert httpx.get(f"{server}/page/{module}").status_code == 200, module


def test_docs_allow_no_other_server(server: str) -> None:
    answer = httpx.get(f"{server}/docs")
    assert answer.status_code == 200
    policy = policy_of(answer)
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["connect-src"] == ["'self'"]


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "__init__.py", "%2e%2e%2fsettings.py"])
def test_nothing_else_is_served(server: str, name: str) -> None:
    answer = httpx.get(f"{server}/page/{name}")
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_no_file_mentions_another_server_or_writes_markup() -> None:
    for file in WEB.iterdir():
        if not file.name.endswith((".html", ".css", ".js", ".svg")):
            continue
        text = file.read_text(encoding="utf-8").replace(SVG_NAMESPACE, "")
        assert not re.findall(r"https?://|@import|[\"'(]//", text), file.name
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), file.name


def groups_of(language: str) -> dict[str, set[str]]:
    """Codes of each group of texts in one language; the texts outside groups are those of the group `page`."""
    texts = WEB.joinpath("texts.js").read_text(encoding="utf-8")
    own = texts.split(f"const {language} = {{\n")[1].split("\n};")[0]
    inner = dict(re.findall(r"^  (\w+): \{(.*?)\},?$", own, re.MULTILINE | re.DOTALL))
    codes = {name: set(re.findall(r'(\w+): "', body)) for name, body in inner.items()}
    return {**codes, "page": set(re.findall(r"^  (\w+):", own, re.MULTILINE)) - set(inner)}


def test_both_languages_have_every_text() -> None:
    korean, english = groups_of("ko"), groups_of("en")
    assert set(korean) == {"page", "microphone", "errors", "warnings", "reasons", "labels", "stages"}
    assert english["labels"] > korean["labels"] == {"ANGRY", "SAD", "DISGUST", "HAPPY", "FEAR", "SURPRISE"}
    assert {**korean, "labels": set()} == {**english, "labels": set()}
    html = WEB.joinpath("index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'data-text="(\w+)"', html)) <= korean["page"]
    # What only who runs the server can mend has one text for all.
    mended_there = {"redirected", "rejected", "invalid_answer", "unexpected"}
    assert korean["reasons"] == set(SKIP_REASONS | FAILURE_REASONS) - mended_there | {"other"}


def test_the_page_says_how_long_a_recording_may_be(server: str) -> None:
    assert f'<body data-longest-s="{Settings().max_duration_s:g}">' in httpx.get(server).text
    app = FastAPI()
    app.include_router(build_router(90))
    assert '<body data-longest-s="90">' in TestClient(app).get("/").text


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a user sees in each story of `page_behaviour.mjs`."""
    if not shutil.which("node"):
        pytest.skip("there is no node")
    folder = tmp_path_factory.mktemp("page") / "web"
    shutil.copytree(Path(str(WEB)), folder)
    (folder / "package.json").write_text('{"type": "module"}')
    script = Path(__file__).parents[1] / "page_behaviour.mjs"
    done = subprocess.run(["node", script, folder], stdout=subprocess.PIPE, check=True, timeout=60)
    return cast("dict[str, Any]", json.loads(done.stdout))


def test_the_hint_says_the_length_in_words(seen: dict[str, Any]) -> None:
    assert seen["hint"] == "최대 1분 30초까지 녹음할 수 있어요."


def test_the_recording_button_keeps_the_focus_and_asks_once(seen: dict[str, Any]) -> None:
    told = seen["keyboard"]
    assert told["asking"] == ["녹음 시작", "true", "record"]
    assert told["recording"] == ["녹음 끝내기", "false", "record"]
    assert told["recorded"] == ["녹음 시작", "false", "record", "방금 녹음한 말"]
    assert told["noMicrophone"] == ["녹음 시작", "false", "record", ["마이크를 찾지 못했어요.", ""]]
    assert told["asked"] == 2, "for the first recording, and for the one without a microphone"


def test_a_recording_is_neither_replaced_nor_sent_before_its_end(seen: dict[str, Any]) -> None:
    told = seen["recording"]
    assert told["asking"] == told["recording"] == {"chosen": "mine.wav", "submit": True, "file": True}
    assert told["sent"] == 0
    assert told["recorded"] == {"chosen": "방금 녹음한 말", "usable": True}


def test_the_microphone_is_released(seen: dict[str, Any]) -> None:
    error = ["녹음을 시작하지 못했어요.", ""]
    assert seen["released"] == {"recording": 0, "recorded": 1, "refused": 2, "error": error}


def test_the_player_seeks_a_length_that_it_does_not_know(seen: dict[str, Any]) -> None:
    assert seen["length"] == {"sought": 1e9, "back": 0, "known": 0}


def test_progress_has_no_value_while_the_server_listens(seen: dict[str, Any]) -> None:
    told = seen["answer"]
    assert told["sending"] == ["보내는 중이에요…", "0", "cancel"]
    assert told["analyzing"] == ["듣고 있어요…", "indeterminate", "cancel"]
    assert told["progress"] is None


def test_an_answer_is_shown_for_the_file_that_was_sent(seen: dict[str, Any]) -> None:
    told = seen["answer"]
    assert (told["chosen"], told["transcript"]) == ("mine.wav", "안녕")
    assert told["usable"]
    assert told["focus"] == "result-title"


def test_an_answer_goes_with_the_next_file_recording_or_sending(seen: dict[str, Any]) -> None:
    assert seen["places"] == [True, False, True, False, True, False, False], "the last after an error"


def test_an_error_is_shown_until_the_next_try_and_leaves_a_usable_form(seen: dict[str, Any]) -> None:
    busy = ["지금은 요청이 많아요. 잠시 뒤에 다시 해 주세요.", "overloaded: busy"]
    broken = ["서버와 연결이 끊겼어요. 파일이 너무 크거나 서버가 꺼져 있을 수 있어요.", ""]
    other = ["분석하지 못했어요.", ""]
    after_each = [[error, True, "submit", ""] for error in (busy, broken, other)]
    assert seen["errors"] == [after_each[0], [None, False, "cancel", ""], *after_each[1:]]


def test_cancelling_ends_the_request_and_leaves_a_usable_form(seen: dict[str, Any]) -> None:
    told = seen["cancelled"]
    assert told["isAborted"]
    assert told["seen"] == ["그만두었어요.", None, False, True, "submit"]
    assert (told["again"], told["answered"]) == ("0", True)


def test_what_is_not_in_the_page_s_language_names_its_own(seen: dict[str, Any]) -> None:
    assert seen["languages"] == {"page": "en", "transcript": "ko", "time": None, "said": "ko", "detail": "en"}


def test_markup_in_an_answer_stays_text(seen: dict[str, Any]) -> None:
    told = seen["markup"]
    assert told["made"] == ["dd", "dt", "li", "span"]
    in_answer = {"emotion", "model", "part", "segment", "stage", "summary", "transcript", "voice", "warning", "words"}
    assert set(told["shown"]) == in_answer | {"file", "code", "message"}


def test_the_service_takes_what_browsers_record(server: str, clip: Clip) -> None:
    """Chromium and Firefox record Opus in a WebM without a length, written as a stream."""
    samples, rate_hz = soundfile.read(clip.path, dtype="int16")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm", container_options={"live": "1"}) as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler("flt", "mono", 48_000, frame_size=960)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    upload = {"file": ("recording.webm", buffer.getvalue(), "audio/webm;codecs=opus")}
    answer = httpx.post(f"{server}/v1/analyze", files=upload, data={"gender": clip.gender, "lang": "ko"}, timeout=120)
    assert answer.status_code == 200, answer.text
    assert answer.json()["transcript"]["duration_s"] == pytest.approx(len(samples) / rate_hz, abs=0.1)
    assert answer.json()["transcript"]["text"]
