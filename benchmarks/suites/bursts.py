"""What is left of a burst: one client's latency before it and two seconds after it."""

from __future__ import annotations

import time

from benchmarks.load import closed_loop
from benchmarks.measure import Figure, ratio
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite

CLIENTS = 64
BURST_S = 10
BURST_CLIPS = 400
PAUSE_S = 2
ONE_CLIENTS_CLIPS = 30


def run(run: Run) -> list[Figure]:
    """Measure one client, let 64 in for ten seconds, measure one client again."""
    before_ms: list[float] = []
    after_ms: list[float] = []
    failures = 0
    for number in range(run.rounds):
        with maeum_server(run) as server:  # a fresh one each round: nothing is left of the burst before
            warm_up, before, after = (run.clips.take(run.scaled(ONE_CLIENTS_CLIPS)) for _ in range(3))
            burst = run.clips.take(BURST_CLIPS)
            closed_loop(server.analyze_url, warm_up, 1)
            loads = [closed_loop(server.analyze_url, before, 1)]
            loads.append(closed_loop(server.analyze_url, burst, CLIENTS, for_s=BURST_S))
            time.sleep(PAUSE_S)
            loads.append(closed_loop(server.analyze_url, after, 1))
        failures += sum(load.failures for load in loads)
        before_ms.append(loads[0].ms(50))
        after_ms.append(loads[-1].ms(50))
        run.say(f"  round {number + 1}/{run.rounds}: {before_ms[-1]:.0f} ms before, {after_ms[-1]:.0f} ms after")
    return [
        ratio("p50 of one client, after over before", after_ms, before_ms, "ms", target=1.5, better="lower"),
        Figure("requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite("burst", "one client 2 s after 10 s of 64 clients", "the same client before", run, rounds=3)
