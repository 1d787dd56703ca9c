"""What operators see of a server in trouble: a runner that dies or hangs, and an end in the middle of work."""

from __future__ import annotations

import io
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from tests.conftest import Clip, serve

DEADLINE_S = 10
PATIENCE_S = 60


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def url(log: Path) -> Iterator[str]:
    """Of a server as in its image, where BentoML would start nothing again."""
    with serve(log, BENTOML_CONTAINERIZED="true", MAEUM_REQUEST_TIMEOUT_S=str(DEADLINE_S)) as url:
        yield url


def process_of(log: Path, argument: str) -> psutil.Process:
    """The process of the server that writes this log, with this in its command line."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("BENTOML_HOME") == str(log.parent) and argument in process.cmdline():
                return process
        except psutil.Error:
            continue
    raise AssertionError(f"no process with {argument}")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status(url: str, path: str) -> int:
    return httpx.get(f"{url}{path}", timeout=PATIENCE_S).status_code


def analyze(url: str, clip: Clip) -> tuple[int, str]:
    """Status, and the error's code and message."""
    response = httpx.post(f"{url}/v1/analyze", files={"file": clip.data}, timeout=PATIENCE_S)
    return response.status_code, str(response.json().get("error", ""))


def test_a_runner_that_hangs_or_dies_is_noticed_and_comes_back(url: str, log: Path, clip: Clip) -> None:
    runner = process_of(log, "maeum-text")
    assert (status(url, "/livez"), status(url, "/readyz")) == (200, 200)

    runner.suspend()
    assert status(url, "/readyz") == 503
    assert analyze(url, clip)[0] == 504
    wait_until(lambda: status(url, "/livez") == 503)
    assert "event=model_hangs runners=text" in log.read_text()

    runner.resume()
    wait_until(lambda: status(url, "/livez") == 200 and status(url, "/readyz") == 200)
    assert analyze(url, clip) == (200, "")

    runner.kill()
    assert status(url, "/readyz") == 503
    wait_until(lambda: status(url, "/readyz") == 200)
    assert analyze(url, clip) == (200, "")


def test_a_server_whose_model_loads_is_alive_and_says_in_time_that_it_is_not_ready(log: Path) -> None:
    def probe_while_a_model_loads() -> list[int]:
        wait_until(lambda: log.exists() and "listening on" in log.read_text())
        runner = process_of(log, "maeum-text")
        runner.suspend()
        port = re.findall(r"listening on http://\S+:(\d+)", log.read_text())[0]
        try:
            wait_until(lambda: "Service maeum initialized" in log.read_text())
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=6) as client:  # as the README has it
                return [client.get(path).status_code for path in ("/readyz", "/livez")]
        finally:
            runner.resume()

    with ThreadPoolExecutor(1) as pool:
        probes = pool.submit(probe_while_a_model_loads)
        with serve(log, MAEUM_REQUEST_TIMEOUT_S="1") as url:
            assert probes.result() == [503, 200]
            assert status(url, "/livez") == 200


def test_work_for_a_client_that_has_gone_is_dropped(url: str, log: Path, clip: Clip) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(clip.data), dtype="float32")
    long = io.BytesIO()
    soundfile.write(long, np.tile(samples, 20), rate_hz, format="FLAC")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/analyze", files={"file": long.getvalue()}, timeout=httpx.Timeout(PATIENCE_S, read=0.5))

    wait_until(lambda: "path=/v1/analyze" in log.read_text())
    assert "path=/v1/analyze status=400" in log.read_text()
    assert analyze(url, clip) == (200, "")


def test_requests_under_way_are_answered_before_the_server_stops(url: str, log: Path, clips: list[Clip]) -> None:
    def under_way() -> int:
        found = re.findall(r'request_in_progress{endpoint="/v1/analyze".*} ([\d.]+)', httpx.get(f"{url}/metrics").text)
        return int(sum(map(float, found)))

    server = process_of(log, "serve")
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(analyze, url, clip) for clip in clips[:12]]
        # All of them: a connection that is made once the server has been told to stop is reset.
        wait_until(lambda: sum(answer.done() for answer in answers) + under_way() == len(answers))
        assert under_way()
        server.send_signal(signal.SIGTERM)
        outcomes = {answer.result() for answer in answers}
    assert outcomes == {(200, "")}
    server.wait(PATIENCE_S)


def test_a_server_that_is_killed_leaves_no_process_behind(url: str, log: Path) -> None:
    """They would hold its port, and answer, and nothing would start them again."""
    server = process_of(log, "serve")
    others = server.children(recursive=True)
    assert len(others) > 3
    server.kill()
    _, alive = psutil.wait_procs(others, PATIENCE_S)
    assert not alive


def test_uploads_that_fill_the_memory_are_refused_until_others_have_gone(log: Path, clip: Clip) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(clip.data), dtype="float32")
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate_hz, format="WAV", subtype="FLOAT")
    size = str(len(sound.getvalue()))

    with serve(log, MAEUM_MAX_UPLOAD_BYTES=size, MAEUM_MAX_UPLOADS_BYTES=size) as url:

        def post() -> httpx.Response:
            return httpx.post(f"{url}/v1/analyze", files={"file": sound.getvalue()}, timeout=PATIENCE_S)

        form = httpx.Request("POST", f"{url}/v1/analyze", files={"file": sound.getvalue()})
        head = [f"{name}: {value}" for name, value in form.headers.items()]
        with socket.create_connection((form.url.host, form.url.port or 80)) as half_sent:
            half_sent.sendall("\r\n".join(["POST /v1/analyze HTTP/1.1", *head, "", ""]).encode() + form.read()[:-1])
            time.sleep(1)  # until it is there: who comes last is refused
            refused = post()
            assert refused.status_code == 503
            assert (refused.json()["error"]["code"], refused.headers["retry-after"]) == ("overloaded", "1")
        wait_until(lambda: post().status_code == 200)
        assert post().status_code == 200  # an answered upload has given its room back
