from __future__ import annotations

import os
from pathlib import Path

import pytest

from maeum.cores import available_cores


@pytest.mark.parametrize(
    ("content", "expected"),
    [("150000 100000", 2), ("100000 100000", 1), ("20000 100000", 1), ("6400000 100000", 8), ("max 100000", 8)],
)
def test_a_containers_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    (tmp_path / "cpu.max").write_text(f"{content}\n")
    assert available_cores(tmp_path / "cpu.max") == expected


def test_without_a_limit_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5})
    assert available_cores(tmp_path / "missing") == 3
