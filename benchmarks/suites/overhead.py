"""One client over HTTP against the same pipeline called in this process."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.clips import as_m4a
from benchmarks.load import closed_loop
from benchmarks.measure import SETTLE_S, Figure, alternate, difference
from benchmarks.server import maeum_server
from benchmarks.suite import Run, Suite
from maeum.local import build_local_pipeline
from maeum.process.cores import one_blas_thread
from maeum.process.memory import keep_freed_memory


def run(run: Run) -> list[Figure]:
    """Analyse clips in turn over HTTP, in this process, and over HTTP as m4a, one request each a round."""
    keep_freed_memory()  # as the speech runner does
    one_blas_thread()
    pipeline = build_local_pipeline(run.settings())
    options = pipeline.options(lang=min(pipeline.languages))
    with maeum_server(run) as server, asyncio.Runner() as runner:
        clip: list[bytes] = []

        def over_http(number: int) -> float:
            clip[:] = run.clips.take(1)
            time.sleep(SETTLE_S)
            return closed_loop(server.analyze_url, clip, 1).ms(50)

        def as_a_phone_records(number: int) -> float:
            compressed = [as_m4a(clip[0])]
            time.sleep(SETTLE_S)
            return closed_loop(server.analyze_url, compressed, 1).ms(50)

        def in_process(number: int) -> float:
            time.sleep(SETTLE_S)
            start = time.perf_counter()
            runner.run(pipeline.analyze(clip[0], options))
            return (time.perf_counter() - start) * 1000

        run.say(f"  {run.rounds} clips")
        contestants = [over_http, in_process, as_a_phone_records]
        a, b, phone = alternate(contestants, run.rounds, warm_up=3, report=lambda line: None)
    p50 = statistics.median(a) - statistics.median(b)
    return [
        Figure("p50 over HTTP less p50 in-process", p50, "ms", target=15.0, better="lower"),
        difference("median of the clips' own differences", a, b, "ms"),
        difference("the same clips over HTTP as m4a (AAC, 44.1 kHz, through FFmpeg), less as WAV", phone, a, "ms"),
    ]


SUITE = Suite("overhead", "one client over HTTP", "the in-process pipeline", run, rounds=60)
