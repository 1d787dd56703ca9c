"""Requests share batches without changing each other's answers."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.acceptance import batches
from tests.conftest import Clip


def analyze(server: str, clip: Clip) -> Any:
    response = httpx.post(f"{server}/v1/analyze", files={"file": clip.data}, data={"gender": clip.gender}, timeout=300)
    assert response.status_code == 200, response.text
    return response.json()


def close(first: Any, second: Any) -> bool:
    """Whether two answers are the same, numbers within 1e-4 and timings aside."""
    if isinstance(first, dict):
        return set(first) == set(second) and all(close(first[k], second[k]) for k in first if k != "timings_ms")
    if isinstance(first, list):
        return len(first) == len(second) and all(map(close, first, second))
    if isinstance(first, float):
        return bool(first == pytest.approx(second, abs=1e-4))
    return bool(first == second)


def test_alone_and_among_others_is_the_same(server: str, clips: list[Clip]) -> None:
    alone = [analyze(server, clip) for clip in clips[:16]]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda clip: analyze(server, clip), clips[:16]))

    assert all(close(one, other) for one, other in zip(alone, together, strict=True))


def test_sixteen_clients_fill_batches(server: str, clips: list[Clip]) -> None:
    before = batches(server)
    work = clips * 2
    random.Random(0).shuffle(work)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda clip: analyze(server, clip), work))
    after = batches(server)

    for runner, (count, items) in after.items():
        n_batches, n_items = count - before[runner][0], items - before[runner][1]
        assert n_items >= len(work)
        assert n_items / n_batches > 1.5, runner


def test_a_bad_upload_fails_alone(server: str, clips: list[Clip]) -> None:
    def send(data: bytes) -> int:
        return httpx.post(f"{server}/v1/analyze", files={"file": data}, timeout=300).status_code

    uploads = [clip.data for clip in clips[:12]]
    uploads[3] = b"nonsense" * 1000
    uploads[7] = b""
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(send, uploads))

    assert [statuses.pop(7), statuses.pop(3)] == [422, 422]
    assert set(statuses) == {200}
