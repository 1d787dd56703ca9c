"""Sixteen clients over HTTP: the server against the sequential original in a Flask process with one worker."""

from __future__ import annotations

from benchmarks.load import Load, closed_loop
from benchmarks.measure import Figure, alternate, ratio
from benchmarks.server import Server, maeum_server, peer_server
from benchmarks.suite import Run, Suite

CLIENTS = 16
CLIPS = 48


def run(run: Run) -> list[Figure]:
    """Send both the same clips in turn; the other one is idle meanwhile."""
    failures = 0
    with maeum_server(run) as ours, peer_server("flask", run) as theirs:
        clips: list[bytes] = []

        def send(server: Server) -> Load:
            nonlocal failures
            load = closed_loop(server.analyze_url, clips, CLIENTS)
            failures += load.failures
            return load

        def together(number: int) -> Load:
            clips[:] = run.clips.take(run.scaled(CLIPS))
            return send(ours)

        a, b = alternate([together, lambda number: send(theirs)], run.rounds, report=run.say)
    return [
        ratio("10 s clips a second", [x.per_s for x in a], [x.per_s for x in b], "/s", target=3.0),
        ratio("p50 of the latency", [x.ms(50) for x in a], [x.ms(50) for x in b], "ms"),
        Figure("requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite("served", "16 clients, 10 s clips, over HTTP", "the original in Flask, one worker", run, rounds=4)
