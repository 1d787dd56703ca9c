"""The same engines behind other servers, in turn, at one, 16 and 64 clients."""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks.load import Load, closed_loop
from benchmarks.measure import SETTLE_S, Figure, alternate, ratio
from benchmarks.server import Server, maeum_server, peer_server
from benchmarks.suite import Run, Suite

# (clients, clips a server and round, target: times the better of the others)
LEVELS = ((1, 20, 0.95), (16, 48, None), (64, 128, 1.2))


def run(run: Run) -> list[Figure]:
    """Send all servers the same clips in turn; the others are idle meanwhile."""
    with ExitStack() as stack:
        ours = stack.enter_context(maeum_server(run))
        litserve, fastapi = (stack.enter_context(peer_server(name, run)) for name in ("litserve", "fastapi"))
        litserve.suspend()
        return [figure for level in LEVELS for figure in _measure(run, ours, litserve, fastapi, *level)]


def _measure(
    run: Run, ours: Server, litserve: Server, fastapi: Server, clients: int, n_clips: int, target: float | None
) -> list[Figure]:
    clips: list[bytes] = []

    def send(server: Server) -> Load:
        time.sleep(SETTLE_S)
        return closed_loop(server.analyze_url, clips, clients)

    def to_ours(number: int) -> Load:
        full = run.scaled(n_clips)
        clips[:] = run.clips.take(full if number >= 0 else full // 2)
        return send(ours)

    def to_litserve(number: int) -> Load:
        litserve.resume()
        load = send(litserve)
        litserve.suspend()  # it looks into its empty queue again and again, which would take a core from the others
        return load

    run.say(f"  {clients} clients")
    loads = alternate([to_ours, to_litserve, lambda number: send(fastapi)], run.rounds, report=run.say)
    a, per_s_of_litserve, per_s_of_fastapi = ([load.per_s for load in mine] for mine in loads)
    failures = sum(load.failures for mine in loads for load in mine)
    best = [max(pair) for pair in zip(per_s_of_litserve, per_s_of_fastapi, strict=True)]
    name = f"{clients} client{'s' if clients > 1 else ''}, clips a second"
    return [
        ratio(f"{name}, over the better of both", a, best, "/s", target=target),
        ratio(f"{name}, over LitServe", a, per_s_of_litserve, "/s"),
        ratio(f"{name}, over FastAPI with threads", a, per_s_of_fastapi, "/s"),
        Figure(f"{clients} clients: requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite(
    "peers", "`make serve`", "the same engines behind LitServe, and behind FastAPI with threads", run, rounds=2
)
