"""A recording of ten minutes: how fast, and how much more memory than a short one."""

from __future__ import annotations

import statistics

from benchmarks.load import closed_loop
from benchmarks.measure import Figure, alternate, difference
from benchmarks.server import Server, maeum_server
from benchmarks.suite import Run, Suite

LONG_S = 600
SHORT_S = 10


def run(run: Run) -> list[Figure]:
    """Send a short and a long recording in turn and watch the server's memory."""
    speeds: list[float] = []
    with maeum_server(run) as server:
        closed_loop(server.analyze_url, run.clips.take(4), 1)

        def long(number: int) -> float:
            peak_mb, speed = _send(run, server, LONG_S)
            speeds.append(speed)
            return peak_mb

        short, after = alternate(
            [lambda number: _send(run, server, SHORT_S)[0], long], run.rounds, warm_up=0, report=run.say
        )
    return [
        Figure("seconds of speech a second", statistics.median(speeds), "x", min(speeds), max(speeds), target=10.0),
        difference("peak memory over a 10 s clip's", after, short, "MB", target=200.0),
    ]


def _send(run: Run, server: Server, duration_s: int) -> tuple[float, float]:
    """Peak of the server's memory in MB, and seconds of speech analysed a second."""
    clips = run.clips.take(1, duration_s)
    with server.peak_pss_mb() as peak:
        load = closed_loop(server.analyze_url, clips, 1)
    return peak[0], duration_s / (load.ms(50) / 1000)


SUITE = Suite("long", "one recording of 10 minutes", "real time; a 10 s clip for memory", run, rounds=2)
