"""The three model runners: BentoML in, engine, BentoML out."""

from runners.base import keep_media_types
from runners.speech import SpeechRunner
from runners.text import TextRunner
from runners.voice import VoiceRunner

for _runner in (SpeechRunner, TextRunner, VoiceRunner):
    keep_media_types(_runner)

__all__ = ["SpeechRunner", "TextRunner", "VoiceRunner"]
