"""The original's contract and the full answer, over real HTTP."""

from __future__ import annotations

import io
import json

import httpx
import pytest
import soundfile

from tests.conftest import Clip

LABELS = ["기쁨", "당황", "분노", "불안", "상처", "슬픔"]
ENGLISH = {"ANGRY", "SAD", "DISGUST", "HAPPY", "FEAR", "SURPRISE"}


def post(server: str, path: str, clip: Clip, **fields: str) -> httpx.Response:
    return httpx.post(f"{server}{path}", files={"file": (clip.path.name, clip.data)}, data=fields, timeout=60)


def test_contract_answers_exactly_two_keys(server: str, clip: Clip) -> None:
    response = post(server, "/api/diary/analyze", clip, gender="FEMALE", lang="ko")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    answer = response.json()
    assert list(answer) == ["summary", "emotion_analysis"]
    assert len(answer["emotion_analysis"]) == 6
    assert all(0 <= p <= 1 for p in answer["emotion_analysis"])
    assert sum(answer["emotion_analysis"]) == pytest.approx(1, abs=1e-6)
    assert answer["summary"].startswith("(요약 실패) ")
    assert "(요약 실패)" in response.text  # Korean is not escaped


def test_full_answer_has_every_part(server: str, clip: Clip) -> None:
    answer = post(server, "/v1/analyze", clip, gender="male").json()

    assert list(answer) == [
        "transcript", "emotion", "text_emotion", "voice_emotion", "summary", "warnings", "models", "timings_ms",
    ]  # fmt: skip
    assert answer["emotion"]["labels"] == LABELS
    top = answer["emotion"]["probabilities"].index(max(answer["emotion"]["probabilities"]))
    assert answer["emotion"]["top"] == LABELS[top]
    assert set(answer["text_emotion"]) == set(LABELS)
    assert set(answer["voice_emotion"]) == ENGLISH
    assert sum(answer["voice_emotion"].values()) == pytest.approx(1, abs=1e-6)
    assert answer["transcript"]["language"] == "ko"
    assert answer["transcript"]["text"]
    assert answer["transcript"]["duration_s"] == pytest.approx(soundfile.info(clip.path).duration, abs=0.01)
    assert answer["models"] == {
        "speech": "embedded:speech", "text": "embedded:text", "voice": "embedded:voice", "summary": None,
    }  # fmt: skip
    assert answer["summary"] == {"status": "skipped", "text": None, "reason": "no_api_key"}
    assert {"decode", "features", "voice", "speech", "text", "fuse", "total"} <= set(answer["timings_ms"])


def test_both_routes_give_the_same_probabilities(server: str, clip: Clip) -> None:
    contract = post(server, "/api/diary/analyze", clip).json()["emotion_analysis"]
    full = post(server, "/v1/analyze", clip).json()["emotion"]["probabilities"]

    assert full == pytest.approx(contract, abs=1e-4)


def test_gender_changes_the_voice(server: str, clip: Clip) -> None:
    male = post(server, "/v1/analyze", clip).json()["voice_emotion"]
    female = post(server, "/v1/analyze", clip, gender="FEMALE").json()["voice_emotion"]

    assert post(server, "/v1/analyze", clip, gender="").json()["voice_emotion"] == pytest.approx(male, abs=1e-4)
    assert female != pytest.approx(male, abs=1e-4)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_of_any_width_and_channel_count(server: str, clip: Clip, subtype: str, channels: int) -> None:
    samples, rate_hz = soundfile.read(clip.path, dtype="float32")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples[:, None].repeat(channels, 1), rate_hz, subtype=subtype, format="WAV")

    response = httpx.post(f"{server}/v1/analyze", files={"file": ("a.wav", buffer.getvalue())}, timeout=60)

    assert response.status_code == 200
    assert response.json()["transcript"]["text"]


def test_silence_lets_the_voice_decide(server: str) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, [0.0] * 32_000, 16_000, format="WAV")

    answer = httpx.post(f"{server}/v1/analyze", files={"file": ("a.wav", buffer.getvalue())}, timeout=60).json()

    assert answer["transcript"]["text"] == ""
    assert answer["text_emotion"] is None
    assert answer["warnings"] == ["no_speech"]
    assert answer["summary"] == {"status": "skipped", "text": None, "reason": "no_speech"}
    assert sum(answer["emotion"]["probabilities"]) == pytest.approx(1, abs=1e-6)


def test_the_contract_s_route_warns_in_a_header(server: str, clip: Clip) -> None:
    silence = io.BytesIO()
    soundfile.write(silence, [0.0] * 32_000, 16_000, format="WAV")
    doubtful = httpx.post(f"{server}/api/diary/analyze", files={"file": silence.getvalue()}, timeout=60)
    sure = post(server, "/api/diary/analyze", clip)

    assert list(doubtful.json()) == list(sure.json()) == ["summary", "emotion_analysis"]
    assert doubtful.headers["x-maeum-warnings"] == "no_speech"
    assert "x-maeum-warnings" not in sure.headers


def test_a_language_may_name_its_country(server: str, clip: Clip) -> None:
    answer = post(server, "/v1/analyze", clip, lang="ko-KR").json()

    assert answer["transcript"]["language"] == "ko"


def test_summary_can_be_left_out(server: str, clip: Clip) -> None:
    answer = post(server, "/v1/analyze", clip, summary="false").json()

    assert answer["summary"] == {"status": "skipped", "text": None, "reason": "not_requested"}


def test_v1_takes_a_voice_pooling_and_a_speakers_own_baseline(server: str, clips: list[Clip]) -> None:
    clip = max(clips, key=lambda one: len(one.data))  # of several windows
    baseline = json.dumps({"mean": [0.0] * 13, "std": [50.0] * 13})
    plain = post(server, "/v1/analyze", clip).json()
    pooled = post(server, "/v1/analyze", clip, voice_pooling="windows")
    own = post(server, "/v1/analyze", clip, baseline=baseline)
    assert (pooled.status_code, own.status_code) == (200, 200)
    assert pooled.json()["transcript"]["text"] == own.json()["transcript"]["text"] == plain["transcript"]["text"]
    assert own.json()["voice_emotion"] != pytest.approx(plain["voice_emotion"], abs=1e-3)
    assert pooled.json()["voice_emotion"] != pytest.approx(plain["voice_emotion"], abs=1e-3)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [("voice_pooling", "all", "invalid_voice_pooling"), ("baseline", "{}", "invalid_baseline")],
)
def test_only_v1_knows_the_fields_that_the_original_lacks(
    server: str, clip: Clip, field: str, value: str, code: str
) -> None:
    answer = post(server, "/v1/analyze", clip, **{field: value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert post(server, "/api/diary/analyze", clip, **{field: value}).status_code == 200
