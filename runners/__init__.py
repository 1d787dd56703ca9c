"""The three model runners: BentoML in, engine, BentoML out."""

from runners import bentoml_patches
from runners.speech import SpeechRunner
from runners.text import TextRunner
from runners.voice import VoiceRunner

bentoml_patches.apply((SpeechRunner, TextRunner, VoiceRunner))

__all__ = ["SpeechRunner", "TextRunner", "VoiceRunner"]
