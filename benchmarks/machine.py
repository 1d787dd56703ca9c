"""What a result was measured on: machine, versions, settings, and the speed of a matrix product in the same run."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from maeum.process.cores import has_bf16
from maeum.settings import PROJECT_DIR, Settings

_PACKAGES = (
    "bentoml",
    "ctranslate2",
    "faster-whisper",
    "flask",
    "librosa",
    "litserve",
    "numpy",
    "onnxruntime",
    "soxr",
    "tokenizers",
    "torch",
    "transformers",
)


def describe(device: str) -> dict[str, Any]:
    """Machine and versions, without names of hosts or folders."""
    memory = psutil.virtual_memory().total / 2**30
    machine: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "torch_threads": torch.get_num_threads(),
    }
    if device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"machine": machine, "versions": versions, "commit": _commit()}


def changed_settings(settings: Settings) -> dict[str, str]:
    """Settings that differ from the defaults; of folders and files the last part only, and no secrets."""
    changed = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if value != field.default and not name.startswith(("openai", "hf")):
            changed[f"MAEUM_{name.upper()}"] = Path(str(value)).name
    return changed


def gemm_gflops(device: str) -> dict[str, float]:
    """GFLOP/s of the best of a few matrix products, by precision: the roof under which models work.

    On CPUs bfloat16 is left out where the processor has no instructions for it.
    """
    kinds = {"fp32": torch.float32}
    if device == "cuda":
        kinds |= {"bf16": torch.bfloat16, "fp16": torch.float16}
    elif has_bf16():
        kinds["bf16"] = torch.bfloat16
    size = 8192 if device == "cuda" else 1536
    return {name: round(_gemm(size, kind, device), 1) for name, kind in kinds.items()}


def _gemm(size: int, kind: torch.dtype, device: str) -> float:
    left = torch.randn(size, size, device=device).to(kind)
    right = torch.randn(size, size, device=device).to(kind)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        product = left @ right
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def _cpu_model() -> str:
    return next((value for key, value in _cpu_info() if key == "model name"), platform.processor())


def _cpu_info() -> list[tuple[str, str]]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]


def _commit() -> str:
    """Commit of the working tree, with `+` where the code or the models that run differ from it.

    Where there is no repository, `GIT_COMMIT` says it.
    """
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        what_runs = ("maeum", "runners", "service.py", "models/embedded", "benchmarks/*.py")
        changed = _git("status", "--porcelain", "--", *what_runs)
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_COMMIT", "unknown")
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT_DIR, check=True, capture_output=True, text=True)
    return done.stdout.strip()
