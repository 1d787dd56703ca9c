"""What `/docs.json` says of the routes: form fields, answers and an example of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maeum import __version__
from maeum.errors import (
    AudioTooLong,
    MaeumError,
    NoFile,
    StageFailed,
    StageOverloaded,
    StageTimeout,
    UndecodableAudio,
    UploadTimeout,
)
from maeum.schemas import AnalysisBody, ContractBody, ContractErrorBody, ErrorBody

_FILE = {"type": "string", "format": "binary", "description": "An audio file of any common format."}
_GENDER = {
    "type": "string",
    "enum": ["MALE", "FEMALE"],
    "default": "MALE",
    "description": "Which baseline normalises the voice; any case.",
}
_LANG = {"type": "string", "default": "ko", "description": "Language code for speech-to-text."}
_SUMMARY = {"type": "boolean", "default": True, "description": "Whether to write a summary."}
_VOICE_POOLING = {
    "type": "string",
    "enum": ["first", "windows"],
    "description": "What the voice is read from: the first 3.2 s, or every 3.2 s that hold speech. Without it, what "
    "the server is set to: `first`, where nobody changed that.",
}
_BASELINE = {
    "type": "string",
    "description": 'The speaker\'s own baseline, `{"mean": [13 numbers], "std": [13 numbers]}`, in place of the '
    "gender's; `maeum baseline` makes it. Sent as text or as a file.",
}

_ANALYSIS_EXAMPLE = {
    "transcript": {
        "text": "오늘 친구를 만나서 정말 기뻤다.",
        "language": "ko",
        "duration_s": 2.61,
        "confidence": 0.93,
        "segments": [
            {
                "start_s": 0.0,
                "end_s": 2.5,
                "text": "오늘 친구를 만나서 정말 기뻤다.",
                "avg_logprob": -0.07,
                "no_speech_prob": 0.0,
                "compression_ratio": 0.86,
            }
        ],
    },
    "emotion": {
        "labels": ["기쁨", "당황", "분노", "불안", "상처", "슬픔"],
        "probabilities": [0.74, 0.15, 0.01, 0.02, 0.02, 0.06],
        "top": "기쁨",
    },
    "text_emotion": {"기쁨": 1.0, "당황": 0.0, "분노": 0.0, "불안": 0.0, "상처": 0.0, "슬픔": 0.0},
    "voice_emotion": {"ANGRY": 0.02, "SAD": 0.2, "DISGUST": 0.03, "HAPPY": 0.7, "FEAR": 0.04, "SURPRISE": 0.01},
    "summary": {"status": "ok", "text": "반가운 친구를 만나 참 기쁘셨겠어요.", "reason": None},
    "warnings": [],
    "models": {
        "speech": "embedded:speech",
        "text": "embedded:text",
        "voice": "embedded:voice",
        "summary": "gpt-4o-mini",
    },
    "timings_ms": {"decode": 3.1, "features": 9.5, "voice": 6.2, "speech": 180.4, "text": 14.8, "total": 199.7},
}
_CONTRACT_EXAMPLE = {
    "summary": "반가운 친구를 만나 참 기쁘셨겠어요.",
    "emotion_analysis": [0.74, 0.15, 0.01, 0.02, 0.02, 0.06],
}

# Of each status an example, and what else has it.
_ERRORS: dict[MaeumError, str] = {
    NoFile("the form has no file in the field 'file'"): (
        "No file, no multipart form, or one with more files, text fields or text than allowed"
    ),
    UploadTimeout("the upload stopped: less than 64 KB of it arrived in 30 s"): "The upload stopped coming",
    AudioTooLong("the recording is longer than 600 s"): "More bytes or seconds than allowed",
    UndecodableAudio("the file is not audio that can be decoded"): (
        "Empty or undecodable audio, or a field with a wrong value"
    ),
    StageFailed("the speech runner failed"): "A model failed on this recording",
    StageOverloaded("the models have too much work; try again later"): (
        "More work than can be done in time, or more uploads than there is memory for"
    ),
    StageTimeout("the request took longer than 600 s"): "Not done within the deadline",
}
_WARNINGS_HEADER = {
    "X-Maeum-Warnings": {
        "schema": {"type": "string"},
        "description": "The warnings that `/v1/analyze` has in its body, divided by commas; missing without any.",
    }
}


def _operation(
    fields: dict[str, Any],
    answer: type,
    example: Any,
    error: type,
    error_example: Callable[[MaeumError], Any],
    headers: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "tags": ["Analyze"],
        "response_model": None,
        "responses": {
            200: {
                "model": answer,
                "description": "The analysis",
                "content": {"application/json": {"example": example}},
                "headers": headers or {},
            },
            **{
                one.status: {
                    "model": error,
                    "description": text,
                    "content": {"application/json": {"example": error_example(one)}},
                }
                for one, text in _ERRORS.items()
            },
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": fields}}
                },
            }
        },
    }


ANALYZE = _operation(
    {
        "file": _FILE,
        "gender": _GENDER,
        "lang": _LANG,
        "summary": _SUMMARY,
        "voice_pooling": _VOICE_POOLING,
        "baseline": _BASELINE,
    },
    AnalysisBody,
    _ANALYSIS_EXAMPLE,
    ErrorBody,
    lambda error: {"error": {"code": error.code, "message": error.message}},
)
CONTRACT = _operation(
    {"file": _FILE, "gender": _GENDER, "lang": _LANG},
    ContractBody,
    _CONTRACT_EXAMPLE,
    ContractErrorBody,
    lambda error: {"error": error.message},
    _WARNINGS_HEADER,
)

_DESCRIPTION = """A voice diary in, its emotions out.

