"""Server processes: started on a free port, waited for, measured with all their children, and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.load import Load, closed_loop
from benchmarks.suite import WORK_DIR, Run
from maeum.settings import PROJECT_DIR

ANALYZE_PATH = "/v1/analyze"
_START_TIMEOUT_S = 300
_MODULES = {
    "flask": "benchmarks.peers.flask_original",
    "fastapi": "benchmarks.peers.fastapi_threads",
    "litserve": "benchmarks.peers.litserve_batches",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: base URL.
        pid: its first process.
        start_s: seconds from the start of that process until it was ready.
    """

    url: str
    pid: int
    start_s: float

    @property
    def analyze_url(self) -> str:
        """Where recordings are sent."""
        return self.url + ANALYZE_PATH

    def cpu_seconds(self) -> float:
        """CPU-seconds of all its processes so far."""
        return cpu_seconds(self.pid)

    def pss_mb(self) -> float:
        """Memory of all its processes in MB (10^6 bytes), shared pages counted once."""
        return sum(_pss_bytes(process) for process in _family(self.pid)) / 1e6

    def suspend(self) -> None:
        """Stop all its processes where they are, so that they take no time from others."""
        _each(_family(self.pid), psutil.Process.suspend)

    def resume(self) -> None:
        """Let its processes go on."""
        _each(_family(self.pid), psutil.Process.resume)

    @contextmanager
    def peak_pss_mb(self) -> Iterator[list[float]]:
        """Watch the memory; the list holds the peak in MB once the block has ended."""
        peak: list[float] = [self.pss_mb()]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.1):
                peak[0] = max(peak[0], self.pss_mb())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield peak
        finally:
            done.set()
            watcher.join()


@dataclass(frozen=True, slots=True)
class Sent:
    """How a server did with some clips, and the CPU-seconds of all its processes meanwhile."""

    load: Load
    cpu_s: float

    @property
    def cpu_s_per_clip(self) -> float:
        """CPU-seconds for each answer with status 200."""
        return self.cpu_s / len(self.load.latencies_s)

    @property
    def cores_in_use(self) -> float:
        """How many cores were busy, on average."""
        return self.cpu_s / self.load.duration_s


def send_measured(server: Server, clips: Iterable[bytes], clients: int) -> Sent:
    """Send every clip once from so many clients."""
    before = server.cpu_seconds()
    load = closed_loop(server.analyze_url, clips, clients)
    return Sent(load, server.cpu_seconds() - before)


def cpu_seconds(pid: int) -> float:
    """CPU-seconds, user and system, of a process and all its descendants, those that have ended included.

    What ended children used is added to whoever waited for them, so nothing is lost as long as the first one lives.

    Raises:
        psutil.NoSuchProcess: there is no such process.
    """
    total = 0.0
    for process in _family(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def _each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            act(process)


def _pss_bytes(process: psutil.Process) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


@contextmanager
def maeum_server(run: Run, **settings: object) -> Iterator[Server]:
    """What `make serve` starts, on the run's models, with further settings by name."""
    port = _free_port()
    home = WORK_DIR / "bentoml" / str(port)
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bentoml", "serve", "service:Maeum", "--host", "127.0.0.1", "--port", str(port)]
    changed = {f"MAEUM_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**run.environment(), **changed, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    with running("maeum", command, port, environment, "/readyz") as server:
        yield server


@contextmanager
def peer_server(name: str, run: Run, *options: str) -> Iterator[Server]:
    """One of the servers to compare with, on the run's models.

    Args:
        name: `flask`, `fastapi` or `litserve`.
        run: names the models.
        options: of its command.
    """
    port = _free_port()
    command = [sys.executable, "-m", _MODULES[name], str(port), *options]
    with running(name + "".join(options), command, port, run.environment(), "/health") as server:
        yield server


@contextmanager
def running(
    name: str, command: Sequence[str], port: int, environment: Mapping[str, str], ready_path: str
) -> Iterator[Server]:
    """Run a server until the block ends.

    Args:
        name: of its log, `build/benchmarks/logs/<name>.txt`.
        command: starts it.
        port: where it listens.
        environment: all of its variables.
        ready_path: answers 200 once it is ready.

    Raises:
        RuntimeError: it ended or did not get ready; the message holds the end of its log.
    """
    log = WORK_DIR / "logs" / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=PROJECT_DIR, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while not _ready(url + ready_path):
            if process.poll() is not None or time.perf_counter() - start > _START_TIMEOUT_S:
                raise RuntimeError(f"{name} did not get ready:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        yield Server(url, process.pid, time.perf_counter() - start)
    finally:
        _stop(process)


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    family = _family(process.pid) if process.poll() is None else []
    _each(family, psutil.Process.resume)  # a suspended one would not hear of its end
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    # A server that is stopped while it starts leaves workers behind, some of them in groups of their own.
    _each(family, psutil.Process.kill)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
