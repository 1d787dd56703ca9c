"""Korean speech from espeak-ng's library: PCM with the time of each syllable, in shards on disk.

The library is used rather than the program because only the library reports when each word begins.
"""

import ctypes
import itertools
import json
import multiprocessing
import os
import random
import re
import subprocess
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16000
SHARD_SENTENCES = 500
MAX_CRASHES = 100
LEFT_OUT_VARIANTS = ("f4", "m6", "Andrea", "steph")
# The plain voices are the ones people ask for, so they are heard more often than their share.
COMMON_VARIANTS = ("", "", "", "m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f5")

_RETRIEVAL, _CHARS_UTF8, _POSITION_CHARACTER = 1, 1, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_EVENT_WORD = 1


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """One spoken sentence.

    Attributes:
        text: what is said.
        pcm: int16, mono, 16 kHz, without silence at the ends.
        starts_s: when each character of the text begins, then the end, ``len(text) + 1`` times in seconds.
    """

    text: str
    pcm: NDArray[np.int16]
    starts_s: list[float]

    @property
    def duration_s(self) -> float:
        """Length of the speech in seconds."""
        return len(self.pcm) / SAMPLE_RATE_HZ

    def until(self, end_s: float) -> "Utterance":
        """What is heard of it when the recording stops in between: letters of which half is heard, no full stop."""
        heard = sum((start + end) / 2 <= end_s for start, end in itertools.pairwise(self.starts_s))
        text = self.text[:heard].rstrip(" ,.?!")
        return Utterance(text, self.pcm[: round(end_s * SAMPLE_RATE_HZ)], [*self.starts_s[: len(text)], end_s])


class Espeak:
    """espeak-ng in this process; it holds global state, so one a process."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            OSError: libespeak-ng is not installed.
        """
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self.sample_rate_hz = int(self._library.espeak_Initialize(_RETRIEVAL, 0, None, 0))
        self._pcm: list[bytes] = []
        self._words: list[tuple[int, float]] = []
        self._voice = ""
        self._callback = _CALLBACK(self._receive)  # kept: the library holds no reference of its own
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, wav: int | None, n_samples: int, events: "ctypes._Pointer[_Event]") -> int:
        if wav and n_samples:
            self._pcm.append(ctypes.string_at(wav, 2 * n_samples))
        index = 0
        while events[index].type:
            event = events[index]
            if event.type == _EVENT_WORD:
                self._words.append((event.text_position - 1, event.sample / self.sample_rate_hz))
            index += 1
        return 0

    def say(
        self, text: str, variant: str = "", rate_wpm: int = 175, pitch: int = 50, pitch_range: int = 50
    ) -> tuple[NDArray[np.int16], list[tuple[int, float]]]:
        """Speak a text in Korean.

        Args:
            text: Hangul with punctuation.
            variant: espeak-ng voice variant, empty for the plain voice.
            rate_wpm: words a minute.
            pitch: 0 to 100.
            pitch_range: 0 (monotone) to 100.

        Returns:
            PCM at ``sample_rate_hz``, and (character index, time in seconds) of the words that were reported;
            the library leaves some words out.
        """
        self._pcm.clear()
        self._words.clear()
        voice = f"ko+{variant}" if variant else "ko"
        if voice != self._voice:
            if self._library.espeak_SetVoiceByName(voice.encode()):
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            self._voice = voice
        for parameter, value in ((_RATE, rate_wpm), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.frombuffer(b"".join(self._pcm), np.int16), sorted(set(self._words))


def all_variants() -> list[str]:
    """Voice variants that espeak-ng knows, except the left-out ones and one that only tests speed."""
    table = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"!v/(\S+)", table)
    # "Mr serious" has a space in its file name, which the table cuts.
    return sorted(name for name in names if name not in (*LEFT_OUT_VARIANTS, "fast", "Mr"))


def character_times(text: str, words: list[tuple[int, float]], end_s: float) -> list[float]:
    """When each character begins, from the words that espeak-ng reported.

    Between two reports time is spread evenly over the syllables; a comma counts as a pause of two.
    """
    weights = [1.0 if "가" <= char <= "힣" else 2.0 if char == "," else 0.0 for char in text]
    total = [0.0]
    for weight in weights:
        total.append(total[-1] + weight)
    anchors = [(0, 0.0)] + [(index, time) for index, time in words if 0 < index < len(text)] + [(len(text), end_s)]
    anchors = [a for i, a in enumerate(anchors) if i == 0 or a[1] > anchors[i - 1][1] or a[0] == len(text)]
    indices = [index for index, _ in anchors]
    times = []
    for index in range(len(text) + 1):
        left = min(bisect_right(indices, index), len(anchors) - 1) - 1
        (i0, t0), (i1, t1) = anchors[left], anchors[left + 1]
        span = total[i1] - total[i0]
        times.append(t0 + (t1 - t0) * ((total[index] - total[i0]) / span if span else 0.0))
    return [min(time, end_s) for time in times]


def speak(engine: Espeak, text: str, rng: random.Random, variants: list[str]) -> Utterance | None:
    """One sentence in a random voice, speed and pitch; None if nothing is heard or it lasts over 12 s."""
    variant = rng.choice(COMMON_VARIANTS) if rng.random() < 0.6 else rng.choice(variants)
    plain = rng.random() < 0.3
    rate = 175 if plain else rng.randint(130, 215)
    pitch, pitch_range = (50, 50) if plain else (rng.randint(20, 80), rng.randint(20, 80))
    pcm, words = engine.say(text, variant, rate, pitch, pitch_range)
    speed = 1.0 if plain else rng.uniform(0.9, 1.1)  # resampled: shifts the formants as another head would
    wave = soxr.resample(pcm.astype(np.float32), engine.sample_rate_hz * speed, SAMPLE_RATE_HZ, quality="MQ")
    found = trim(wave, 0.005, 300.0)
    if found is None:
        return None
    scaled, first = found
    offset_s, end_s = first / SAMPLE_RATE_HZ, len(scaled) / SAMPLE_RATE_HZ
    heard = [(index, max(0.0, time / speed - offset_s)) for index, time in words]
    return Utterance(text, scaled, character_times(text, heard, end_s))


