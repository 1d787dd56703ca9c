"""A minute at 64 clients: whether every request is answered, and what becomes of latency and memory."""

from __future__ import annotations

from threading import Timer

from benchmarks.load import closed_loop
from benchmarks.measure import Figure
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite

CLIENTS = 64
DURATION_S = 60
SETTLED_S = 15


def run(run: Run) -> list[Figure]:
    """Find how many clips a minute takes, then send them."""
    duration_s = run.scaled(DURATION_S)
    memory_mb: list[float] = []
    with maeum_server(run) as server:
        first = closed_loop(server.analyze_url, run.clips.take(CLIENTS), CLIENTS)
        clips = run.clips.take(CLIENTS + first.enough(duration_s))
        run.say(f"  {duration_s} s at about {first.per_s:.2f} clips/s")
        looks = [
            Timer(after_s, lambda: memory_mb.append(server.pss_mb())) for after_s in (run.scaled(SETTLED_S), duration_s)
        ]
        for look in looks:
            look.start()
        load = closed_loop(server.analyze_url, clips, CLIENTS, for_s=duration_s)
        for look in looks:
            look.join()
    settled_mb, at_the_end_mb = memory_mb
    return [
        Figure("clips a second", load.per_s, "/s"),
        Figure("requests without status 200", first.failures + load.failures, "", target=0, better="lower"),
        Figure("p50", load.ms(50), "ms"),
        Figure("p99", load.ms(99), "ms"),
        Figure(
            f"memory after {duration_s} s over that after {run.scaled(SETTLED_S)} s",
            at_the_end_mb - settled_mb,
            "MB",
            a=at_the_end_mb,
            b=settled_mb,
            ab_unit="MB",
            better="lower",
        ),
    ]


SUITE = Suite("soak", "64 clients for a minute", "-", run, rounds=1)
