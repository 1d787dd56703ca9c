"""What operators and client developers use: probes, metrics, docs, BentoML's own client."""

from __future__ import annotations

import json
import re
from pathlib import Path

import bentoml
import httpx
import pytest
from bentoml.exceptions import BentoMLException
from openapi_spec_validator import validate

from maeum.errors import MaeumError
from maeum.sentences import split_sentences
from tests.conftest import Clip


def test_probes(server: str) -> None:
    assert httpx.get(f"{server}/livez").status_code == 200
    assert httpx.get(f"{server}/readyz").status_code == 200


def test_the_documentation_is_valid_openapi(server: str) -> None:
    spec = httpx.get(f"{server}/docs.json").json()

    assert spec["openapi"] == "3.1.0"
    validate(spec)


def test_answers_other_than_200_are_documented(server: str) -> None:
    paths = httpx.get(f"{server}/docs.json").json()["paths"]

    for path in ("/livez", "/healthz", "/readyz"):
        assert list(paths[path]["get"]["responses"]) == ["200", "503"]
    errors = {"400", "408", "413", "422", "500", "503", "504"}
    assert set(paths["/v1/analyze"]["post"]["responses"]) == {"200", *errors}
    assert set(paths["/bentoml/analyze"]["post"]["responses"]) == {"200", "415", *errors}


def test_every_documented_route_has_an_example(server: str) -> None:
    spec = httpx.get(f"{server}/docs.json").json()

    assert {"/v1/analyze", "/api/diary/analyze", "/bentoml/analyze", "/livez", "/readyz", "/metrics"} <= set(
        spec["paths"]
    )
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            for answer in operation["responses"].values():
                assert all("example" in media for media in answer["content"].values()), path


@pytest.mark.parametrize("path", ["/v1/analyze", "/bentoml/analyze"])
def test_every_documented_error_is_one_of_its_status(server: str, path: str) -> None:
    status_of = {error.code: error.status for error in MaeumError.__subclasses__()}
    responses = httpx.get(f"{server}/docs.json").json()["paths"][path]["post"]["responses"]
    for status in set(responses) - {"200", "415"}:
        example = responses[status]["content"]["application/json"]["example"]
        assert status_of[example["error"]["code"]] == int(status)


def test_documented_example_has_the_answer_s_keys(server: str, clip: Clip) -> None:
    spec = httpx.get(f"{server}/docs.json").json()
    for path in ("/v1/analyze", "/api/diary/analyze"):
        example = spec["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["example"]
        answer = httpx.post(f"{server}{path}", files={"file": clip.data}, timeout=60).json()
        assert _keys(example) == _keys(answer)


def _keys(value: object) -> object:
    """The shape of a JSON value; timings may differ in their stages."""
    if not isinstance(value, dict):
        return None
    return {key: None if key in ("timings_ms", "text_emotion") else _keys(inner) for key, inner in value.items()}


def test_metrics_count_the_items_of_each_runner(server: str, clip: Clip) -> None:
    before = _items(httpx.get(f"{server}/metrics").text)
    answer = httpx.post(f"{server}/v1/analyze", files={"file": clip.data}, timeout=60).json()

    metrics = httpx.get(f"{server}/metrics").text

    more = {runner: count - before[runner] for runner, count in _items(metrics).items()}
    assert (more["speech"], more["voice"]) == (1, 1)
    assert more["text"] == len(split_sentences(answer["transcript"]["text"]))
    assert metrics.count("# TYPE maeum_batch_size histogram") == 1
    assert "adaptive_batch_size" not in metrics  # it would count calls, not items
    for runner in ("speech", "text", "voice"):
        assert f'maeum_batch_size_bucket{{le="+Inf",runner="{runner}"}}' in metrics
        assert f'maeum_batch_seconds_count{{runner="{runner}"}}' in metrics


def _items(metrics: str) -> dict[str, float]:
    """How many items each runner has worked on."""
    return {
        runner: float(n) for runner, n in re.findall(r'^maeum_batch_size_sum{runner="(\w+)"} (\S+)$', metrics, re.M)
    }


def test_bentoml_client(server: str, clip: Clip) -> None:
    with bentoml.SyncHTTPClient(server, timeout=60) as client:
        answer = client.analyze(file=clip.path, gender="FEMALE", lang="ko", summary=False)
        direct = httpx.post(
            f"{server}/v1/analyze", files={"file": clip.data}, data={"gender": "FEMALE"}, timeout=60
        ).json()

        assert answer["transcript"] == direct["transcript"]
        assert answer["emotion"]["probabilities"] == pytest.approx(direct["emotion"]["probabilities"], abs=1e-4)
        with pytest.raises(BentoMLException, match="invalid_gender"):
            client.analyze(file=clip.path, gender="ROBOT")


def test_bentoml_client_sends_a_baseline(server: str, clip: Clip) -> None:
    baseline = json.dumps({"mean": [0.0] * 13, "std": [1.0] * 13})
    with bentoml.SyncHTTPClient(server, timeout=60) as client:
        answer = client.analyze(file=clip.path, summary=False, baseline=baseline)
        client.analyze(file=clip.path, summary=False, baseline="")
    data = {"baseline": baseline, "summary": "false"}
    direct = httpx.post(f"{server}/v1/analyze", files={"file": clip.data}, data=data, timeout=60).json()
    assert answer["voice_emotion"] == pytest.approx(direct["voice_emotion"], abs=1e-4)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/analyze"),
        ("POST", "/api/diary/analyze"),
        ("POST", "/bentoml/analyze"),
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("DELETE", "/page/nothing"),
    ],
)
def test_every_answer_has_a_request_id(server: str, method: str, path: str) -> None:
    ids = {httpx.request(method, f"{server}{path}").headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3


def test_paths_that_nobody_serves_are_not_counted(server: str) -> None:
    before = httpx.get(f"{server}/metrics").text.count("\n")
    for number in range(20):
        assert httpx.get(f"{server}/made-up-{number}").status_code == 404
        websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        websocket["Sec-WebSocket-Key"] = "bWFldW1tYWV1bW1hZXVtMQ=="
        assert httpx.get(f"{server}/made-up-socket-{number}", headers=websocket).status_code in (400, 403, 404)
    served = {"/docs.json", "/v1/analyze", "/api/diary/analyze", "/bentoml/analyze", "/", "/docs", "/page/page.js"}
    for path in served:
        assert httpx.get(f"{server}{path}").status_code in (200, 405)
    metrics = httpx.get(f"{server}/metrics").text
    assert "made-up" not in metrics
    assert served <= set(re.findall(r'endpoint="([^"]+)"', metrics))
    assert metrics.count("\n") < before + 100


def test_pickle_is_not_accepted(server: str, server_log: Path) -> None:
    """A pickle is code; the entry service must not read one. Nor is a client's mistake worth a stack trace."""
    traces = server_log.read_text().count("Traceback")
    for path in ("/bentoml/analyze", "/v1/analyze"):
        response = httpx.post(
            f"{server}{path}", content=b"x", headers={"content-type": "application/vnd.bentoml+pickle"}
        )
        assert response.status_code in (400, 415)
    lines = server_log.read_text()
    assert "path=/bentoml/analyze status=415" in lines
    assert lines.count("Traceback") == traces


def test_schema_is_json(server: str) -> None:
    assert json.loads(httpx.get(f"{server}/schema.json").text)["name"] == "maeum"
