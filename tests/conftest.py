"""Fixtures shared by all tests: the spoken clips, the pipeline in this process, and the real server."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from maeum.pipeline import Pipeline
from maeum.settings import PROJECT_DIR, Settings

DATA_DIR = Path(__file__).parent / "data"
START_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Clip:
    """A spoken test clip and the truth about it."""

    path: Path
    gender: str
    text: str

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


def read_clips() -> list[Clip]:
    with (DATA_DIR / "clips.csv").open(encoding="utf-8", newline="") as stream:
        return [Clip(DATA_DIR / row["path"], row["gender"], row["text"]) for row in csv.DictReader(stream)]


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    """The spoken diary clips."""
    return read_clips()


@pytest.fixture(scope="session")
def clip(clips: list[Clip]) -> Clip:
    """The first of them."""
    return clips[0]


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """No setting of the machine leaks into the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MAEUM_", "OPENAI_", "HF_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The defaults: embedded models, no key."""
    return Settings()


@pytest.fixture(scope="session")
def pipeline(settings: Settings) -> Pipeline:
    """The pipeline with the embedded models in this process."""
    from maeum.local import build_local_pipeline

    return build_local_pipeline(settings)


def heed_interrupts() -> None:
    """For `preexec_fn`: a shell makes what it starts in the background ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def serve(log: Path, **environment: str) -> Iterator[str]:
    """Run the real server on a free port until the block ends.

    Args:
        log: file that takes its output.
        environment: extra variables.

    Yields:
        Base URL, once `/readyz` answers 200.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", "service:Maeum", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_DIR,
            # A home of its own: BentoML keeps the metrics there, and the next server would wipe them.
            env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(log.parent), **environment},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(process, url, log)
            yield url
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError("the server did not get ready:\n" + log.read_text(errors="replace")[-5000:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):  # a server that is stopped while it starts leaves processes behind
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@pytest.fixture(scope="session")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `server` writes its log."""
    return tmp_path_factory.mktemp("server") / "log.txt"


@pytest.fixture(scope="session")
def server(server_log: Path) -> Iterator[str]:
    """The real server with the embedded models; gives its base URL."""
    with serve(server_log) as url:
        yield url
