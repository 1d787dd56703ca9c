"""EmoDB clips as MFCCs: reading, augmenting, the neutral baselines."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
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
    """One recording and its augmented copies.

    Attributes:
        speaker: two digits.
        label: index into `TRAINED`.
        mfccs: float32, each shape (n_frames, 13); the first is the recording as it is, the rest are augmented.
    """

    speaker: str
    label: int
    mfccs: list[Floats]

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


def augment(samples: Floats, rng: np.random.Generator) -> Floats:
    """Change pitch (±2 semitones) and tempo (0.85 to 1.2), maybe add a quiet lead-in, then noise.

    Args:
        samples: float32, shape (n_samples,), at 16 kHz.
        rng: source of every random choice.

    Returns:
        float32, shape (other n_samples,), at 16 kHz.
    """
    pitch = 2.0 ** (rng.uniform(-2.0, 2.0) / 12.0)
    tempo = rng.uniform(0.85, 1.2)
    # Resampling by `pitch` also speeds up by it; the stretch makes up for that, so one phase vocoder does both.
    stretched = librosa.effects.time_stretch(samples, rate=tempo / pitch)
    shifted = soxr.resample(stretched, SAMPLE_RATE_HZ * pitch, SAMPLE_RATE_HZ)
    if rng.random() < 0.5:
        shifted = np.concatenate([np.zeros(rng.integers(0, SAMPLE_RATE_HZ // 2), dtype=np.float32), shifted])
    snr_db = rng.uniform(10.0, 45.0)
    noise = rng.standard_normal(len(shifted)).astype(np.float32)
    if rng.random() < 0.5:  # pinkish instead of white: rooms and microphones hum more than they hiss
        noise = np.asarray(librosa.effects.preemphasis(noise, coef=-0.9), dtype=np.float32)
    level = float(np.sqrt(np.mean(samples**2)) / np.sqrt(np.mean(noise**2))) * 10.0 ** (-snr_db / 20.0)
    return np.asarray(shifted + level * noise, dtype=np.float32)


def read_clip(path: Path, n_copies: int, seed: int) -> Clip:
    """Read one EmoDB file, e.g. `03a01Fa.flac`, and compute all its MFCCs.

    Args:
        path: the file; speaker, text and emotion are in its name.
        n_copies: augmented copies to make.
        seed: with the file's name, seeds the augmentation.

    Returns:
        The clip.
    """
    samples, rate_hz = soundfile.read(path, dtype="float32")
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{path.name}: {rate_hz} Hz, expected {SAMPLE_RATE_HZ}")
    rng = np.random.default_rng([seed, *path.stem.encode()])
    copies = [mfcc(augment(samples, rng)) for _ in range(n_copies)]
    return Clip(path.stem[:2], TRAINED.index(LETTERS[path.stem[5]]), [mfcc(samples), *copies])


def read_clips(folder: Path, n_copies: int, seed: int) -> list[Clip]:
    """Read all of EmoDB, in parallel, in the order of the files' names."""
    paths = sorted(folder.glob("*.flac"))
    if not paths:
        raise FileNotFoundError(f"no EmoDB clips (*.flac) in {folder}")
    read = partial(read_clip, n_copies=n_copies, seed=seed)
    with ProcessPoolExecutor() as pool:
        return list(tqdm(pool.map(read, paths, chunksize=4), total=len(paths), desc="features", unit="clip"))


def baselines(clips: list[Clip]) -> dict[str, tuple[Floats, Floats]]:
    """Mean and standard deviation, over neutral clips, of each clip's mean MFCC vector.

    Args:
        clips: clips of at least two neutral recordings per gender.

    Returns:
        By gender: two float32 arrays, each shape (13,).
    """
    found = {}
    for gender in GENDERS:
        means = np.stack([c.mfccs[0].mean(axis=0) for c in clips if c.label == NEUTRAL and c.gender == gender])
        found[gender] = (means.mean(axis=0, dtype=np.float32), means.std(axis=0, dtype=np.float32))
    return found


def warps(n: int, widest: float) -> Floats:
    """Matrices that turn a voice's MFCCs into those of a longer or a shorter vocal tract.

    The 13 coefficients are spread over the mel axis, the axis is stretched, and they are gathered again, so a matrix
    costs nothing beside a new recording's features.

    Args:
        n: how many.
        widest: the largest stretch either way, e.g. 0.1.

    Returns:
        float32, shape (n, 13, 13); frames are multiplied by one from the right.
    """
    places = (np.arange(128) + 0.5) / 128
    order = np.arange(13)[:, None]
    scale = np.where(order == 0, np.sqrt(1 / 128), np.sqrt(2 / 128))
    gather = scale * np.cos(np.pi * order * places)
    stretches = np.linspace(1 - widest, 1 + widest, n)
    spread = [scale * np.cos(np.pi * order * np.minimum(places * stretch, 1.0)) for stretch in stretches]
    return np.stack([(s @ gather.T) for s in spread]).astype(np.float32)


def fit(frames: Floats, n_frames: int) -> Floats:
    """Cut at, or zero-pad to, `n_frames`: (any, 13) to (n_frames, 13)."""
    window = np.zeros((n_frames, frames.shape[1]), dtype=np.float32)
    window[: len(frames)] = frames[:n_frames]
    return window
