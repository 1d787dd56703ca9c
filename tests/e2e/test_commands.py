"""The README's commands, run as they stand there; only the port changes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import httpx
import psutil
import pytest

from maeum.fusion import KO_LABELS
from maeum.settings import PRODUCTION_MODELS, PROJECT_DIR
from tests.conftest import START_TIMEOUT_S, Clip, serve
from tests.hub_server import HubServer
from tests.tiny_models import build_text_model, build_voice_model, files_of

README = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
SHELL_LINES = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# What runs this test, what would change the working tree, and what the tests below run in their own way.
RUN_ELSEWHERE = {
    "make serve",
    "make test",
    "make check",
    "make format",
    "make models",
    "make serve PROFILE=production",
    "make bench",
}
CORS = "BENTOML_CONFIG_OVERRIDES="


def run(command: list[str], **environment: str) -> str:
    result = subprocess.run(
        command, cwd=PROJECT_DIR, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_command_is_known() -> None:
    others = {line for line in SHELL_LINES if not line.startswith(("curl ", ".venv/bin/maeum ", CORS))}

    assert others == RUN_ELSEWHERE


@pytest.mark.parametrize("line", [line for line in SHELL_LINES if line.startswith("curl ")])
def test_curl(server: str, line: str) -> None:
    for made in SHELL_LINES:  # a file that an earlier command makes
        if " --out " in made and f"@{made.split()[-1]}" in line:
            run(shlex.split(made))
    answer = json.loads(run(shlex.split(line.replace("http://localhost:3000", server) + " --silent")))

    assert "error" not in answer
    assert "summary" in answer


def test_the_first_answer_is_real(server: str) -> None:
    curl = next(line for line in SHELL_LINES if line.startswith("curl "))
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[0])
    answer = json.loads(run(shlex.split(curl.replace("http://localhost:3000", server) + " --silent")))

    assert list(answer) == list(shown)
    assert answer["summary"] == shown["summary"]
    assert answer["emotion_analysis"] == pytest.approx(shown["emotion_analysis"], abs=1e-3)


@pytest.mark.parametrize("line", [line for line in SHELL_LINES if line.startswith(".venv/bin/maeum ")])
def test_command_line(line: str) -> None:
    program, *arguments = shlex.split(line)
    if "--out" in arguments[:-1] and arguments[-1].endswith(".csv"):
        (PROJECT_DIR / arguments[-1]).unlink(missing_ok=True)  # else there may be nothing left to do
    output = run([str(Path(sys.executable).parent / Path(program).name), *arguments])

    assert any(word in output for word in (*KO_LABELS, "the baseline of", "analysed "))


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python(server: str, block: str) -> None:
    assert run([sys.executable, "-c", block.replace("http://localhost:3000", server)]).strip()


def test_make_serve(clip: Clip) -> None:
    port = free_port()
    process = subprocess.Popen(
        ["make", "serve", f"PORT={port}"],
        cwd=PROJECT_DIR,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert _is_ready(f"http://127.0.0.1:{port}", process)
        response = httpx.post(f"http://127.0.0.1:{port}/api/diary/analyze", files={"file": clip.data}, timeout=60)
        assert len(response.json()["emotion_analysis"]) == 6
        server, *_ = psutil.Process(process.pid).children()
        assert server.environ()["BENTOML_DO_NOT_TRACK"] == "True"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_pages_of_other_origins_read_answers_where_bentoml_is_told_so(server: str, tmp_path: Path, clip: Clip) -> None:
    def allowed(url: str, origin: str, data: bytes = clip.data) -> str | None:
        answer = httpx.post(f"{url}/v1/analyze", files={"file": data}, headers={"Origin": origin}, timeout=60)
        assert answer.status_code == (200 if data == clip.data else 422)
        origin_allowed: str | None = answer.headers.get("access-control-allow-origin")
        return origin_allowed

    (line,) = [line for line in SHELL_LINES if line.startswith(CORS)]
    setting, *command = shlex.split(line)
    assert command == ["make", "serve"]
    assert allowed(server, "https://app.example") is None
    with serve(tmp_path / "log.txt", **{CORS.removesuffix("="): setting.removeprefix(CORS)}) as told:
        assert allowed(told, "https://app.example") == "https://app.example"
        assert allowed(told, "https://app.example", b"no sound") == "https://app.example"
        assert allowed(told, "https://other.example") is None


def _is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return True
        except httpx.HTTPError:
            time.sleep(0.2)
    return False


def test_production_models_are_fetched_and_served(tmp_path: Path, clip: Clip) -> None:
    """`make models` and the production profile, against a hub that holds small models in the production layouts."""
    published = {
        "speech": files_of(PROJECT_DIR / "models" / "embedded" / "speech"),
        "text": files_of(build_text_model(tmp_path / "text")),
        "voice": files_of(build_voice_model(tmp_path / "voice")) | {"model.py": b"raise SystemExit('executed')"},
    }
    with HubServer() as hub:
        for kind, files in published.items():
            hub.publish(PRODUCTION_MODELS[kind].removeprefix("hub:"), files)  # type: ignore[index]
        environment = {"HF_ENDPOINT": hub.endpoint, "MAEUM_MODELS_DIR": str(tmp_path / "hub")}
        run(["make", "models"], **environment)
    lock = json.loads((tmp_path / "hub" / "models.lock.json").read_text())
    assert lock

    production = {"MAEUM_PROFILE": "production", "MAEUM_MODELS_DIR": str(tmp_path / "hub")}
    with serve(tmp_path / "log.txt", **production) as server:
        answer = httpx.post(f"{server}/v1/analyze", files={"file": clip.data}, timeout=60).json()

    assert answer["transcript"]["text"]
    for kind, reference in PRODUCTION_MODELS.items():
        assert answer["models"][kind].startswith(f"{reference}@")


def test_the_image_s_command_line_finds_the_code(tmp_path: Path) -> None:
    """The image starts in the Bento's folder, with the code in `src` and installed nowhere."""
    run([sys.executable, "-m", "bentoml", "build"], BENTOML_HOME=str(tmp_path), BENTOML_DO_NOT_TRACK="True")
    (bento,) = (path for path in (tmp_path / "bentos" / "maeum").iterdir() if path.is_dir())
    variables = dict(re.findall(r"^ARG (\w+)=(.*)$", (bento / "env/docker/Dockerfile").read_text(), re.MULTILINE))
    code = variables.get("PYTHONPATH", "").replace(variables["BENTO_PATH"], str(bento))
    listed = subprocess.run(
        [sys.executable, "-S", "-m", "maeum", "models", "list"],
        cwd=bento,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([code, sysconfig.get_path("purelib")])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count(str(bento / "src" / "models" / "embedded")) == 3


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"MAEUM_PROFILE": "production", "MAEUM_MODELS_DIR": "nothing"}, r"run `python -m maeum .*\(model_missing\)"),
        ({"MAEUM_PROFILE": "prod"}, r"MAEUM_PROFILE: .*'production' \(invalid_configuration\)"),
        ({"MAEUM_CALIBRATION": "absent.json"}, r"calibration file absent.json: .*\(invalid_configuration\)"),
        ({"MAEUM_SPEECH_MODEL": "nowhere"}, r"correct MAEUM_SPEECH_MODEL \(model_missing\)"),
    ],
)
def test_what_keeps_the_server_from_starting_is_one_line(environment: dict[str, str], reason: str) -> None:
    refused = make_serve(free_port(), **environment)

    assert refused.returncode != 0
    (line,) = [line for line in refused.stderr.splitlines() if not line.startswith("make")]
    assert re.fullmatch(f"maeum: .*{reason}", line)


