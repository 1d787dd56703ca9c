"""Windows without a model: packing, and putting transcripts together."""

from __future__ import annotations

import unicodedata
from itertools import pairwise, zip_longest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maeum.engines.speech import _transcript
from maeum.engines.speech_windows import Plan, Window, keep_back, pack
from maeum.stages import Segment, Transcript

RATE_HZ = 16_000

chunks_of_speech = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), max_size=40).map(
    lambda pairs: [
        {"start": sum(map(sum, pairs[:index])) + gap, "end": sum(map(sum, pairs[: index + 1]))}
        for index, (gap, _) in enumerate(pairs)
    ]
)


def in_samples(chunks: list[dict[str, int]]) -> list[dict[str, int]]:
    return [{name: RATE_HZ * value for name, value in chunk.items()} for chunk in chunks]


@given(chunks_of_speech)
def test_windows_hold_at_most_30_s_of_speech_in_order(seconds: list[dict[str, int]]) -> None:
    chunks = in_samples(seconds)
    groups = pack(chunks)
    assert [chunk for group in groups for chunk in group] == chunks
    for group, following in zip_longest(groups, groups[1:]):
        filled = sum(chunk["end"] - chunk["start"] for chunk in group)
        assert 0 < filled <= 30 * RATE_HZ
        if following is not None:
            assert filled + following[0]["end"] - following[0]["start"] > 30 * RATE_HZ


@given(chunks_of_speech, st.integers(0, 5))
def test_what_a_piece_keeps_back_begins_after_what_it_decodes(seconds: list[dict[str, int]], silence_s: int) -> None:
    chunks = in_samples(seconds)
    n_samples = max(31 * RATE_HZ, chunks[-1]["end"] + silence_s * RATE_HZ if chunks else 0)
    groups = pack(chunks)
    resume = keep_back(groups, n_samples)
    assert 0 < resume <= n_samples
    kept = [chunk for group in groups for chunk in group]
    assert all(groups)
    assert kept == chunks[: len(kept)]
    assert all(chunk["end"] <= resume for chunk in kept)
    assert all(chunk["start"] >= resume for chunk in chunks[len(kept) :])


@given(chunks_of_speech.filter(bool), st.lists(st.floats(0, 40), min_size=1, max_size=9), st.integers(0, 5))
def test_times_are_ordered_and_end_with_the_recording(
    seconds: list[dict[str, int]], claimed: list[float], silence_s: int
) -> None:
    chunks = in_samples(seconds)
    n_samples = chunks[-1]["end"] + silence_s * RATE_HZ
    times = sorted(claimed)
    windows = [
        Window(
            np.zeros(0, np.int16),
            group,
            "ko",
            segments=[Segment(a, b, " 말") for a, b in pairwise(times)],
        )
        for group in pack(chunks)
    ]
    transcript = _transcript(Plan(windows, n_samples))
    assert len(transcript.segments) == len(windows) * (len(times) - 1)
    ends = [time for segment in transcript.segments for time in (segment.start_s, segment.end_s)]
    assert ends == sorted(ends)
    assert all(0 <= time <= n_samples / RATE_HZ for time in ends)


def test_a_recording_without_windows_has_an_empty_transcript() -> None:
    assert _transcript(Plan([], 16_000)) == Transcript("")


def test_decomposed_korean_is_composed() -> None:
    window = Window(
        np.zeros(0, np.int16),
        [{"start": 0, "end": RATE_HZ}],
        "ko",
        segments=[Segment(0, 1, " " + unicodedata.normalize("NFD", "고마웠다."))],
    )
    assert _transcript(Plan([window], RATE_HZ)) == Transcript("고마웠다.", (Segment(0, 1, "고마웠다."),), ((0.0, 1.0),))


@pytest.mark.parametrize(
    ("speech_s", "padded", "frames"),
    [(1, True, 3000), (29.9, True, 3000), (0.5, False, 300), (2, False, 300), (2.1, False, 600), (30, False, 3000)],
)
def test_what_the_encoder_gets(speech_s: float, padded: bool, frames: int) -> None:
    chunks = [{"start": 0, "end": round(speech_s * RATE_HZ)}]
    assert Window(np.zeros(0, np.int16), chunks, "ko", padded=padded).encoded_frames == frames


@given(st.integers(1, 3000), st.integers(0, 2999))
def test_what_is_left_of_a_short_window_fits_with_silence_after_it(n_frames: int, seek: int) -> None:
    seek = min(seek, n_frames - 1)
    window = Window(np.zeros(0, np.int16), [{"start": 0, "end": n_frames * 160}], "ko", padded=False, seek=seek)
    assert window.encoded_frames % 300 == 0
    assert min(3000, window.left + 100) <= window.encoded_frames <= 3000
    assert window.encoded_frames < window.left + 400
