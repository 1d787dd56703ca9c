"""Calls from the service to its runners: what goes wrong on the way becomes one of maeum's errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import aiohttp
from bentoml.exceptions import BentoMLException

from maeum.errors import StageFailed, StageOverloaded, StageTimeout

# A runner closes a connection that was idle for five seconds, and a call may just then be on its way through it. Models
# keep no state, so that asking again is safe. A call that was under way for longer may be what ended the runner.
_ATTEMPTS = 3
_PAUSE_S = 0.05
_UNREAD_S = 0.5


def call_runner(name: str, runner: Any) -> Callable[[Any], Coroutine[Any, Any, list[Any]]]:
    """Calls to the batch method of a runner.

    Args:
        name: of the runner, for messages.
        runner: as `bentoml.depends` gives it.

    Returns:
        A function from items to results, which raises `StageTimeout`, `StageOverloaded` or `StageFailed`.
    """

    async def call(items: Any) -> list[Any]:
        try:
            return await _ask(runner, items)
        except TimeoutError as error:
            raise StageTimeout(f"the {name} runner did not answer in time") from error
        except aiohttp.ClientError as error:
            raise StageOverloaded(f"the {name} runner cannot be reached; try again later") from error
        except BentoMLException as error:
            if error.error_code in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
                raise StageOverloaded(f"the {name} runner has too much work; try again later") from error
            if error.error_code == HTTPStatus.GATEWAY_TIMEOUT:
                raise StageTimeout(f"the {name} runner did not answer in time") from error
            raise StageFailed(f"the {name} runner failed") from error

    return call


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
