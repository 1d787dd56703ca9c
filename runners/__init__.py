"""The three model runners: BentoML in, engine, BentoML out."""

from runners.base import (
    ask_runners_ourselves,
    dispatch_to_every_thread,
    keep_media_types,
    keep_sockets_until_the_end,
    leave_deadlines_to_us,
    trace_only_for_an_exporter,
    write_no_traces_for_clients_errors,
)
from runners.speech import SpeechRunner
from runners.text import TextRunner
from runners.voice import VoiceRunner

keep_sockets_until_the_end()
leave_deadlines_to_us()
write_no_traces_for_clients_errors()
ask_runners_ourselves()
dispatch_to_every_thread()
trace_only_for_an_exporter()
for _runner in (SpeechRunner, TextRunner, VoiceRunner):
    keep_media_types(_runner)

__all__ = ["SpeechRunner", "TextRunner", "VoiceRunner"]
