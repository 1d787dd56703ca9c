from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maeum.audio.decoding import Waveform, decode
from maeum.audio.mfcc import mfcc
from tests.conftest import Clip

Samples = NDArray[np.float32]


def noise(n_samples: int, seed: int = 0) -> Samples:
    return np.asarray(0.1 * np.random.default_rng(seed).standard_normal(n_samples), np.float32)


def expected_mfcc(samples: Samples) -> Samples:
    """The reference's step 4, with its numbers written out instead of left to librosa."""
    frames = librosa.feature.mfcc(
        y=samples, sr=16_000, n_mfcc=13, dct_type=2, norm="ortho", n_fft=2048, hop_length=512, n_mels=128
    )
    return np.asarray(frames.T, np.float32)


@pytest.mark.parametrize("n_samples", [2_048, 16_000, 51_199, 51_200, 51_201, 160_000])
def test_mfcc_equals_librosa(n_samples: int) -> None:
    frames = mfcc(Waveform(noise(n_samples)))
    assert frames.dtype == np.float32
    assert frames.shape == (1 + n_samples // 512, 13)
    assert frames == pytest.approx(expected_mfcc(noise(n_samples)), abs=2e-3)


def test_mfcc_of_a_spoken_clip_equals_librosa(clip: Clip) -> None:
    samples, rate_hz = librosa.load(clip.path, sr=16_000, res_type="soxr_hq")
    assert rate_hz == 16_000
    assert mfcc(decode(clip.data)) == pytest.approx(expected_mfcc(samples), abs=2e-2)


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large:UserWarning")
@pytest.mark.parametrize("n_samples", [1, 511, 512, 2_047])
def test_a_clip_shorter_than_one_window_has_frames_too(n_samples: int) -> None:
    frames = mfcc(Waveform(noise(n_samples)))
    assert frames.shape == (1 + n_samples // 512, 13)
    assert np.isfinite(frames).all()


def test_silence_is_finite() -> None:
    assert np.isfinite(mfcc(Waveform(np.zeros(16_000, np.float32)))).all()


def test_a_loud_end_changes_the_first_frames() -> None:
    # top_db cuts at 80 dB under the maximum of the whole clip, also where that lies past the window.
    quiet = 1e-4 * noise(160_000)
    loud_end = quiet.copy()
    loud_end[-16_000:] = noise(16_000) * 8
    assert np.abs(mfcc(Waveform(loud_end))[:50] - mfcc(Waveform(quiet))[:50]).max() > 10


@given(
    st.lists(st.tuples(st.integers(1, 9_000), st.floats(-5, 0.5), st.booleans()), min_size=1, max_size=20),
    st.integers(0, 120),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large:UserWarning")
def test_the_first_frames_of_any_clip_equal_librosas(parts: list[tuple[int, float, bool]], n_frames: int) -> None:
    """Noises and tones of any loudness, the loudest of which may come anywhere."""
    clip = np.concatenate(
        [
            10**level * (np.sin(0.3 * np.arange(n)) if tone else 10 * noise(n, seed))
            for seed, (n, level, tone) in enumerate(parts)
        ]
    ).astype(np.float32)
    expected = expected_mfcc(clip)
    assert mfcc(Waveform(clip)) == pytest.approx(expected, abs=1e-2)
    if n_frames:
        assert mfcc(Waveform(clip), n_frames) == pytest.approx(expected[:n_frames], abs=1e-2)
