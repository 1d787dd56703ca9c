"""Hostile uploads: each gets a clear answer, and the server works after."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.acceptance import mutate
from tests.conftest import Clip

ALLOWED = {200, 413, 415, 422}


def test_damaged_files_get_a_clear_answer(server: str, clips: list[Clip]) -> None:
    def send(data: bytes) -> int:
        return httpx.post(f"{server}/v1/analyze", files={"file": ("a.wav", data)}, timeout=120).status_code

    rng = random.Random(7)
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(send, [mutate(rng.choice(clips).data, rng) for _ in range(60)]))

    assert set(statuses) <= ALLOWED
    assert 422 in statuses
    response = httpx.post(f"{server}/v1/analyze", files={"file": clips[0].data}, timeout=120)
    assert response.status_code == 200
    assert response.json()["transcript"]["text"]
