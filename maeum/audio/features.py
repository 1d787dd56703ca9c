"""Voice features: MFCCs relative to the neutral voice of a gender or of one speaker."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.audio.decoding import Waveform
from maeum.audio.mfcc import HOP_LENGTH, N_MFCC, mfcc
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.errors import InvalidField, ModelInvalid, ModelMissing

N_FRAMES = 100
"""Frames per window: 3.2 s at 16 kHz with a hop of 512 samples."""
_EPSILON = 1e-8  # the original's guard against a deviation of 0
_WINDOW_S = N_FRAMES * HOP_LENGTH / SAMPLE_RATE_HZ
_MAX_COEFFICIENT = 10_000.0  # MFCCs of full-scale audio stay under 2,000
_MIN_DEVIATION = 0.01


class Gender(StrEnum):
    """Which baseline normalises the voice."""

    MALE = "MALE"
    FEMALE = "FEMALE"

    @classmethod
    def parse(cls, value: str) -> Gender:
        """Read `MALE` or `FEMALE` in any case.

        Raises:
            InvalidField: anything else (code `invalid_gender`).
        """
        try:
            return cls(value.strip().upper())
        except ValueError:
            raise InvalidField("gender must be MALE or FEMALE", code="invalid_gender") from None


class VoicePooling(StrEnum):
    """Which part of a recording the voice network hears."""

    FIRST = "first"
    WINDOWS = "windows"

    @classmethod
    def parse(cls, value: str) -> VoicePooling:
        """Read `first` or `windows` in any case.

        Raises:
            InvalidField: anything else (code `invalid_voice_pooling`).
        """
        try:
            return cls(value.strip().lower())
        except ValueError:
            raise InvalidField("voice_pooling must be first or windows", code="invalid_voice_pooling") from None


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Means and deviations of the 13 MFCCs of neutral speech, each float32, shape (13,)."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @classmethod
    def of_clips(cls, waveforms: Sequence[Waveform], usual: Baseline) -> Baseline:
        """A speaker's own baseline: mean and deviation, over clips, of each clip's mean MFCC vector.

        Clips of one speaker differ less than those of several, which the deviations of a gender come from and which the
        voice network has learned with: by smaller ones everything would seem extreme.

        Args:
            waveforms: the clips, of speech alone.
            usual: of the gender; no deviation is less than its.

        Raises:
            ValueError: fewer than two clips.
        """
        if len(waveforms) < 2:
            raise ValueError("a baseline takes at least two clips")
        means = np.stack([mfcc(waveform).mean(axis=0) for waveform in waveforms])
        return cls(means.mean(axis=0, dtype=np.float32), np.maximum(means.std(axis=0, dtype=np.float32), usual.std))

    @classmethod
    def parse(cls, text: str) -> Baseline:
        """Read `{"mean": [13 numbers], "std": [13 numbers]}`, as `to_json` writes it; other keys and a BOM are ignored.

        Raises:
            InvalidField: it is not that, or a number is out of bounds (code `invalid_baseline`).
        """
        try:
            values = json.loads(text.removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise _invalid_baseline("must be a JSON object with mean and std")
        rows = [values.get("mean"), values.get("std")]
        if not all(isinstance(row, list) and len(row) == N_MFCC and all(map(_is_coefficient, row)) for row in rows):
            raise _invalid_baseline(f"needs {N_MFCC} numbers of at most {_MAX_COEFFICIENT:.0f} in mean and in std")
        mean, std = np.array(rows, np.float32)
        if std.min() < _MIN_DEVIATION:
            raise _invalid_baseline(f"must not have a deviation under {_MIN_DEVIATION}")
        return cls(mean, std)

    def to_json(self) -> str:
        """The text that `parse` reads."""
        values = {"mean": self.mean.astype(float).round(4).tolist(), "std": self.std.astype(float).round(4).tolist()}
        return json.dumps(values)


def _is_coefficient(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= _MAX_COEFFICIENT and math.isfinite(value)  # type: ignore[arg-type]


def _invalid_baseline(what: str) -> InvalidField:
    return InvalidField(f"baseline {what}", code="invalid_baseline")


@dataclass(frozen=True, slots=True)
class Baselines:
    """One baseline for each gender, as a voice model brings them."""

    male: Baseline
    female: Baseline

    @classmethod
    def load(cls, folder: Path) -> Baselines:
        """Read `baseline_{mean,std}_{male,female}.npy` of a voice model.

        Raises:
            ModelMissing: a file is not there.
            ModelInvalid: a file is no array of 13 finite numbers, or a deviation is negative.
        """
        return cls(
            **{
                gender.lower(): Baseline(
                    *(_read_13(folder / f"baseline_{kind}_{gender.lower()}.npy") for kind in ("mean", "std"))
                )
                for gender in Gender
            }
        )

    def of(self, gender: Gender) -> Baseline:
        """The baseline of a gender."""
        return self.male if gender is Gender.MALE else self.female


def voice_deltas(waveform: Waveform, baseline: Baseline, pooling: VoicePooling) -> NDArray[np.float32]:
    """The voice network's inputs for one clip, not yet transposed.

    Returns:
        float32, shape (n, 100, 13): windows of 3.2 s of MFCCs one after the other, as deviations from the baseline. The
        first is zero-padded if need be; a rest of less than half a window is left out. With `first` pooling n is 1.
    """
    if pooling is VoicePooling.FIRST:
        n, frames = 1, mfcc(waveform, N_FRAMES)
    else:
        frames = mfcc(waveform)
        n = max(1, (len(frames) + N_FRAMES // 2) // N_FRAMES)
    padded = np.zeros((n * N_FRAMES, N_MFCC), np.float32)
    padded[: len(frames)] = frames[: len(padded)]
    deltas: NDArray[np.float32] = (padded - baseline.mean) / (baseline.std + np.float32(_EPSILON))
    return deltas.reshape(n, N_FRAMES, N_MFCC)


def windows_with_speech(n: int, spans: Sequence[tuple[float, float]]) -> list[int]:
    """Which of `n` windows hold speech for at least half of their 3.2 s; if none does, the one that holds most.

    Args:
        n: number of windows, at least 1.
        spans: where there is speech, (start, end) in seconds.
    """
    seconds = [
        sum(max(0.0, min(end, (k + 1) * _WINDOW_S) - max(start, k * _WINDOW_S)) for start, end in spans)
        for k in range(n)
    ]
    held = [k for k in range(n) if seconds[k] >= _WINDOW_S / 2]
    return held or [int(np.argmax(seconds))]


def _read_13(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise ModelMissing(f"the voice model has no {path.name}")
    try:
        with path.open("rb") as stream:  # np.load would open a zip of arrays too
            stored: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise ModelInvalid(f"{path.name} of the voice model is no array of numbers") from error
    if stored.dtype.kind not in "fiu":
        raise ModelInvalid(f"{path.name} of the voice model is no array of numbers")
    with np.errstate(over="ignore"):  # what overflows is refused below
        values: NDArray[np.float32] = stored.astype(np.float32).reshape(-1)
    if values.shape != (N_MFCC,) or not np.isfinite(values).all():
        raise ModelInvalid(f"{path.name} of the voice model must hold {N_MFCC} finite numbers")
    if "std" in path.name and (values < 0).any():
        raise ModelInvalid(f"{path.name} of the voice model must not hold a negative deviation")
    return values
