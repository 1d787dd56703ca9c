"""From the start of the process to the first 200 of `/readyz`."""

from __future__ import annotations

import statistics

from benchmarks.measure import Figure
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite


def run(run: Run) -> list[Figure]:
    """Start the server and stop it again."""
    run.settings()  # models of production sizes are made now
    starts: list[float] = []
    used: list[float] = []
    for number in range(-1, run.rounds):
        with maeum_server(run) as server:
            run.say(f"  ready after {server.start_s:.1f} s")
            if number >= 0:
                starts.append(server.start_s)
                used.append(server.cpu_seconds())
    return [
        Figure("ready", statistics.median(starts), "s", min(starts), max(starts), target=8.0, better="lower"),
        Figure("CPU-seconds until ready", statistics.median(used), "s", min(used), max(used)),
    ]


SUITE = Suite("start", "process start to ready", "-", run, rounds=3)
