"""Recordings and sentences, every one different from every other: espeak-ng reads numbered diary entries."""

from __future__ import annotations

import io
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

_ESPEAK_RATE_HZ = 22_050
_VOICES = ("ko", "ko+f1", "ko+f2", "ko+f3", "ko+f4", "ko+m1", "ko+m2", "ko+m3", "ko+m5")
_WHEN = (
    "오늘은",
    "어제저녁에",
    "아침에",
    "점심을 먹고 나서",
    "퇴근하는 길에",
    "주말 오후에",
    "자기 전에",
    "비 오는 날에",
)
_WHO = ("친구가", "동생이", "엄마가", "회사 선배가", "옆집 아이가", "선생님이", "사촌 형이", "오래된 단짝이")
_WHAT = (
    "먼저 사과해서 마음이 놓였다",
    "아무 말도 없이 가 버려서 서운했다",
    "칭찬을 해 줘서 하루 종일 기분이 좋았다",
    "약속을 잊어버려서 화가 났다",
    "많이 아프다는 소식을 듣고 걱정이 돼서 잠을 이루지 못했다",
    "사람들 앞에서 내 이름을 잘못 불러서 당황했다",
    "웃었다",
    "보고 싶어서 눈물이 났다",
)
_WHY = (
    "",
    "생각해 보면 별일이 아닌데도",
    "요즘 내가 예민해서 그런지는 몰라도",
    "회의가 세 번이나 미뤄진 데다 비까지 내려서 다들 지쳐 있었는데",
)


def _statement(rng: random.Random) -> str:
    parts = [rng.choice(_WHEN), rng.choice(_WHY), rng.choice(_WHO), rng.choice(_WHAT)]
    if rng.random() < 0.3:
        parts = parts[-1:]
    elif rng.random() < 0.2:
        parts += ["그래서", rng.choice(_WHEN), rng.choice(_WHO), "다시 와서", rng.choice(_WHAT)]
    return " ".join(part for part in parts if part)


def sentence(number: int) -> str:
    """Sentence `number`, without its full stop; no two numbers give the same one, and lengths vary eightfold."""
    return f"{number}번째로 {_statement(random.Random(number))}"


def speech(number: int, duration_s: float) -> NDArray[np.float32]:
    """Recording `number`: float32 in [-1, 1], shape (22050 * duration_s,), cut at exactly that length.

    Raises:
        OSError: espeak-ng is not installed.
    """
    rng = random.Random(number)
    voice = ["-v", rng.choice(_VOICES), "-s", str(rng.randint(145, 175)), "-p", str(rng.randint(38, 60))]
    wanted = round(duration_s * _ESPEAK_RATE_HZ)
    parts: list[NDArray[np.float32]] = []
    text = f"{number}번째 일기. "
    while True:
        text += ". ".join(_statement(rng) for _ in range(8)) + "."
        spoken = subprocess.run(["espeak-ng", *voice, "--stdout", text], check=True, capture_output=True).stdout
        parts.append(soundfile.read(io.BytesIO(spoken), dtype="float32")[0])
        if sum(map(len, parts)) >= wanted:
            return np.concatenate(parts)[:wanted]
        text = ""


def wav(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    """A 16-bit WAV file of samples with shape (n,) or (n, channels)."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, format="WAV", subtype="PCM_16")
    return stream.getvalue()


@dataclass(slots=True)
class Clips:
    """Gives out recordings and never the same one twice in a run; what was spoken is kept in `folder`."""

    folder: Path
    _given: int = field(default=0, init=False)

    def take(self, count: int, duration_s: float = 10.0) -> list[bytes]:
        """`count` mono WAV files, 22.05 kHz (16 kHz past a minute), 16 bits."""
        first, self._given = self._given, self._given + count
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda number: self._spoken(number, duration_s), range(first, first + count)))

    def take_stereo(self, count: int, duration_s: float) -> list[bytes]:
        """`count` WAV files as a phone or a recorder writes them: 44.1 kHz, two channels that differ, 16 bits."""
        return [_as_stereo(data) for data in self.take(count, duration_s)]

    def sentences(self, count: int) -> list[str]:
        """`count` sentences of mixed length."""
        first, self._given = self._given, self._given + count
        return [sentence(number) for number in range(first, first + count)]

    def _spoken(self, number: int, duration_s: float) -> bytes:
        path = self.folder / f"{duration_s:g}s" / f"{number:05}.wav"
        if not path.exists():
            samples, rate_hz = speech(number, duration_s), _ESPEAK_RATE_HZ
            if duration_s > 60:  # ten minutes must fit into the upload limit
                samples, rate_hz = soxr.resample(samples, rate_hz, 16_000), 16_000
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".part")
            draft.write_bytes(wav(samples, rate_hz))
            draft.replace(path)
        return path.read_bytes()


def as_m4a(data: bytes) -> bytes:
    """A WAV file's sound as a phone records it: AAC in an MP4 container, mono, 44.1 kHz."""
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    sound = soxr.resample(samples, rate_hz, 44_100)
    stream = io.BytesIO()
    with av.open(stream, "w", format="ipod") as container:
        track = container.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None, :], format="fltp", layout="mono")
        frame.sample_rate = 44_100
        container.mux([*track.encode(frame), *track.encode(None)])
    return stream.getvalue()


def _as_stereo(data: bytes) -> bytes:
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    left = soxr.resample(samples, rate_hz, 44_100)
    right = 0.6 * np.concatenate([np.zeros(20, np.float32), left[:-20]])
    return wav(np.stack([left, right], axis=1), 44_100)
