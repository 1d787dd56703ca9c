"""A recording of ten minutes: how fast, and how much more memory than a short one."""

from __future__ import annotations

import statistics

from benchmarks.load import closed_loop
from benchmarks.measure import Figure, difference
from benchmarks.server import Server, maeum_server
from benchmarks.suite import Run, Suite

LONG_S = 600
SHORT_S = 10


def run(run: Run) -> list[Figure]:
    """Send a short and a long recording in turn and watch the server's memory."""
    short_mb: list[float] = []
    long_mb: list[float] = []
    speeds: list[float] = []
    for number in range(run.rounds):
        # A fresh one each round: freed memory is kept, so the short recording's peak would hold the long one before it.
        with maeum_server(run) as server:
            closed_loop(server.analyze_url, run.clips.take(4), 1)
            peak_mb, _ = _send(run, server, SHORT_S)
            short_mb.append(peak_mb)
            peak_mb, speed = _send(run, server, LONG_S)
            long_mb.append(peak_mb)
            speeds.append(speed)
        run.say(f"  round {number + 1}/{run.rounds}: {speed:.1f} x real time, {peak_mb - short_mb[-1]:.0f} MB more")
    return [
        Figure("seconds of speech a second", statistics.median(speeds), "x", min(speeds), max(speeds), target=10.0),
        difference("peak memory over a 10 s clip's", long_mb, short_mb, "MB", target=200.0),
    ]


def _send(run: Run, server: Server, duration_s: int) -> tuple[float, float]:
    """Peak of the server's memory in MB, and seconds of speech analysed a second."""
    clips = run.clips.take(1, duration_s)
    with server.peak_pss_mb() as peak:
        load = closed_loop(server.analyze_url, clips, 1)
    return peak[0], duration_s / (load.ms(50) / 1000)


SUITE = Suite("long", "one recording of 10 minutes", "real time; a 10 s clip for memory", run, rounds=2)
