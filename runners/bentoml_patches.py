"""What maeum changes in BentoML: each function says what and why. The version is pinned; tests watch the effects."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

_log = logging.getLogger("maeum.runners")


def apply(runners: Iterable[Any]) -> None:
    """Make all changes that do not depend on the entry service; once per process, before it serves.

    Args:
        runners: the services that it depends on.
    """
    start_again_in_containers()
    keep_sockets_until_the_end()
    leave_deadlines_to_us()
    ask_runners_ourselves()
    dispatch_to_every_thread()
    trace_only_for_an_exporter()
    write_no_traces_for_clients_errors()
    for runner in runners:
        keep_media_types(runner)


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


def start_again_in_containers() -> None:
    """In the process that starts the others: start one that died again in a container too.

    BentoML would end the server, which waits for the requests under way, and these for the one that died.
    """
    from bentoml import serving

    server: Any = serving
    server.running_inside_container = lambda: False


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