`POST /v1/analyze` answers everything that is known of a recording; `POST /api/diary/analyze` answers the original
contract's two keys. `POST /bentoml/analyze` is for BentoML's own clients."""

_ALIVE = {
    "200": ("The process lives", "\n"),
    "503": (
        "A model has been asked for longer than a request may take",
        "Service is dead because .__is_alive__() returns False.",
    ),
}
_READY = {
    "200": ("All three models have answered", "\n"),
    "503": (
        "Not yet, or a model hangs or cannot be reached",
        "Service is not ready because .__is_ready__() returns False.",
    ),
}
_METRICS = {"200": ("The metrics", 'maeum_batch_size_bucket{le="4.0",runner="speech"} 12.0')}
# Of each route that answers plain text: what it is for, and of each status what it means and an example.
_PLAIN_ROUTES = {
    "/livez": ("Whether the process lives.", _ALIVE),
    "/healthz": ("The same as `/livez`.", _ALIVE),
    "/readyz": ("Whether requests would be answered.", _READY),
    "/metrics": ("Prometheus metrics; `maeum_batch_size` counts the items of each runner's batches.", _METRICS),
}
_PICKLE_REFUSED = {
    "description": "A pickle, which is code",
    "content": {
        "application/json": {"example": [{"error": "application/vnd.bentoml+pickle is not allowed in main server"}]}
    },
}


def complete(spec: dict[str, Any]) -> dict[str, Any]:
    """Make BentoML's specification OpenAPI 3.1, as its schemas are, with maeum's description, answers and examples.

    Args:
        spec: as `Service.openapi_spec.asdict()` makes it.
    """
    spec = {**spec, "info": {"title": "maeum", "version": __version__, "description": _DESCRIPTION}}
    paths = dict(spec["paths"])
    for path, (description, answers) in _PLAIN_ROUTES.items():
        operation = {
            **paths.get(path, {}).get("get", {}),
            "description": description,
            "responses": {
                status: {"description": meaning, "content": {"text/plain": {"example": example}}}
                for status, (meaning, example) in answers.items()
            },
        }
        paths[path] = {"get": operation}
    # FastAPI drops the nulls of an example, which are part of the answer.
    examples = {"/v1/analyze": _ANALYSIS_EXAMPLE, "/api/diary/analyze": _CONTRACT_EXAMPLE}
    for route, answer in examples.items():
        paths[route]["post"]["responses"]["200"]["content"]["application/json"]["example"] = answer
    bentoml_operation = dict(paths["/bentoml/analyze"]["post"])
    bentoml_operation["responses"] = {**paths["/v1/analyze"]["post"]["responses"], "415": _PICKLE_REFUSED}
    paths["/bentoml/analyze"] = {"post": bentoml_operation}
    # BentoML's other copy of the form has the type "file", which there is not.
    form = bentoml_operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    schemas = {**spec["components"]["schemas"], "AnalyzeInput": form}
    return {**spec, "openapi": "3.1.0", "paths": paths, "components": {**spec["components"], "schemas": schemas}}
