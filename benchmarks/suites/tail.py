"""The slowest requests under a load that leaves room: p99 at 70 % of saturation."""

from __future__ import annotations

from statistics import median

from benchmarks.load import closed_loop, open_loop
from benchmarks.measure import Figure
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite

CLIENTS = 32
SATURATING_CLIPS = 96
SHARE = 0.7
DURATION_S = 60


def run(run: Run) -> list[Figure]:
    """Find the saturation, then let clips arrive at random at 70 % of it."""
    p50s, p99s, idles, tails = [], [], [], []
    failures = 0
    with maeum_server(run) as server:
        closed_loop(server.analyze_url, run.clips.take(CLIENTS), CLIENTS)
        for number in range(run.rounds):
            saturated = closed_loop(server.analyze_url, run.clips.take(run.scaled(SATURATING_CLIPS)), CLIENTS)
            per_s = SHARE * saturated.per_s
            clips = run.clips.take(run.scaled(max(100, round(per_s * DURATION_S))))
            run.say(f"  saturation {saturated.per_s:.2f} clips/s; {len(clips)} clips at {per_s:.2f}/s")
            load, idle = open_loop(server.analyze_url, clips, per_s, f"{server.url}/livez", seed=number)
            failures += saturated.failures + load.failures
            p50s.append(load.ms(50))
            p99s.append(load.ms(99))
            idles.append(idle.ms(99))
            tails.append((load.ms(99) - idle.ms(99)) / load.ms(50))
    return [
        Figure(
            "(p99 - p99 of a route that does nothing) over p50",
            median(tails),
            "x",
            min(tails),
            max(tails),
            target=3.0,
            better="lower",
        ),
        Figure("p50", median(p50s), "ms"),
        Figure("p99", median(p99s), "ms"),
        Figure("p99 of the route that does nothing", median(idles), "ms"),
        Figure("requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite("tail", "p99 at 70 % of saturation", "p50 of the same requests", run, rounds=2)
