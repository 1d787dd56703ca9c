"""The slowest requests under a load that leaves room: p99 at 70 % of saturation."""

from __future__ import annotations

import os

from benchmarks.load import Load, closed_loop, even_arrivals, ideal_latencies, open_loop, random_arrivals
from benchmarks.measure import Figure, percentile
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite

CLIENTS = 32
SATURATING_CLIPS = 96
SHARE = 0.7
DURATION_S = 60
EVEN_DURATION_S = 30


def run(run: Run) -> list[Figure]:
    """Find the saturation, then let clips arrive at 70 % of it.

    At random, as people come, beside what a perfect queue would do with the same arrivals; and evenly, as from a client
    that keeps a rate.
    """
    cores = len(os.sched_getaffinity(0))
    loads, idles, ideals, even_loads, even_idles = [], [], [], [], []
    failures = 0
    with maeum_server(run) as server:
        closed_loop(server.analyze_url, run.clips.take(CLIENTS), CLIENTS)
        for number in range(run.rounds):
            saturated = closed_loop(server.analyze_url, run.clips.take(run.scaled(SATURATING_CLIPS)), CLIENTS)
            per_s = SHARE * saturated.per_s
            clips = run.clips.take(run.scaled(max(100, round(per_s * DURATION_S))))
            run.say(f"  saturation {saturated.per_s:.2f} clips/s; {len(clips)} clips at {per_s:.2f}/s")
            arrivals_s = random_arrivals(per_s, len(clips), seed=number)
            load, idle = open_loop(server.analyze_url, clips, arrivals_s, f"{server.url}/livez")
            even = even_arrivals(per_s, run.scaled(max(100, round(per_s * EVEN_DURATION_S))))
            even_load, even_idle = open_loop(server.analyze_url, run.clips.take(len(even)), even, f"{server.url}/livez")
            failures += saturated.failures + load.failures + even_load.failures
            even_loads.append(even_load)
            even_idles.append(even_idle)
            loads.append(load)
            idles.append(idle)
            ideals.append(ideal_latencies(arrivals_s, cores, cores / saturated.per_s))
    together, idle_together = _together(loads), _together(idles)
    tails, even_tails = (list(map(_tail, *pair)) for pair in ((loads, idles), (even_loads, even_idles)))
    ideal = [percentile(latencies, 99) / percentile(latencies, 50) for latencies in ideals]
    ideal_together = [latency for latencies in ideals for latency in latencies]
    return [
        Figure(
            "(p99 - p99 of a route that does nothing) over p50",
            _tail(together, idle_together),
            "x",
            min(tails),
            max(tails),
            target=3.0,
            better="lower",
        ),
        Figure(
            f"the same arrivals in a perfect queue of {cores} cores",
            percentile(ideal_together, 99) / percentile(ideal_together, 50),
            "x",
            min(ideal),
            max(ideal),
            limit=True,
        ),
        Figure(
            "the same of arrivals at even distances",
            _tail(_together(even_loads), _together(even_idles)),
            "x",
            min(even_tails),
            max(even_tails),
            limit=True,
        ),
        Figure("p50", together.ms(50), "ms"),
        Figure("p99", together.ms(99), "ms"),
        Figure("p99 of the route that does nothing", idle_together.ms(99), "ms"),
        Figure("requests without status 200", failures, "", target=0, better="lower"),
    ]


def _together(rounds: list[Load]) -> Load:
    return Load([latency_s for load in rounds for latency_s in load.latencies_s])


def _tail(load: Load, idle: Load) -> float:
    return (load.ms(99) - idle.ms(99)) / load.ms(50)


SUITE = Suite(
    "tail", "p99 at 70 % of saturation, at random and at even distances", "p50 of the same requests", run, rounds=4
)
