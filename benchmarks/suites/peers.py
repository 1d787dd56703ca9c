"""The same engines behind other servers, in turn, at one, two, 16 and 64 clients.

The others run twice: as they come, and with memory, garbage collector and threads set as in maeum's own processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.measure import SETTLE_S, Figure, alternate, ratio
from benchmarks.peers import TUNED
from benchmarks.server import Sent, Server, maeum_server, peer_server, send_measured
from benchmarks.suite import Run, Suite

# (clients, clips a server and round, target: times the better of the others)
LEVELS = ((1, 20, 0.95), (2, 24, None), (16, 48, None), (64, 128, 1.2))
PEERS = {"LitServe": "litserve", "FastAPI with threads": "fastapi"}
WAYS: dict[str, tuple[str, ...]] = {"as they come": (), "tuned as maeum": (TUNED,)}


def run(run: Run) -> list[Figure]:
    """Send all servers the same clips in turn; the others do nothing meanwhile."""
    with ExitStack() as stack:
        ours = stack.enter_context(maeum_server(run))
        others: list[tuple[str, str, Server]] = []
        for way, options in WAYS.items():
            for peer, name in PEERS.items():
                others.append((way, peer, stack.enter_context(peer_server(name, run, *options))))
                others[-1][2].suspend()
        return [figure for level in LEVELS for figure in _measure(run, ours, others, *level)]


def _measure(
    run: Run, ours: Server, others: Sequence[tuple[str, str, Server]], clients: int, n_clips: int, target: float | None
) -> list[Figure]:
    clips: list[bytes] = []

    def to_ours(number: int) -> Sent:
        full = run.scaled(n_clips)
        clips[:] = run.clips.take(full if number >= 0 else full // 2)
        return _send(ours, clips, clients)

    def to_another(server: Server) -> Sent:
        with _awake(server):
            return _send(server, clips, clients)

    run.say(f"  {clients} clients")
    calls = [to_ours, *(lambda number, server=server: to_another(server) for *_, server in others)]
    mine, *sent = alternate(calls, run.rounds, report=run.say)
    figures = []
    crowded = clients == LEVELS[-1][0]
    for way in WAYS:
        these = {peer: one for (own, peer, _), one in zip(others, sent, strict=True) if own == way}
        figures += _compare(f"{clients} client{'s' if clients > 1 else ''}, {way}", mine, these, target, crowded)
    failures = sum(x.load.failures for one in (mine, *sent) for x in one)
    return [*figures, Figure(f"{clients} clients: requests without status 200", failures, "", target=0, better="lower")]


def _compare(
    name: str, mine: Sequence[Sent], theirs: Mapping[str, Sequence[Sent]], target: float | None, limit: bool
) -> list[Figure]:
    def costs(sent: Sequence[Sent]) -> list[float]:
        return [x.cpu_s_per_clip for x in sent]

    rates = {peer: [x.load.per_s for x in sent] for peer, sent in theirs.items()}
    own_rates, own_costs = [x.load.per_s for x in mine], costs(mine)
    best = [max(round_rates) for round_rates in zip(*rates.values(), strict=True)]
    return [
        ratio(f"{name}: clips a second, over the better of both", own_rates, best, "/s", target=target, limit=True),
        *(ratio(f"{name}: clips a second, over {peer}", own_rates, of, "/s") for peer, of in rates.items()),
        *(
            ratio(f"{name}: CPU-seconds a clip, over {peer}", own_costs, costs(sent), "s", limit=limit)
            for peer, sent in theirs.items()
        ),
    ]


def _send(server: Server, clips: Sequence[bytes], clients: int) -> Sent:
    time.sleep(SETTLE_S)
    return send_measured(server, clips, clients)


@contextmanager
def _awake(server: Server) -> Iterator[None]:
    """Let a server run while it is measured; LitServe's looks into its empty queue again and again, on a core."""
    server.resume()
    try:
        yield
    finally:
        server.suspend()


SUITE = Suite(
    "peers",
    "`make serve`",
    "the same engines behind LitServe, and behind FastAPI with threads: as they come, and tuned as maeum",
    run,
    rounds=2,
)
