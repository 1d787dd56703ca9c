"""The same engines behind other servers, in turn, at one, 16 and 64 clients."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from benchmarks.load import Load, closed_loop
from benchmarks.measure import Figure, alternate, ratio
from benchmarks.server import Server, maeum_server, peer_server
from benchmarks.suite import Run, Suite

# (clients, clips a server and round, target: times the better of the others)
LEVELS = ((1, 10, 0.95), (16, 32, None), (64, 64, 1.2))


def run(run: Run) -> list[Figure]:
    """Send all servers as many clips in turn; the others are idle meanwhile."""
    with ExitStack() as stack:
        ours = stack.enter_context(maeum_server(run))
        others = [stack.enter_context(peer_server(name, run)) for name in ("litserve", "fastapi")]
        return [figure for level in LEVELS for figure in _measure(run, ours, others, *level)]


def _measure(
    run: Run, ours: Server, others: list[Server], clients: int, n_clips: int, target: float | None
) -> list[Figure]:
    clips: list[bytes] = []

    def send(server: Server, number: int) -> Load:
        if server is ours:
            clips[:] = run.clips.take(run.scaled(n_clips))
        return closed_loop(server.analyze_url, clips, clients)

    run.say(f"  {clients} clients")
    loads = alternate(
        [partial(send, server) for server in (ours, *others)], run.rounds, warm_up=int(clients == 1), report=run.say
    )
    a, litserve, fastapi = ([load.per_s for load in mine] for mine in loads)
    failures = sum(load.failures for mine in loads for load in mine)
    best = [max(pair) for pair in zip(litserve, fastapi, strict=True)]
    name = f"{clients} client{'s' if clients > 1 else ''}, clips a second"
    return [
        ratio(f"{name}, over the better of both", a, best, "/s", target=target),
        ratio(f"{name}, over LitServe", a, litserve, "/s"),
        ratio(f"{name}, over FastAPI with threads", a, fastapi, "/s"),
        Figure(f"{clients} clients: requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite(
    "peers", "`make serve`", "the same engines behind LitServe, and behind FastAPI with threads", run, rounds=2
)
