"""The same engines behind other servers, in turn, at one, two, 16 and 64 clients."""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks.measure import SETTLE_S, Figure, alternate, ratio
from benchmarks.server import Sent, Server, maeum_server, peer_server, send_measured
from benchmarks.suite import Run, Suite

# (clients, clips a server and round, target: times the better of the others)
LEVELS = ((1, 20, 0.95), (2, 24, None), (16, 48, None), (64, 128, 1.2))


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

    def send(server: Server) -> Sent:
        time.sleep(SETTLE_S)
        return send_measured(server, clips, clients)

    def to_ours(number: int) -> Sent:
        full = run.scaled(n_clips)
        clips[:] = run.clips.take(full if number >= 0 else full // 2)
        return send(ours)

    def to_litserve(number: int) -> Sent:
        litserve.resume()
        sent = send(litserve)
        litserve.suspend()  # it looks into its empty queue again and again, which would take a core from the others
        return sent

    run.say(f"  {clients} clients")
    sent = alternate([to_ours, to_litserve, lambda number: send(fastapi)], run.rounds, report=run.say)
    a, per_s_of_litserve, per_s_of_fastapi = ([x.load.per_s for x in mine] for mine in sent)
    cost, cost_of_litserve, cost_of_fastapi = ([x.cpu_s_per_clip for x in mine] for mine in sent)
    failures = sum(x.load.failures for mine in sent for x in mine)
    best = [max(pair) for pair in zip(per_s_of_litserve, per_s_of_fastapi, strict=True)]
    crowded = clients == LEVELS[-1][0]
    name = f"{clients} client{'s' if clients > 1 else ''}, clips a second"
    return [
        ratio(f"{name}, over the better of both", a, best, "/s", target=target),
        ratio(f"{name}, over LitServe", a, per_s_of_litserve, "/s"),
        ratio(f"{name}, over FastAPI with threads", a, per_s_of_fastapi, "/s"),
        ratio(f"{clients} clients, CPU-seconds a clip, by LitServe's", cost, cost_of_litserve, "s", limit=crowded),
        ratio(f"{clients} clients, CPU-seconds a clip, by FastAPI's", cost, cost_of_fastapi, "s", limit=crowded),
        Figure(f"{clients} clients: requests without status 200", failures, "", target=0, better="lower"),
    ]


SUITE = Suite(
    "peers", "`make serve`", "the same engines behind LitServe, and behind FastAPI with threads", run, rounds=2
)
