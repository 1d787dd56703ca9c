"""Voice activity detection a stretch at a time, against faster-whisper's own."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper.vad import VadOptions, get_speech_timestamps, get_vad_model
from hypothesis import given, settings
from hypothesis import strategies as st

from maeum.audio.decoding import decode
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.engines.vad import FRAME, speech_chunks, speech_probabilities, to_float
from tests.conftest import Clip

OPTIONS = [VadOptions(), VadOptions(max_speech_duration_s=30, min_silence_duration_ms=160)]


@pytest.fixture(scope="module")
def recording(clips: list[Clip]) -> np.ndarray:
    """Some 50 s of speech with pauses of 0.3 to 3 s, as 16-bit samples."""
    parts = []
    for number, clip in enumerate(clips[:12]):
        parts += [decode(clip.data).to_pcm16(), bytes(2 * int(SAMPLE_RATE_HZ * (0.3, 1.0, 3.0)[number % 3]))]
    return np.frombuffer(b"".join(parts), "<i2")


def theirs(pcm16: np.ndarray) -> np.ndarray:
    samples = to_float(pcm16)
    return np.asarray(get_vad_model()(np.pad(samples, (0, FRAME - len(samples) % FRAME)))).reshape(-1)


def test_probabilities_are_those_of_the_whole_recording(recording: np.ndarray) -> None:
    assert len(recording) > 3 * 512 * FRAME  # several stretches
    np.testing.assert_allclose(speech_probabilities(recording), theirs(recording), atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 700_000))
def test_any_length_gives_a_probability_for_each_frame(n_samples: int) -> None:
    noise = np.random.default_rng(n_samples).integers(-3000, 3000, n_samples).astype(np.int16)
    np.testing.assert_allclose(speech_probabilities(noise), theirs(noise), atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_stretches_are_those_of_faster_whisper(recording: np.ndarray, options: VadOptions) -> None:
    found = speech_chunks(speech_probabilities(recording), len(recording), options)
    assert found == get_speech_timestamps(to_float(recording), options)
    assert found


def test_nothing_of_the_library_is_changed(recording: np.ndarray) -> None:
    speech_chunks(np.zeros(len(recording) // FRAME + 1, np.float32), len(recording), VadOptions())
    assert get_speech_timestamps(to_float(recording), VadOptions())
