"""Clients: N of them that wait for their answers, or arrivals at a rate whether or not answers come."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import accumulate

import aiohttp

from benchmarks.measure import percentile

_TIMEOUT = aiohttp.ClientTimeout(total=600)


@dataclass(slots=True)
class Load:
    """How a number of requests went; only answers with status 200 count.

    Attributes:
        latencies_s: seconds of each request that got 200.
        failures: requests that did not.
        duration_s: from the first request to the last answer.
    """

    latencies_s: list[float] = field(default_factory=list)
    failures: int = 0
    duration_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Answers with status 200 a second."""
        return len(self.latencies_s) / self.duration_s

    def enough(self, for_s: float) -> int:
        """Clips that last for so many seconds, even at twice this rate."""
        return math.ceil(2 * self.per_s * for_s)

    def ms(self, percent: float) -> float:
        """Percentile of the latencies in milliseconds.

        Raises:
            RuntimeError: no request got 200.
        """
        if not self.latencies_s:
            raise RuntimeError(f"none of {self.failures} requests got an answer with status 200")
        return percentile(self.latencies_s, percent) * 1000


def closed_loop(url: str, clips: Iterable[bytes], clients: int, *, for_s: float = float("inf")) -> Load:
    """Send every clip once; each of `clients` sends its next when it has its answer.

    Args:
        url: takes a multipart form with a `file`.
        clips: audio files.
        clients: requests under way at a time.
        for_s: start no request after so many seconds.
    """
    return asyncio.run(_closed_loop(url, iter(clips), clients, for_s))


async def _closed_loop(url: str, clips: Iterator[bytes], clients: int, for_s: float) -> Load:
    load = Load()
    start = time.perf_counter()

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() - start < for_s and (clip := next(clips, None)) is not None:
            await _send(session, url, clip, load)

    async with _session() as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    load.duration_s = time.perf_counter() - start
    return load


def random_arrivals(per_s: float, n: int, seed: int) -> list[float]:
    """Moments, in seconds, at which independent users come: the gaps are exponential, `per_s` arrivals a second."""
    rng = random.Random(seed)
    return list(accumulate(rng.expovariate(per_s) for _ in range(n)))


def even_arrivals(per_s: float, n: int) -> list[float]:
    """Moments, in seconds, at which a client that keeps a rate sends: `per_s` arrivals a second."""
    return [number / per_s for number in range(n)]


def ideal_latencies(arrivals_s: Sequence[float], servers: int, service_s: float) -> list[float]:
    """Latencies of a perfect queue: who comes first is served first, each takes equally long, nothing else costs time.

    How these relate to each other depends on the utilisation alone, not on how fast a machine is.

    Args:
        arrivals_s: in order.
        servers: how many are served at once.
        service_s: seconds that each takes.
    """
    free_s = [0.0] * servers
    latencies = []
    for arrival_s in arrivals_s:
        end_s = max(heapq.heappop(free_s), arrival_s) + service_s
        heapq.heappush(free_s, end_s)
        latencies.append(end_s - arrival_s)
    return latencies


def open_loop(url: str, clips: Sequence[bytes], arrivals_s: Sequence[float], idle_url: str) -> tuple[Load, Load]:
    """Send clips at given moments, whether or not answers come, and beside them GET a route that does nothing.

    Args:
        url: takes a multipart form with a `file`.
        clips: audio files, one a request.
        arrivals_s: seconds from now at which each is sent.
        idle_url: asked ten times a second.

    Returns:
        How the clips went, and how the other route did.
    """
    return asyncio.run(_open_loop(url, clips, arrivals_s, idle_url))


async def _open_loop(url: str, clips: Sequence[bytes], arrivals_s: Sequence[float], idle_url: str) -> tuple[Load, Load]:
    load, idle = Load(), Load()
    start = time.perf_counter()
    async with _session() as session, asyncio.TaskGroup() as group:
        beside = group.create_task(_ask_for_ever(session, idle_url, idle))
        sent = []
        for clip, due_s in zip(clips, arrivals_s, strict=True):
            await asyncio.sleep(start + due_s - time.perf_counter())
            sent.append(group.create_task(_send(session, url, clip, load)))
        await asyncio.wait(sent)
        beside.cancel()
    load.duration_s = idle.duration_s = time.perf_counter() - start
    return load, idle


async def _ask_for_ever(session: aiohttp.ClientSession, url: str, load: Load) -> None:
    while True:
        await _note(session.get(url), load)
        await asyncio.sleep(0.1)


async def _send(session: aiohttp.ClientSession, url: str, clip: bytes, load: Load) -> None:
    form = aiohttp.FormData()
    form.add_field("file", clip, filename="clip.wav", content_type="audio/wav")
    await _note(session.post(url, data=form), load)


async def _note(request: AbstractAsyncContextManager[aiohttp.ClientResponse], load: Load) -> None:
    start = time.perf_counter()
    try:
        async with request as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError):
        load.failures += 1
        return
    if response.status == 200:
        load.latencies_s.append(time.perf_counter() - start)
    else:
        load.failures += 1


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=_TIMEOUT)
