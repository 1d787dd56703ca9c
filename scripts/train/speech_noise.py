"""Sounds without speech: noise of several colours, hum, and synthetic music."""

import random

import numpy as np
from numpy.typing import NDArray
from speech_voice import SAMPLE_RATE_HZ

Wave = NDArray[np.float32]
BANK_S = 20.0
KINDS = ("white", "pink", "brown", "band", "hum", "chords", "melody", "drums", "song", "beeps")


def coloured(rng: np.random.Generator, length: int, slope: float, low_hz: float = 0.0, high_hz: float = 8000.0) -> Wave:
    """Noise whose power falls as frequency to the ``-slope``, between two frequencies; peak 1."""
    spectrum = rng.standard_normal(length // 2 + 1) + 1j * rng.standard_normal(length // 2 + 1)
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    spectrum *= np.maximum(hertz, 20.0) ** (-slope / 2) * ((hertz >= low_hz) & (hertz <= high_hz))
    return _unit(np.fft.irfft(spectrum, length))


def _unit(wave: NDArray[np.floating]) -> Wave:
    return np.asarray(wave / (np.abs(wave).max() + 1e-9), np.float32)


def _tone(rng: np.random.Generator, hertz: float, length: int, timbre: float) -> NDArray[np.float64]:
    """A plucked or held note: harmonics that fall off, an attack and a decay."""
    times = np.arange(length) / SAMPLE_RATE_HZ
    wave = np.zeros(length)
    for harmonic in range(1, 9):
        if hertz * harmonic < 7500:
            wave += np.sin(2 * np.pi * hertz * harmonic * times + rng.uniform(0, 6.3)) / harmonic**timbre
    envelope = np.minimum(times / rng.uniform(0.005, 0.05), 1) * np.exp(-times * rng.uniform(0.3, 6))
    release = np.minimum((length - np.arange(length)) / 200, 1)
    return np.asarray(wave * envelope * release, np.float64)


def _notes(rng: np.random.Generator, length: int, chords: bool) -> Wave:
    wave = np.zeros(length)
    beat = int(rng.uniform(0.12, 0.9) * SAMPLE_RATE_HZ)
    root = 110 * 2 ** rng.uniform(0, 2)
    scale = np.array([0, 2, 4, 5, 7, 9, 11] if rng.random() < 0.5 else [0, 2, 3, 5, 7, 8, 10])
    timbre = rng.uniform(0.7, 2.5)
    for start in range(0, length - 200, beat):
        degree = int(rng.integers(0, 7))
        steps = (degree, degree + 2, degree + 4) if chords else (degree,)
        span = min(length - start, int(beat * rng.uniform(0.8, 2.0)))
        for step in steps:
            hertz = root * 2 ** ((scale[step % 7] + 12 * (step // 7)) / 12)
            wave[start : start + span] += _tone(rng, hertz, span, timbre)
    return _unit(wave)


def _drums(rng: np.random.Generator, length: int) -> Wave:
    wave = np.zeros(length)
    beat = int(rng.uniform(0.12, 0.5) * SAMPLE_RATE_HZ)
    for index, start in enumerate(range(0, length - 4000, beat)):
        times = np.arange(4000) / SAMPLE_RATE_HZ
        if index % 4 == 0:
            hit = np.sin(2 * np.pi * (50 * times + 8 * (1 - np.exp(-times * 30)))) * np.exp(-times * 20)
        elif index % 4 == 2:
            hit = coloured(rng, 4000, 0.5, 300).astype(np.float64) * np.exp(-times * 25)
        else:
            hit = 0.4 * coloured(rng, 4000, 0.0, 4000).astype(np.float64) * np.exp(-times * 60)
        wave[start : start + 4000] += hit * rng.uniform(0.5, 1)
    return _unit(wave)


def sound(kind: str, rng: np.random.Generator, length: int) -> Wave:
    """One sound without speech, peak 1.

    Args:
        kind: one of ``KINDS``.
        rng: source of randomness.
        length: samples at 16 kHz.
    """
    times = np.arange(length) / SAMPLE_RATE_HZ
    if kind in ("white", "pink", "brown"):
        return coloured(rng, length, {"white": 0.0, "pink": 1.0, "brown": 2.0}[kind])
    if kind == "band":
        low = rng.uniform(50, 3000)
        return coloured(rng, length, rng.uniform(0, 2), low, low * rng.uniform(1.5, 6))
    if kind == "hum":
        mains = rng.choice([50.0, 60.0])
        wave = sum(rng.uniform(0, 1) * np.sin(2 * np.pi * mains * k * times + rng.uniform(0, 6)) for k in range(1, 12))
        return _unit(np.asarray(wave) + rng.uniform(0, 0.3) * coloured(rng, length, 1.0))
    if kind == "beeps":
        gate = np.sin(2 * np.pi * rng.uniform(0.5, 4) * times) > rng.uniform(-0.5, 0.8)
        return _unit(np.sin(2 * np.pi * rng.uniform(200, 3000) * times) * gate)
    if kind == "song":
        return _unit(
            _notes(rng, length, True) + 0.7 * _notes(rng, length, False) + rng.uniform(0, 1) * _drums(rng, length)
        )
    return _drums(rng, length) if kind == "drums" else _notes(rng, length, kind == "chords")


class NoiseBank:
    """Sounds made once, of which random stretches are drawn."""

    def __init__(self, seed: int, per_kind: int = 8) -> None:
        """Make ``per_kind`` sounds of each kind."""
        rng = np.random.default_rng(seed)
        length = int(BANK_S * SAMPLE_RATE_HZ)
        self._sounds = [sound(kind, rng, length) for kind in KINDS for _ in range(per_kind)]

    def draw(self, length: int, rng: random.Random) -> Wave:
        """A stretch of ``length`` samples, repeated where the sound is shorter; two sounds one time in five."""
        wave = self._stretch(length, rng)
        if rng.random() < 0.2:
            wave = wave + self._stretch(length, rng) * np.float32(rng.uniform(0.1, 1.0))
        return wave

    def _stretch(self, length: int, rng: random.Random) -> Wave:
        source = rng.choice(self._sounds)
        return np.resize(np.roll(source, -rng.randrange(len(source))), length)
