"""How many cores this process may use, what they can do, and how many threads numpy takes."""

from __future__ import annotations

import math
import os
from pathlib import Path

from threadpoolctl import ThreadpoolController

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_CPU_INFO = Path("/proc/cpuinfo")


def available_cores(cpu_max: Path = _CPU_MAX) -> int:
    """Cores of this process: its affinity, and no more than a container's CPU limit allows, which affinity ignores.

    Args:
        cpu_max: cgroup v2's file: quota and period in microseconds, or `max`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or no limit
        return cores


def has_bf16(cpu_info: Path = _CPU_INFO) -> bool:
    """Whether the processor has instructions for bfloat16. Where it has none, torch takes longer than in fp32.

    Args:
        cpu_info: Linux's file, with the processor's flags.
    """
    try:
        flags = set(cpu_info.read_text().split())
    except OSError:  # not Linux
        return False
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & flags)  # the last is ARM's


def one_blas_thread() -> None:
    """Let numpy's matrix products in this process work on the thread that asks for them.

    Ours are of a few columns: OpenBLAS's threads spend longer waiting for each other and for more work, on all cores,
    than the product takes. With the log-mel spectra of one client's clips that was a quarter of all CPU time.
    """
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
