"""The three model runners: BentoML in, engine, BentoML out."""

from runners.base import dispatch_to_every_thread, keep_media_types, trace_only_for_an_exporter
from runners.speech import SpeechRunner
from runners.text import TextRunner
from runners.voice import VoiceRunner

dispatch_to_every_thread()
trace_only_for_an_exporter()
for _runner in (SpeechRunner, TextRunner, VoiceRunner):
    keep_media_types(_runner)

__all__ = ["SpeechRunner", "TextRunner", "VoiceRunner"]
