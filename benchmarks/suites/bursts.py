"""What is left of a burst: one client's latency before it and two seconds after it."""

from __future__ import annotations

import time

from benchmarks.load import closed_loop
from benchmarks.measure import Figure, alternate, ratio
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite

CLIENTS = 64
BURST_S = 10
PAUSE_S = 2
ONE_CLIENTS_CLIPS = 30


def run(run: Run) -> list[Figure]:
    """Measure one client, let 64 in for ten seconds, measure one client again."""
    failures = 0
    with maeum_server(run) as server:

        def one_client(number: int) -> float:
            nonlocal failures
            load = closed_loop(server.analyze_url, run.clips.take(run.scaled(ONE_CLIENTS_CLIPS)), 1)
            failures += load.failures
            return load.ms(50)

        def after_a_burst(number: int) -> float:
            nonlocal failures
            clips = run.clips.take(400)
            failures += closed_loop(server.analyze_url, clips, CLIENTS, for_s=BURST_S).failures
            time.sleep(PAUSE_S)
            return one_client(number)

        before, after = alternate([one_client, after_a_burst], run.rounds, warm_up=0, report=run.say)
    return [
        ratio("p50 of one client, after over before", after, before, "ms", target=1.5, better="lower"),
        Figure("requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite("burst", "one client 2 s after 10 s of 64 clients", "the same client before", run, rounds=3)
