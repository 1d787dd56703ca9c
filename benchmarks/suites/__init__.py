"""All suites, in the order in which they run."""

from benchmarks.suite import Suite
from benchmarks.suites import bursts, efficiency, long, overhead, peers, served, speech, start, tail, text, voice

_MODULES = (text, voice, speech, served, overhead, efficiency, bursts, tail, long, start, peers)
SUITES: dict[str, Suite] = {module.SUITE.name: module.SUITE for module in _MODULES}
