"""EmoDB clips as MFCCs: reading them, the neutral baselines, windows, changed draws and what describes them."""

from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import scipy.fft
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from maeum.audio.mfcc import N_MFCC

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
N_MELS = 128
COSINES = scipy.fft.dct(np.eye(N_MELS), axis=0, norm="ortho")[:N_MFCC]
"""From decibels in mel bands to MFCCs, shape (13, 128)."""
SHIFT = (20.0 / np.arange(1, N_MFCC + 1) ** 0.6).astype(np.float32)
"""How far another voice or microphone moves each coefficient, about the deviation of the baselines."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One recording.

    Attributes:
        speaker: two digits.
        label: index into `TRAINED`.
        decibels: power in mel bands, float32, shape (n_frames, 128).
        mfccs: float32, shape (n_frames, 13).
    """

    speaker: str
    label: int
    decibels: Floats
    mfccs: Floats

    @property
    def gender(self) -> str:
        """`male` or `female`, of the speaker."""
        return "male" if self.speaker in MEN else "female"


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One clip, changed at random.

    Attributes:
        clip: index of the clip.
        frames: MFCCs, float32, shape (at most n_frames, 13).
        statistics: of these frames, float32, shape (n_statistics,).
    """

    clip: int
    frames: Floats
    statistics: Floats


def mel_decibels(samples: Floats) -> Floats:
    """Power in 128 mel bands, as `librosa.feature.mfcc` with its defaults computes it on the way, as inference does.

    Args:
        samples: float32, shape (n_samples,), at 16 kHz.

    Returns:
        float32, shape (n_frames, 128).
    """
    power = librosa.feature.melspectrogram(y=samples, sr=SAMPLE_RATE_HZ, n_mels=N_MELS)
    return np.ascontiguousarray(librosa.power_to_db(power).T, dtype=np.float32)


def read_clip(path: Path) -> Clip:
    """Read one EmoDB file, e.g. `03a01Fa.flac`: speaker 03, text a01, emotion F."""
    samples, rate_hz = soundfile.read(path, dtype="float32")
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{path.name}: {rate_hz} Hz, expected {SAMPLE_RATE_HZ}")
    decibels = mel_decibels(samples)
    mfccs = (decibels @ COSINES.T).astype(np.float32)
    return Clip(path.stem[:2], TRAINED.index(LETTERS[path.stem[5]]), decibels, mfccs)


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


def warped_cosines(factor: float) -> Floats:
    """`COSINES` for a voice whose frequencies are all divided by `factor`: (128, 13), to be multiplied by decibels."""
    hz = librosa.mel_frequencies(n_mels=N_MELS + 2, fmin=0, fmax=SAMPLE_RATE_HZ / 2)[1:-1]
    top, knee = SAMPLE_RATE_HZ / 2, 4800.0 * min(1.0, 1.0 / factor)
    # Above the knee the change fades, so that the highest frequency stays where it is.
    source = np.where(hz <= knee, hz * factor, top - (top - knee * factor) / (top - knee) * (top - hz))
    weights = np.stack([np.interp(source, hz, band) for band in np.eye(N_MELS)], axis=1)
    return np.ascontiguousarray((COSINES @ weights).T, dtype=np.float32)


def change(clip: Clip, cosines: list[Floats], tempo: float, n_frames: int, rng: np.random.Generator) -> Floats:
    """A clip as another throat would say it, faster or slower, begun a little later: (at most n_frames, 13)."""
    frames = clip.decibels @ cosines[rng.integers(len(cosines))]
    pace = float(np.exp(rng.uniform(-tempo, tempo)))
    positions = np.arange(rng.integers(0, 6), len(frames) - 1, pace)[:n_frames]
    whole = positions.astype(int)
    part = (positions - whole)[:, None].astype(np.float32)
    changed: Floats = frames[whole] * (1 - part) + frames[whole + 1] * part
    return changed


def statistics(frames: Floats) -> Floats:
    """Describe a window by numbers that do not depend on where in it something happens.

    Args:
        frames: MFCCs, at least 8 frames, shape (n_frames, 13).

    Returns:
        float32: level, spread and quantiles of each coefficient, of its steps, in loud and in quiet frames, how the
        coefficients move together, their slow movement, their lopsidedness, how alike near frames are, the length.
    """
    loudness, mean, steps = frames[:, 0], frames.mean(axis=0), np.diff(frames, axis=0)
    loud, quiet = frames[loudness >= np.quantile(loudness, 0.6)], frames[loudness <= np.quantile(loudness, 0.3)]
    scores = (frames - mean) / (frames.std(axis=0) + 1e-6)
    correlations = scores.T @ scores / len(frames)
    sums = np.cumsum(np.pad(frames, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    slow = (sums[8:] - sums[:-8]) / 8
    return np.concatenate(
        [
            *(mean, frames.std(axis=0), np.percentile(frames, (5, 25, 50, 75, 95), axis=0).ravel()),
            *(steps.std(axis=0), np.abs(steps).mean(axis=0), [len(frames)]),
            *(loud.mean(axis=0), loud.std(axis=0), quiet.mean(axis=0), loud.mean(axis=0) - quiet.mean(axis=0)),
            *(correlations[np.triu_indices(N_MFCC, 1)], slow.std(axis=0), (scores**3).mean(axis=0)),
            *((scores[2:] * scores[:-2]).mean(axis=0), (scores[5:] * scores[:-5]).mean(axis=0)),
        ]
    ).astype(np.float32)


def draw_clips(
    clips: list[Clip], rounds: int, spliced: float, warp: float, tempo: float, n_frames: int, seed: int
) -> list[Draw]:
    """Draw every clip once a round, each time changed another way.

    Args:
        clips: the recordings.
        rounds: draws of each clip.
        spliced: share of the draws whose end is the end of another clip of the same speaker.
        warp: largest relative change of the frequencies.
        tempo: largest change of the pace, as a natural logarithm.
        n_frames: longest draw.
        seed: of every random choice.

    Returns:
        len(clips) · rounds draws.
    """
    rng = np.random.default_rng(seed)
    cosines = [warped_cosines(factor) for factor in np.linspace(1 - warp, 1 + warp, 13)]
    by_speaker = {speaker: [c for c in clips if c.speaker == speaker] for speaker in {c.speaker for c in clips}}
    drawn = []
    for _ in tqdm(range(rounds), desc="draws", unit="round"):
        for index, clip in enumerate(clips):
            frames = change(clip, cosines, tempo, n_frames, rng)
            if rng.random() < spliced:
                others = by_speaker[clip.speaker]
                other = change(others[rng.integers(len(others))], cosines, tempo, n_frames, rng)
                cut, begin = rng.integers(10, len(frames) - 8), rng.integers(0, len(other) - 10)
                frames = np.concatenate([frames[:cut], other[begin:]])[:n_frames]
            frames = frames + SHIFT * rng.standard_normal(N_MFCC, dtype=np.float32)
            drawn.append(Draw(index, frames, statistics(frames)))
    return drawn
