"""All suites, in the order in which they run."""

from benchmarks.suite import Suite
from benchmarks.suites import (
    batching,
    bursts,
    efficiency,
    long,
    overhead,
    peers,
    served,
    speech,
    start,
    tail,
    text,
    voice,
)

_MODULES = (text, voice, speech, served, overhead, efficiency, bursts, tail, long, start, peers, batching)
SUITES: dict[str, Suite] = {module.SUITE.name: module.SUITE for module in _MODULES}
