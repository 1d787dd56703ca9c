"""Memory as the operating system sees it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import Clip

# Prints the pages that the kernel had to give for a second batch, and whether both batches heard the same.
_SECOND_BATCH = """
import resource, sys
from maeum.assembly import load_speech
from maeum.audio.decoding import decode
from maeum.process.memory import keep_freed_memory
from maeum.settings import Settings
from maeum.stages import SpeechItem

items = [SpeechItem(decode(open(path, "rb").read()).to_pcm16(), "ko") for path in sys.argv[1:]]
keep_freed_memory()
engine = load_speech(Settings())
engine.transcribe(items)
first = engine.transcribe(items)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
second = engine.transcribe(items)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, first == second)
"""


def test_a_batch_works_in_the_memory_of_the_one_before(clips: list[Clip]) -> None:
    paths = [str(clip.path) for clip in clips[:4]]
    done = subprocess.run([sys.executable, "-c", _SECOND_BATCH, *paths], capture_output=True, text=True, check=True)
    pages, same = done.stdout.split()
    assert same == "True"
    # Memory that goes back to the kernel in between costs sixty thousand pages for each clip; some thousand are threads
    # that meet in another order.
    assert int(pages) < 60_000


# Prints how many bytes the process still holds of what it has freed, of a recording of ten minutes.
_FREED = """
import io, sys
from concurrent.futures import ThreadPoolExecutor
import numpy, psutil, soundfile
from maeum.audio.decoding import decode
from maeum.process.memory import give_back_large_memory

if sys.argv[1] == "give back":
    give_back_large_memory()
stream = io.BytesIO()
soundfile.write(stream, numpy.zeros(600 * 16_000, numpy.float32), 16_000, format="WAV", subtype="PCM_16")
recording = stream.getvalue()
before = psutil.Process().memory_info().rss
with ThreadPoolExecutor(1) as pool:
    for _ in range(4):
        upload = bytes(bytearray(recording))
        waveform = pool.submit(decode, upload).result()
        pcm16 = pool.submit(waveform.to_pcm16).result()
        del upload, waveform, pcm16
print(psutil.Process().memory_info().rss - before)
"""


def test_the_memory_of_a_long_recording_goes_back_when_it_is_freed() -> None:
    def held(mode: str) -> int:
        command = [sys.executable, "-c", _FREED, mode]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert held("give back") < 16 << 20
    assert held("as it is") > 24 << 20  # else the C library has learned better, and this can go


# Prints how many objects a full collection looks at before and after, and how many cycles made since then it finds.
_COLLECTION = """
import gc
from maeum.process.memory import loading

with loading():
    import torch
    before = len(gc.get_objects())
after = len(gc.get_objects())
for _ in range(100):
    cycle = []
    cycle.append(cycle)
del cycle
print(before, after, gc.collect(), gc.isenabled())
"""


def test_the_garbage_collector_leaves_what_is_loaded_alone_and_finds_what_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", _COLLECTION], capture_output=True, text=True, check=True)
    before, after, found = map(int, done.stdout.split()[:3])
    assert done.stdout.split()[3] == "True"
    assert before > 50_000
    assert after < 1_000
    assert found >= 100
