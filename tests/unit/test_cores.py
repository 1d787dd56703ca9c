from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maeum.assembly import default_speech_workers
from maeum.process.cores import available_cores, has_bf16


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


def test_numpys_products_stay_on_the_thread_that_asks() -> None:
    code = (
        "import numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "from maeum.process.cores import one_blas_thread\n"
        "one_blas_thread()\n"
        "print(*(pool['num_threads'] for pool in threadpool_info() if pool['internal_api'] == 'openblas'))"
    )
    # More than one to begin with, also on a machine of one core.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    counts = done.stdout.split()
    assert counts
    assert set(counts) == {"1"}


MB = 10**6


@pytest.mark.parametrize(
    ("model_bytes", "threads", "workers"),
    [
        pytest.param(9 * MB, 8, 8, id="small models, one thread each"),
        pytest.param(75 * MB, 2, 2, id="Whisper base, one thread each"),
        pytest.param(250 * MB, 1, 1, id="Whisper small, never more workers than threads"),
        pytest.param(484 * MB, 2, 2, id="Whisper small, two side by side"),
        pytest.param(250 * MB, 16, 4, id="Whisper small, four threads each"),
        pytest.param(800 * MB, 2, 1, id="Whisper medium, all threads"),
        pytest.param(800 * MB, 16, 4, id="Whisper medium, four threads each"),
        pytest.param(0, 2, 2, id="weights that are missing are the engine's to refuse"),
    ],
)
def test_larger_speech_models_share_more_threads(model_bytes: int, threads: int, workers: int) -> None:
    assert default_speech_workers(model_bytes, threads) == workers


@pytest.mark.parametrize(
    ("cpu_info", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("flags\t\t: amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx512f avx512vl avx512bw\n", False),  # oneDNN emulates it there
        (None, False),
    ],
)
def test_bfloat16_takes_instructions_of_its_own(tmp_path: Path, cpu_info: str | None, expected: bool) -> None:
    if cpu_info is not None:
        (tmp_path / "cpuinfo").write_text(cpu_info)
    assert has_bf16(tmp_path / "cpuinfo") is expected
