"""Calls from the service to its runners: what goes wrong on the way becomes one of maeum's errors."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import Any

import aiohttp
import psutil
from bentoml.exceptions import BentoMLException

from maeum.errors import StageFailed, StageOverloaded, StageTimeout
from runners.lifecycle import process_beside

# A runner closes a connection that was idle for five seconds, and a call may just then be on its way through it. Models
# keep no state, so that asking again is safe. A call that was under way for longer may be what ended the runner.
_ATTEMPTS = 3
_PAUSE_S = 0.05
_UNREAD_S = 0.5
PROBE_TIMEOUT_S = 5
"""For what `/readyz` asks a runner."""

_log = logging.getLogger("maeum.runners")


class RunnerCalls:
    """Calls to the batch method of a runner.

    Args:
        name: of the runner, for messages.
        runner: as `bentoml.depends` gives it.
    """

    def __init__(self, name: str, runner: Any) -> None:
        self.name, self._runner = name, runner
        self._began_s: list[float] = []
        self._timed_out = False
        self._process: psutil.Process | None = None  # the one that has answered
        self._answers_since_s = 0.0

    async def __call__(self, items: Any) -> list[Any]:
        """One result per item, in order.

        Raises:
            StageTimeout, StageOverloaded, StageFailed: the call as a whole did not work.
        """
        began_s = time.monotonic()
        self._began_s.append(began_s)
        try:
            results = await _ask(self._runner, items)
            self._timed_out = False
            if not self._is_loaded():
                self._process, self._answers_since_s = process_beside(f"maeum-{self.name}"), time.monotonic()
            return results
        except TimeoutError as error:
            self._timed_out = True
            raise StageTimeout(f"the {self.name} runner did not answer in time") from error
        except aiohttp.ClientError as error:
            _log.warning("event=runner_unreachable runner=%s cause=%r", self.name, error)
            raise StageOverloaded(f"the {self.name} runner cannot be reached; try again later") from error
        except BentoMLException as error:
            if error.error_code in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
                raise StageOverloaded(f"the {self.name} runner has too much work; try again later") from error
            if error.error_code == HTTPStatus.GATEWAY_TIMEOUT:
                raise StageTimeout(f"the {self.name} runner did not answer in time") from error
            raise StageFailed(f"the {self.name} runner failed") from error
        finally:
            self._began_s.remove(began_s)

    def hangs(self, longest_s: float) -> bool:
        """Whether a call has been under way for longer than `longest_s`, or the last one ended without an answer.

        Not while the model loads, for the first time or again: calls wait in the socket, which is there before it.
        """
        latest_s = time.monotonic() - longest_s
        overdue = self._answers_since_s < latest_s and any(began_s < latest_s for began_s in self._began_s)
        return (self._timed_out or overdue) and self._is_loaded()

    def _is_loaded(self) -> bool:
        return self._process is not None and self._process.is_running()

    async def can_be_reached(self) -> bool:
        """Whether the runner's process answers within some seconds; says nothing of its model."""
        try:
            return bool(await self._runner.is_ready(PROBE_TIMEOUT_S))
        except (TimeoutError, aiohttp.ClientError):
            return False


async def _ask(runner: Any, items: Any) -> list[Any]:
    attempt = 1
    while True:
        began_s = time.monotonic()
        try:
            results: list[Any] = await runner.to_async.run(items)
            return results
        except aiohttp.ClientConnectionError as error:
            may_be_read = time.monotonic() - began_s > _UNREAD_S
            if isinstance(error, TimeoutError) or may_be_read or attempt == _ATTEMPTS:
                raise
        await asyncio.sleep(_PAUSE_S * attempt)
        attempt += 1
