"""EmoDB clips as MFCCs: reading them, the neutral baselines, windows."""

from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

Floats = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
GENDERS = ("male", "female")
MEN = frozenset({"03", "10", "12", "15"})
LABELS = ("ANGRY", "SAD", "DISGUST", "HAPPY", "FEAR", "SURPRISE")
"""The order of `labels.json`. EmoDB has no surprise: that label is only ever a smoothed target."""
TRAINED = (*LABELS, "NEUTRAL", "BOREDOM")
"""What the network learns to tell apart; the outputs of the last two are cut off afterwards."""
LETTERS = {"W": "ANGRY", "T": "SAD", "E": "DISGUST", "F": "HAPPY", "A": "FEAR", "N": "NEUTRAL", "L": "BOREDOM"}
NEUTRAL = TRAINED.index("NEUTRAL")
N_HEARD = 5
"""Emotions of `LABELS` that EmoDB has: the first five."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One recording.

    Attributes:
        speaker: two digits.
        label: index into `TRAINED`.
        mfccs: float32, shape (n_frames, 13).
    """

    speaker: str
    label: int
    mfccs: Floats

    @property
    def gender(self) -> str:
        """`male` or `female`, of the speaker."""
        return "male" if self.speaker in MEN else "female"


def mfcc(samples: Floats) -> Floats:
    """MFCCs with librosa's defaults, which is what inference computes.

    Args:
        samples: float32, shape (n_samples,), at 16 kHz.

    Returns:
        float32, shape (n_frames, 13).
    """
    coefficients = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE_HZ, n_mfcc=13)
    return np.ascontiguousarray(coefficients.T, dtype=np.float32)


def read_clip(path: Path) -> Clip:
    """Read one EmoDB file, e.g. `03a01Fa.flac`: speaker 03, text a01, emotion F."""
    samples, rate_hz = soundfile.read(path, dtype="float32")
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{path.name}: {rate_hz} Hz, expected {SAMPLE_RATE_HZ}")
    return Clip(path.stem[:2], TRAINED.index(LETTERS[path.stem[5]]), mfcc(samples))


def read_clips(folder: Path) -> list[Clip]:
    """Read all of EmoDB in the order of the files' names."""
    paths = sorted(folder.glob("*.flac"))
    if not paths:
        raise FileNotFoundError(f"no EmoDB clips (*.flac) in {folder}")
    return [read_clip(path) for path in tqdm(paths, desc="features", unit="clip")]


def baselines(clips: list[Clip]) -> dict[str, tuple[Floats, Floats]]:
    """Mean and standard deviation, over neutral clips, of each clip's mean MFCC vector.

    Args:
        clips: clips of at least two neutral recordings per gender.

    Returns:
        By gender: two float32 arrays, each shape (13,).
    """
    found = {}
    for gender in GENDERS:
        means = np.stack([c.mfccs.mean(axis=0) for c in clips if c.label == NEUTRAL and c.gender == gender])
        found[gender] = (means.mean(axis=0, dtype=np.float32), means.std(axis=0, dtype=np.float32))
    return found


def fit(frames: Floats, n_frames: int) -> Floats:
    """Cut at, or zero-pad to, `n_frames`: (any, 13) to (n_frames, 13)."""
    window = np.zeros((n_frames, frames.shape[1]), dtype=np.float32)
    window[: len(frames)] = frames[:n_frames]
    return window
