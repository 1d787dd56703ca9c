"""Sixteen clients over HTTP: the server against the sequential original in a Flask process with one worker."""

from __future__ import annotations

import os

from benchmarks.measure import Figure, alternate, ratio
from benchmarks.server import Sent, Server, maeum_server, peer_server, send_measured
from benchmarks.suite import Run, Suite

CLIENTS = 16
# A client's four, or two where each takes seconds.
CLIPS = {"embedded": 64, "production-shapes": 32}


def run(run: Run) -> list[Figure]:
    """Send both the same clips in turn; the other one is idle meanwhile."""
    failures = 0
    with maeum_server(run) as ours, peer_server("flask", run) as theirs:
        clips: list[bytes] = []

        def send(server: Server) -> Sent:
            nonlocal failures
            sent = send_measured(server, clips, CLIENTS)
            failures += sent.load.failures
            return sent

        def together(number: int) -> Sent:
            clips[:] = run.clips.take(run.scaled(CLIPS[run.profile]) if number >= 0 else CLIENTS)
            return send(ours)

        a, b = alternate([together, lambda number: send(theirs)], run.rounds, report=run.say)
    cores = len(os.sched_getaffinity(0))
    target = 3.0 if run.profile == "embedded" else None
    return [
        ratio("10 s clips a second", [x.load.per_s for x in a], [x.load.per_s for x in b], "/s", target=target),
        ratio("p50 of the latency", [x.load.ms(50) for x in a], [x.load.ms(50) for x in b], "ms"),
        ratio("CPU-seconds a clip", [x.cpu_s_per_clip for x in a], [x.cpu_s_per_clip for x in b], "s"),
        ratio(f"cores in use, of {cores}", [x.cores_in_use for x in a], [x.cores_in_use for x in b], ""),
        Figure("requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite(
    "served",
    "16 clients, 10 s clips, over HTTP",
    "the original in Flask, one worker",
    run,
    rounds=3,
    profiles=("embedded", "production-shapes"),
)
