"""What the three runners share: their BentoML configuration and how they count batches."""

from __future__ import annotations

import faulthandler
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import psutil

from maeum.errors import StartError
from maeum.logs import log_to_stderr
from maeum.memory import loading
from maeum.settings import Settings, get_settings
from maeum.stages import Failure, run_isolated

Result = TypeVar("Result")
Engine = TypeVar("Engine")

_log = logging.getLogger("maeum.runners")

log_to_stderr()

_LONGEST_BATCH_S = 120  # at least, whatever requests may take: on a slow machine a batch of long clips does
_STOP_TIMEOUT_S = 5.0
_STOP_POLL_S = 0.1
TIMEOUT_S = math.ceil(get_settings().request_timeout_s)
# Who waits too long for a turn is refused by `maeum.batching`, not here: of a call that is split the parts wait too.
MAX_LATENCY_MS = TIMEOUT_S * 1000

SERVICE_OPTIONS: dict[str, Any] = {
    "workers": 1,
    # Later than our own deadline, whose answer is documented; BentoML's is not.
    "traffic": {"timeout": TIMEOUT_S + 5},
    # The default of 100 requests per connection closes it with calls in flight: 9-40 % of them fail under load.
    "runner_connection": {"max_requests": 10**9, "max_age": 1e9},
    "logging": {"access": {"enabled": False}},
}


def keep_media_types(service: Any) -> None:
    """Work the media types of a service's answers out once; BentoML builds a JSON schema for each answer to do so."""
    for api in service.apis.values():
        api.output_spec.media_type = api.output_spec.mime_type()


def trace_only_for_an_exporter() -> None:
    """Without an exporter, BentoML would still make a span for each request and call, which takes 0.1 ms."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    tracing = BentoMLContainer.config.tracing
    if tracing.exporter_type.get() is None:
        tracing.excluded_urls.set(".*")


def count_only(paths: frozenset[str]) -> None:
    """Keep other paths out of BentoML's metrics, which would hold a dozen series for each that was ever asked for."""
    from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

    middleware: Any = RunnerTrafficMetricsMiddleware
    count = middleware.__call__

    async def count_known(self: Any, scope: Any, receive: Any, send: Any) -> None:
        known = scope["type"] == "lifespan" or scope["path"] in paths
        await (count(self, scope, receive, send) if known else self.app(scope, receive, send))

    middleware.__call__ = count_known


def leave_deadlines_to_us() -> None:
    """Take BentoML's own deadline away, which comes after the service's.

    It keeps each request in memory until then, answered or not, and waits for the answer of one that raised until then,
    so that the server does not stop in between.
    """
    from bentoml._internal.server.http.traffic import TimeoutMiddleware

    async def hand_on(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    middleware: Any = TimeoutMiddleware
    middleware.__call__ = hand_on


def write_no_traces_for_clients_errors() -> None:
    """Write a line instead of a stack trace for what a client did wrong."""
    import _bentoml_impl.server.app as server  # type: ignore[import-untyped]
    from bentoml.exceptions import BentoMLException
    from pydantic import ValidationError

    log_exception = server.log_exception

    def log(request: Any, exc_info: Any = True) -> None:
        error = sys.exception()
        status = getattr(error, "error_code", HTTPStatus.BAD_REQUEST)
        if isinstance(error, BentoMLException | ValidationError) and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("event=bad_request status=%d error=%s", status, type(error).__name__)
        else:
            log_exception(request, exc_info)

    server.log_exception = log


def ask_runners_ourselves() -> None:
    """Take the runners out of BentoML's readiness, which raises when one of them cannot be reached."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    BentoMLContainer.api_server_config.runner_probe.enabled.set(False)


def keep_sockets_until_the_end() -> None:
    """In the process that starts the others: remove the runners' sockets when all have ended, not when told to stop.

    A request under way may need a new connection.
    """
    from bentoml._internal.utils.circus import Arbiter
    from circus.arbiter import Arbiter as CircusArbiter  # type: ignore[import-untyped]

    def stop(self: Any) -> Any:
        ended = CircusArbiter.stop(self)
        ended.add_done_callback(lambda _: self.exit_stack.close())
        return ended

    arbiter: Any = Arbiter
    arbiter.stop = stop


def dispatch_to_every_thread() -> None:
    """Let BentoML's dispatcher have as many batches under way as a service has `threads`: on its own it has one."""
    from _bentoml_impl.server.app import ServiceAppFactory
    from bentoml._internal.marshal.dispatcher import NonBlockSema

    factory: Any = ServiceAppFactory
    set_up = factory.__init__

    def set_up_with_threads(self: Any, service: Any, *args: Any, **kwargs: Any) -> None:
        set_up(self, service, *args, **kwargs)
        for dispatcher in self.dispatchers.values():
            dispatcher._sema = NonBlockSema(service.config.get("threads", 1))

    factory.__init__ = set_up_with_threads


def at_least_two(batch: int) -> int:
    """What BentoML takes for `max_batch_size`; what is in a call is decided before it, by `maeum.batching`."""
    return max(2, batch)


def load_or_stop(load: Callable[[Settings], Engine]) -> Engine:
    """Load a model. When it is not usable, end the server, which would start this runner again and again.

    Raises:
        StartError: the model or a setting does not allow a start.
    """
    try:
        with loading():
            return load(get_settings())
    except StartError as error:
        _log.error("event=start_refused %s", error.message)
        _stop_server()
        raise


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

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=wait_and_leave, daemon=True).start())


def _service_runs() -> bool:
    """Whether the process that takes requests is there, which alone is handed the socket's backlog."""
    parent = psutil.Process().parent()
    for process in parent.children() if parent else []:
        with suppress(psutil.Error):  # it may end just now
            if "--backlog" in process.cmdline():  # a process that has ended has none
                return True
    return False


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


class BatchWorker(Generic[Result]):
    """Runs batches of one model, keeps bad items apart, and counts. A batch that hangs ends the process.

    Args:
        stage: name of the runner in `/metrics` and in failures.
        engine: computes a batch.
    """

    def __init__(self, stage: str, engine: Callable[[Any], list[Result | Failure]]) -> None:
        outlive_the_service()
        self._watchdog = Watchdog(max(2 * TIMEOUT_S, _LONGEST_BATCH_S))  # readiness and liveness have said so by then
        # Imported here: BentoML sets prometheus' multiprocess folder after this module is imported.
        from prometheus_client import Counter, Histogram

        self._stage, self._engine = stage, engine
        self._batch_size = Histogram(
            "maeum_batch_size",
            "Items per batch",
            ["runner"],
            buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256),
        ).labels(stage)
        self._batch_seconds = Histogram(
            "maeum_batch_seconds",
            "Seconds per batch",
            ["runner"],
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        ).labels(stage)
        self._failures = Counter("maeum_item_failures", "Items that failed alone", ["runner"]).labels(stage)

    def run(self, items: Any) -> list[Result | Failure]:
        """Compute one result per item of `items` (a list, or an array along axis 0), in order; never raises."""
        start = time.perf_counter()
        with self._watchdog.watching():
            results = run_isolated(self._stage, lambda part: self._engine(items[part]), len(items))
        self._batch_size.observe(len(items))
        self._batch_seconds.observe(time.perf_counter() - start)
        self._failures.inc(sum(isinstance(result, Failure) for result in results))
        return results
