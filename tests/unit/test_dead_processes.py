"""What `/metrics` keeps of processes that died."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runners.lifecycle import forget_dead_processes


def test_what_a_dead_process_had_under_way_is_forgotten(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    names = [f"{kind}_{pid}.db" for kind in ("counter", "gauge_livesum") for pid in (os.getpid(), dead.pid)]
    for name in names:
        (tmp_path / name).touch()
    forget_dead_processes(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(names[:3])  # what was counted stays
