from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from maeum import errors
from maeum.errors import AudioTooLong, InvalidField, MaeumError
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.pipeline import Analysis
from maeum.schemas import AnalysisBody, ContractBody, ContractErrorBody, ErrorBody
from maeum.stages import Segment, Transcript
from maeum.summary import Summary

ANALYSIS = Analysis(
    transcript=Transcript(
        "오늘은 좋았다. 고마웠다.",
        (Segment(0.1, 1.5, "오늘은 좋았다.", -0.25, 0.01, 0.9), Segment(1.5, 2.4, "고마웠다.", -0.25, 0.01, 0.9)),
    ),
    language="ko",
    duration_s=2.50004,
    labels=KO_LABELS,
    probabilities=(0.5, 0.1, 0.1, 0.1, 0.1, 0.1),
    text_emotion=dict(zip(KO_LABELS, (1.0, 0, 0, 0, 0, 0), strict=True)),
    voice_emotion=dict(zip(EN_LABELS, (0.1, 0.1, 0.1, 0.5, 0.1, 0.1), strict=True)),
    summary=Summary("ok", "좋은 하루를 보내셨군요.", None),
    warnings=(),
    models={"speech": "embedded:speech", "text": "embedded:text", "voice": "embedded:voice", "summary": "gpt-4o-mini"},
    timings_ms={"decode": 1.0, "total": 2.0},
)
SILENT = replace(
    ANALYSIS,
    transcript=Transcript(""),
    text_emotion=None,
    summary=Summary("skipped", None, "no_speech"),
    warnings=("no_speech",),
    models={**ANALYSIS.models, "summary": None},
)


def all_errors(base: type[MaeumError] = MaeumError) -> list[type[MaeumError]]:
    return [base, *(error for child in base.__subclasses__() for error in all_errors(child))]


def test_the_contract_has_exactly_two_keys() -> None:
    body = ContractBody.of(ANALYSIS)
    assert list(body.model_dump()) == ["summary", "emotion_analysis"]
    assert body.model_dump() == {
        "summary": "좋은 하루를 보내셨군요.",
        "emotion_analysis": [0.5, 0.1, 0.1, 0.1, 0.1, 0.1],
    }


def test_korean_is_not_escaped() -> None:
    assert "좋은 하루를 보내셨군요." in ContractBody.of(ANALYSIS).model_dump_json()
    assert "오늘은 좋았다. 고마웠다." in AnalysisBody.of(ANALYSIS).model_dump_json()


@pytest.mark.parametrize("reason", ["no_api_key", "off", "timeout", "unauthorized", "no_speech", "never heard of"])
def test_the_contract_says_when_there_is_no_summary(reason: str) -> None:
    text = ContractBody.of(replace(ANALYSIS, summary=Summary("failed", None, reason))).summary
    assert text.startswith("(요약 실패) ")
    assert len(text) > len("(요약 실패) ")


def test_v1_tells_everything_in_the_order_of_the_contract() -> None:
    evidence = {"avg_logprob": -0.25, "no_speech_prob": 0.01, "compression_ratio": 0.9}
    assert json.loads(AnalysisBody.of(ANALYSIS).model_dump_json()) == {
        "transcript": {
            "text": "오늘은 좋았다. 고마웠다.",
            "language": "ko",
            "duration_s": 2.5,
            "confidence": 0.7788,
            "segments": [
                {"start_s": 0.1, "end_s": 1.5, "text": "오늘은 좋았다.", **evidence},
                {"start_s": 1.5, "end_s": 2.4, "text": "고마웠다.", **evidence},
            ],
        },
        "emotion": {"labels": list(KO_LABELS), "probabilities": [0.5, 0.1, 0.1, 0.1, 0.1, 0.1], "top": "기쁨"},
        "text_emotion": {"기쁨": 1, "당황": 0, "분노": 0, "불안": 0, "상처": 0, "슬픔": 0},
        "voice_emotion": {"ANGRY": 0.1, "SAD": 0.1, "DISGUST": 0.1, "HAPPY": 0.5, "FEAR": 0.1, "SURPRISE": 0.1},
        "summary": {"status": "ok", "text": "좋은 하루를 보내셨군요.", "reason": None},
        "warnings": [],
        "models": {
            "speech": "embedded:speech",
            "text": "embedded:text",
            "voice": "embedded:voice",
            "summary": "gpt-4o-mini",
        },
        "timings_ms": {"decode": 1, "total": 2},
    }
    assert list(AnalysisBody.of(ANALYSIS).model_dump()) == [
        *("transcript", "emotion", "text_emotion", "voice_emotion", "summary", "warnings", "models", "timings_ms")
    ]


def test_no_speech_is_null_and_a_warning() -> None:
    body = json.loads(AnalysisBody.of(SILENT).model_dump_json())
    assert (body["text_emotion"], body["warnings"], body["models"]["summary"]) == (None, ["no_speech"], None)
    assert body["transcript"] == {
        "text": "",
        "language": "ko",
        "duration_s": 2.5,
        "confidence": None,
        "segments": [],
    }
    assert body["summary"] == {"status": "skipped", "text": None, "reason": "no_speech"}


@pytest.mark.parametrize("top", range(6))
def test_top_is_the_most_probable_label(top: int) -> None:
    probabilities = tuple(0.5 if index == top else 0.1 for index in range(6))
    assert AnalysisBody.of(replace(ANALYSIS, probabilities=probabilities)).emotion.top == KO_LABELS[top]


def test_probabilities_lose_no_digit() -> None:
    probabilities = (1 / 3, 1 / 7, 1 / 11, 0.1, 0.1, 1e-12)
    body = json.loads(AnalysisBody.of(replace(ANALYSIS, probabilities=probabilities)).model_dump_json())
    assert tuple(body["emotion"]["probabilities"]) == probabilities


def test_bodies_are_frozen() -> None:
    with pytest.raises(ValidationError):
        ContractBody.of(ANALYSIS).summary = "x"  # type: ignore[misc]


def test_an_error_has_a_code_and_a_message() -> None:
    error = AudioTooLong("the recording is longer than 600 s")
    assert ErrorBody.of(error).model_dump() == {
        "error": {"code": "audio_too_long", "message": "the recording is longer than 600 s"}
    }
    assert ContractErrorBody(error=error.message).model_dump() == {"error": "the recording is longer than 600 s"}


def test_a_field_error_names_its_field_in_the_code() -> None:
    assert ErrorBody.of(InvalidField("no", code="invalid_gender")).error.code == "invalid_gender"


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_has_a_code_a_status_and_a_place_in_the_tree(error: type[MaeumError]) -> None:
    assert error.code
    assert error.code == error.code.lower()
    assert 400 <= error.status < 600
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__
    assert error is MaeumError or f"{error.status}" in errors.__doc__


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in all_errors()]
    assert len(set(codes)) == len(codes)
