"""What the sizes of batches, their deadline and short windows do to throughput and to the slowest requests."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from benchmarks.load import Load, closed_loop
from benchmarks.measure import Figure, alternate, ratio
from benchmarks.server import Server, maeum_server
from benchmarks.suite import Run, Suite

CLIENTS = 32
CLIPS = 64
# A setting and a value that is not its default.
CHANGES: tuple[tuple[str, int | str], ...] = (
    ("speech_batch", 1),
    ("speech_batch", 4),
    ("speech_batch", 32),
    ("text_batch", 8),
    ("voice_batch", 1),
    ("max_latency_ms", 2000),
    ("speech_window", "audio"),
)


def run(run: Run) -> list[Figure]:
    """Send servers that differ in one setting the same clips in turn; the others are idle meanwhile."""
    clips: list[bytes] = []

    def send(server: Server, number: int) -> Load:
        if server is servers[0]:
            clips[:] = run.clips.take(run.scaled(CLIPS) if number >= 0 else CLIENTS)
        return closed_loop(server.analyze_url, clips, CLIENTS)

    with ExitStack() as stack:
        servers = [stack.enter_context(maeum_server(run))]
        for name, value in CHANGES:
            run.say(f"  starting with {name} {value}")
            servers.append(stack.enter_context(maeum_server(run, **{name: value})))
        default, *others = alternate([partial(send, server) for server in servers], run.rounds, report=run.say)
    return [
        figure for change, loads in zip(CHANGES, others, strict=True) for figure in _compare(*change, loads, default)
    ]


def _compare(name: str, value: int | str, loads: list[Load], default: list[Load]) -> list[Figure]:
    case = f"MAEUM_{name.upper()}={value}"
    refused = sum(load.failures for load in loads)
    return [
        ratio(f"{case}: clips a second", [x.per_s for x in loads], [x.per_s for x in default], "/s"),
        ratio(f"{case}: p50", [x.ms(50) for x in loads], [x.ms(50) for x in default], "ms", better="lower"),
        ratio(f"{case}: p99", [x.ms(99) for x in loads], [x.ms(99) for x in default], "ms", better="lower"),
        *([Figure(f"{case}: requests without status 200", refused, "")] if refused else []),
    ]


SUITE = Suite("batching", "32 clients, one setting changed", "the defaults", run, rounds=2)
"""All defaults: 16 windows of speech, of 30 s each, 256 sentences, 64 windows of voice, no deadline."""
