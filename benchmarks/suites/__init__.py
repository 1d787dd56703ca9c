"""All suites, in the order in which they run."""

from benchmarks.suite import Suite
from benchmarks.suites import speech, text, voice

SUITES: dict[str, Suite] = {module.SUITE.name: module.SUITE for module in (text, voice, speech)}
