"""All suites, in the order in which they run."""

from benchmarks.suite import Suite
from benchmarks.suites import (
    batching,
    bursts,
    efficiency,
    long,
    overhead,
    pauses,
    peers,
    served,
    soak,
    speech,
    start,
    tail,
    text,
    voice,
)

_MODULES = (text, voice, speech, served, overhead, efficiency, bursts, tail, soak, long, start, peers, batching, pauses)
SUITES: dict[str, Suite] = {module.SUITE.name: module.SUITE for module in _MODULES}
