"""Windows of people speaking, whatever they say and in whatever language: EmoDB's recordings."""

import random
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from speech_noise import NoiseBank
from speech_voice import SAMPLE_RATE_HZ
from speech_windows import harden, log_mel
from torch import Tensor

WINDOW_S = 4.0
HARDNESS = 0.7


class People:
    """Recordings of people at 16 kHz, drawn at random and made harder.

    Args:
        folder: of FLAC files.
        bank: noise.
    """

    def __init__(self, folder: Path, bank: NoiseBank) -> None:
        self._clips = [soundfile.read(path, dtype="float32")[0] for path in sorted(folder.glob("*.flac"))]
        self._bank = bank

    def batch(self, rng: random.Random, size: int = 1) -> Tensor:
        """Log-mel windows of 4 s, shape (size, 80, 404), the last four frames of which are padding."""
        draw = np.random.default_rng(rng.randrange(2**32))
        length = round(WINDOW_S * SAMPLE_RATE_HZ)
        mel = torch.zeros(size, 80, round(WINDOW_S * 100) + 4)
        for row in mel:
            parts = [self._pause(rng, 0.0, 0.5)]
            while sum(map(len, parts)) < length:
                rate = SAMPLE_RATE_HZ * rng.uniform(0.8, 1.25)  # another size of head, another pace
                parts += [soxr.resample(rng.choice(self._clips), rate, SAMPLE_RATE_HZ, quality="MQ")]
                parts += [self._pause(rng, 0.1, 0.8)]
            wave = np.concatenate(parts)
            first = rng.randrange(max(1, len(wave) - length))
            row[:, :-4] = log_mel(harden(wave[first : first + length], self._bank, HARDNESS, rng, draw))
        return mel

    @staticmethod
    def _pause(rng: random.Random, least_s: float, most_s: float) -> np.ndarray:
        return np.zeros(round(rng.uniform(least_s, most_s) * SAMPLE_RATE_HZ), np.float32)