def test_a_second_server_leaves_the_first_one_s_metrics(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        home = PROJECT_DIR / "build" / f"bentoml-{port}"
        metrics = home / "prometheus_multiproc_dir" / "counter_1.db"
        metrics.parent.mkdir(parents=True)
        try:
            metrics.write_bytes(b"counted")
            refused = make_serve(port)
            assert metrics.read_bytes() == b"counted"
        finally:
            shutil.rmtree(home)

    assert refused.returncode != 0
    (line,) = [line for line in refused.stderr.splitlines() if not line.startswith("make")]
    assert line == f"maeum: port {port} cannot be used: Address already in use; choose another with PORT="


@pytest.mark.parametrize("port", ["", "a lot", "70000"])
def test_what_is_no_port_is_one_line(port: str) -> None:
    refused = make_serve(port)
    assert refused.returncode != 0
    (line,) = [line for line in refused.stderr.splitlines() if not line.startswith("make")]
    assert line == f"maeum: port {port} cannot be used: it is no number from 1 to 65535; choose another with PORT="


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_serve(port: int | str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `make serve` where it should not get far."""
    return subprocess.run(
        ["make", "serve", f"PORT={port}"],
        cwd=PROJECT_DIR,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
    )


def test_damaged_weights_end_the_start(tmp_path: Path) -> None:
    voice = tmp_path / "voice"
    shutil.copytree(PROJECT_DIR / "models" / "embedded" / "voice", voice)
    weights = voice / "pytorch_model.pth"
    weights.write_bytes(weights.read_bytes()[:100_000])
    start = time.monotonic()
    with (
        pytest.raises(AssertionError, match=r"pytorch_model\.pth is no readable state dict"),
        serve(tmp_path / "log.txt", MAEUM_VOICE_MODEL=str(voice)),
    ):
        pass
    assert time.monotonic() - start < START_TIMEOUT_S  # it ended by itself
