"""The three model runners: BentoML in, engine, BentoML out."""

from runners.speech import SpeechRunner
from runners.text import TextRunner
from runners.voice import VoiceRunner

__all__ = ["SpeechRunner", "TextRunner", "VoiceRunner"]
