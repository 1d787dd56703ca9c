"""Hostile uploads: each gets a clear answer, and the server works after."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

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


def _fields() -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\nHost: maeum\r\n"
    while True:
        yield b"aaa: bbb\r\n" * 1_000


def _one_field() -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\nHost: maeum\r\naaa: "
    while True:
        yield b"b" * 10_000


def _trailers() -> Iterator[bytes]:
    yield b"POST /v1/analyze HTTP/1.1\r\nHost: maeum\r\nTransfer-Encoding: chunked\r\n"
    yield b"Content-Type: multipart/form-data; boundary=x\r\n\r\n0\r\n"
    while True:
        yield b"aaa: bbb\r\n" * 1_000


@pytest.mark.parametrize("endless", [_fields, _one_field, _trailers])
def test_a_head_without_an_end_is_cut_off(server: str, endless: type[Iterator[bytes]]) -> None:
    url = httpx.URL(server)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection, pytest.raises(ConnectionError):
        _send(connection, endless())
    assert httpx.get(f"{server}/livez").status_code == 200


def _send(connection: socket.socket, parts: Iterator[bytes]) -> None:
    sent = 0
    for part in parts:
        connection.sendall(part)
        sent += len(part)
        assert sent < 20_000_000, "the server goes on reading"
