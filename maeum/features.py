"""Voice features: MFCCs relative to the neutral voice of a gender."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from maeum.decoding import SAMPLE_RATE_HZ, Waveform
from maeum.errors import InvalidField, ModelInvalid, ModelMissing

N_MFCC = 13
N_FRAMES = 100
_EPSILON = 1e-8  # the original's guard against a deviation of 0


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


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Means and deviations of the 13 MFCCs of neutral speech, each float32, shape (13,)."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


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


def mfcc(waveform: Waveform) -> NDArray[np.float32]:
    """MFCCs with librosa's defaults at 16 kHz: 13 coefficients, 2048-point FFT, hop length 512, 128 mel bands.

    `power_to_db` cuts at 80 dB under the maximum of the whole clip, so a loud end changes the first frame.

    Returns:
        float32, shape (n_frames, 13), n_frames = 1 + n_samples // 512.
    """
    frames: NDArray[np.float32] = librosa.feature.mfcc(y=waveform.samples, sr=SAMPLE_RATE_HZ, n_mfcc=N_MFCC)
    return frames.T.astype(np.float32, copy=False)


def voice_delta(waveform: Waveform, baseline: Baseline) -> NDArray[np.float32]:
    """The voice network's input for one clip, not yet transposed.

    Returns:
        float32, shape (100, 13): the first 3.2 s of MFCCs, zero-padded, as deviations from the baseline.
    """
    frames = mfcc(waveform)[:N_FRAMES]
    padded = np.zeros((N_FRAMES, N_MFCC), np.float32)
    padded[: len(frames)] = frames
    delta: NDArray[np.float32] = (padded - baseline.mean) / (baseline.std + np.float32(_EPSILON))
    return delta


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