def trim(wave: NDArray[np.float32], floor: float, least_peak: float) -> tuple[NDArray[np.int16], int] | None:
    """Speech at one loudness without the silence at its ends, and the sample where it began.

    Args:
        wave: any scale.
        floor: share of the peak under which the ends are silent.
        least_peak: under which nothing is heard.

    Returns:
        None if nothing is heard, or for more than 12 s.
    """
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    if not np.isfinite(peak) or peak < least_peak:
        return None
    loud = np.flatnonzero(np.abs(wave) > floor * peak)
    first, last = max(0, int(loud[0]) - 160), min(len(wave), int(loud[-1]) + 320)
    if last - first > 12 * SAMPLE_RATE_HZ:
        return None
    return np.clip(wave[first:last] * (24000 / peak), -32767, 32767).astype(np.int16), first


def write_shard(stem: Path, utterances: Sequence[Utterance]) -> None:
    """Write `stem`.pcm (int16) and then `stem`.json (text, samples, character times)."""
    np.concatenate([one.pcm for one in utterances]).tofile(stem.with_suffix(".pcm"))
    meta = [[one.text, len(one.pcm), [round(time, 3) for time in one.starts_s]] for one in utterances]
    stem.with_suffix(".tmp").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
    stem.with_suffix(".tmp").rename(stem.with_suffix(".json"))  # last, so that a shard is seen only when complete


def speak_shard(index: int, sentences: list[str], seed: str, folder: Path, variants: list[str], engine: Espeak) -> None:
    """Write shard ``index``."""
    rng = random.Random(seed)
    some = (
        sentences[position % len(sentences)]
        for position in range(index * SHARD_SENTENCES, (index + 1) * SHARD_SENTENCES)
    )
    spoken = [utterance for text in some if (utterance := speak(engine, text, rng, variants)) is not None]
    write_shard(folder / f"{index:05d}", spoken)


def speak_shards(sentences: list[str], seed: int, folder: Path, n_shards: int, attempt: int = 0) -> None:
    """Write every missing shard; shards differ by voice, and so do attempts."""
    os.nice(2)  # training goes first
    folder.mkdir(parents=True, exist_ok=True)
    engine, variants = Espeak(), all_variants()
    for index in range(n_shards):
        if not (folder / f"{index:05d}.json").exists():
            draw = f"{seed}-{index}" if not attempt else f"{seed}-{index}-{attempt}"
            speak_shard(index, sentences, draw, folder, variants, engine)


class Speaking(threading.Thread):
    """Speaks all sentences beside the training, once each; shards that exist are kept.

    espeak-ng crashes on rare combinations of voice, pitch and words: a new process then draws other voices.
    """

    def __init__(self, sentences: list[str], seed: int, folder: Path) -> None:
        """Set up; `start` starts."""
        super().__init__(daemon=True)
        self._arguments = (sentences, seed, folder, -(-len(sentences) // SHARD_SENTENCES))
        self._stopped = False
        self._process: multiprocessing.Process | None = None

    def run(self) -> None:
        """Speak until every shard is there."""
        for attempt in range(MAX_CRASHES):
            if self._stopped:
                return
            self._process = multiprocessing.Process(target=speak_shards, args=(*self._arguments, attempt), daemon=True)
            self._process.start()
            self._process.join()
            if self._process.exitcode == 0:
                return

    def stop(self) -> None:
        """End at once."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()


class Pool:
    """Utterances of all shards written so far, memory-mapped.

    Args:
        folders: where shards are written.
        shares: how often an utterance of each folder is drawn.
    """

    def __init__(self, folders: Sequence[Path], shares: Sequence[float] = (1.0,)) -> None:
        self._shares = shares
        self._folders: list[tuple[Path, set[str], list[tuple[str, NDArray[np.int16], list[float]]]]]
        self._folders = [(folder, set(), []) for folder in folders]

    def refresh(self) -> int:
        """Take in new shards; returns how many utterances there are."""
        for folder, seen, items in self._folders:
            for path in sorted(folder.glob("*.json")):
                if path.name not in seen:
                    seen.add(path.name)
                    pcm = np.memmap(path.with_suffix(".pcm"), np.int16, "r")
                    items.extend(_split(json.loads(path.read_text(encoding="utf-8")), pcm))
        return sum(len(items) for _, _, items in self._folders)

    @property
    def ready(self) -> bool:
        """Whether there is something in every folder."""
        return all(items for _, _, items in self._folders)

    def take_out(self, count: int) -> list[Utterance]:
        """The last utterances of the last folder, which are not drawn any more; call `refresh` before, not after."""
        (_, _, items) = self._folders[-1]
        taken = [Utterance(*one) for one in items[-count:]]
        del items[-count:]
        return taken

    def draw(self, rng: random.Random) -> Utterance:
        """A random utterance."""
        (_, _, items) = rng.choices(self._folders, self._shares)[0]
        return Utterance(*rng.choice(items))


def _split(
    meta: list[tuple[str, int, list[float]]], pcm: NDArray[np.int16]
) -> Iterator[tuple[str, NDArray[np.int16], list[float]]]:
    start = 0
    for text, n_samples, times in meta:
        yield text, pcm[start : start + n_samples], times
        start += n_samples
