"""How a runner's process starts, stops and ends: with its model, after the service, or when its model hangs."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from maeum.assembly import check_start
from maeum.errors import StartError
from maeum.process.memory import loading
from maeum.settings import Settings, get_settings, unknown_variables

Engine = TypeVar("Engine")

_STOP_TIMEOUT_S = 5.0
_STOP_POLL_S = 0.1
_ORPHAN_POLL_S = 1.0

_log = logging.getLogger("maeum.runners")


def settings_to_start_with() -> Settings:
    """The settings of this server; ends the start, with one line, when they or their models do not allow it.

    When the server is imported, and not when a model is loaded: a process that fails then is started again.
    """
    try:
        settings = get_settings()
        for name, meant in unknown_variables().items():
            _log.warning("event=unknown_setting name=%s did_you_mean=%s", name, meant or "-")
        check_start(settings)
    except StartError as error:
        raise SystemExit(f"maeum: {error.message} ({error.code})") from None
    return settings


def load_or_stop(load: Callable[[Settings], Engine]) -> Engine:
    """Load a model, for as long as the server lives. When it is not usable, end the server, which would try for ever.

    Raises:
        StartError: the model or a setting does not allow a start.
    """
    _end_with_the_server()
    try:
        with loading():
            return load(get_settings())
    except StartError as error:
        _log.error("event=start_refused %s", error.message)
        _stop_server()
        raise


def _end_with_the_server() -> None:
    """End this process when the one that started it has gone.

    Killed, as by the kernel for want of memory, that cannot tell it; the port would stay taken, and nothing would start
    a runner again.
    """
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(_ORPHAN_POLL_S)
        _log.error("event=server_gone")
        os._exit(1)

    threading.Thread(target=watch, name="maeum-server-gone", daemon=True).start()


def _stop_server() -> None:
    """End the process that starts and restarts the runners, and what it started.

    Asked kindly, it waits for the requests under way; those of a probe wait for this runner, which will never come.
    """
    runner = psutil.Process()
    parent = runner.parent()
    if parent is None or "bentoml" not in " ".join(parent.cmdline()):
        return
    others = [process for process in parent.children(recursive=True) if process.pid != runner.pid]
    parent.terminate()
    _, alive = psutil.wait_procs([parent, *others], timeout=_STOP_TIMEOUT_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def outlive_the_service() -> None:
    """Answer calls until the service has none left: told to stop, wait until its process has gone.

    BentoML tells all processes at once, runners first; requests under way would find no models.
    """
    leave = signal.getsignal(signal.SIGTERM)
    if not callable(leave):  # no server around us
        return

    def wait_and_leave() -> None:
        while _service_runs():
            time.sleep(_STOP_POLL_S)
        leave(signal.SIGTERM, None)
        time.sleep(_STOP_TIMEOUT_S)
        os._exit(0)  # nobody waits for the batch that is still computed

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=wait_and_leave, daemon=True).start())


def _service_runs() -> bool:
    """Whether the process that takes requests is there, which alone is handed the socket's backlog."""
    return process_beside("--backlog") is not None  # a process that has ended has no arguments


def process_beside(argument: str) -> psutil.Process | None:
    """The process of this server that was started with an argument, if there is one just now."""
    parent = psutil.Process().parent()
    for process in parent.children() if parent else []:
        with suppress(psutil.Error):  # it may end just now
            if argument in process.cmdline():
                return process
    return None


def forget_dead_processes(folder: Path) -> None:
    """Take out of `/metrics` what processes had under way that died: BentoML does so for those that end in peace.

    Args:
        folder: where prometheus' processes keep their numbers.
    """
    from prometheus_client.multiprocess import mark_process_dead  # BentoML sets it up after this module is imported

    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            with suppress(FileNotFoundError):  # another process has just done so
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


class Watchdog:
    """Ends the process when a batch takes too long, so that the server starts it again: a model may hang for ever.

    The timer is a thread of faulthandler's, which needs no interpreter lock and first writes where every thread is. A
    process has one such timer, and so room for one watchdog.

    Args:
        longest_s: that a batch may take.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._ends_s: list[float] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch over one batch; several may be under way."""
        end_s = time.monotonic() + self._longest_s
        try:
            with self._lock:
                self._ends_s.append(end_s)
                self._wind_up()
            yield
        finally:
            with self._lock:
                self._ends_s.remove(end_s)
                self._wind_up()

    def _wind_up(self) -> None:
        if self._ends_s:
            left_s = max(min(self._ends_s) - time.monotonic(), 0.001)
            faulthandler.dump_traceback_later(left_s, exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()
