from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from faster_whisper.vad import VadOptions, get_speech_timestamps
from numpy.typing import NDArray

from maeum import pieces
from maeum.engines.speech import SpeechEngine
from maeum.engines.speech_windows import Window, pack
from maeum.errors import ModelInvalid
from maeum.models import resolve
from maeum.settings import Settings
from maeum.stages import Failure, SpeechItem, Transcript
from tests.conftest import Clip
from tests.reference import Reference, character_error_rate, load_audio, through_pcm16

FOLDER = resolve("speech", Settings()).path
RATE_HZ = 16_000

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def engine() -> SpeechEngine:
    return SpeechEngine(FOLDER)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(FOLDER, FOLDER, FOLDER)


@pytest.fixture(scope="module")
def recordings(clips: list[Clip]) -> list[Samples]:
    return [through_pcm16(load_audio(clip.data)) for clip in clips]


def item(samples: Samples, language: str = "ko") -> SpeechItem:
    return SpeechItem((samples * 32768).astype("<i2").tobytes(), language)


def good(results: list[Transcript | Failure]) -> list[Transcript]:
    transcripts = [result for result in results if not isinstance(result, Failure)]
    assert len(transcripts) == len(results)
    return transcripts


@pytest.fixture(scope="module")
def together(engine: SpeechEngine, recordings: list[Samples]) -> list[Transcript]:
    """All clips in one call."""
    return good(engine.transcribe([item(samples) for samples in recordings]))


def assert_same_texts(expected: list[str], heard: list[str]) -> None:
    """To the letter for all but one in twenty, which may differ in a letter or so."""
    different = [(a, b) for a, b in zip(expected, heard, strict=True) if a != b]
    assert len(different) * 20 <= len(expected), different
    assert all(character_error_rate(a, b) <= 0.05 for a, b in different), different


def assert_times_fit(transcript: Transcript, duration_s: float) -> None:
    times = [time for segment in transcript.segments for time in (segment.start_s, segment.end_s)]
    assert times == sorted(times)
    assert all(0 <= time <= duration_s for time in times)


def test_clips_equal_whispermodel_transcribe(
    together: list[Transcript], reference: Reference, recordings: list[Samples]
) -> None:
    expected = [reference.transcribe(samples) for samples in recordings]
    assert_same_texts(expected, [transcript.text for transcript in together])


def test_clips_are_understood_at_all(together: list[Transcript], clips: list[Clip]) -> None:
    rates = [character_error_rate(clip.text, heard.text) for clip, heard in zip(clips, together, strict=True)]
    assert np.mean(rates) <= 0.35


def test_a_batch_equals_the_same_clips_alone(
    engine: SpeechEngine, together: list[Transcript], recordings: list[Samples]
) -> None:
    alone = [good(engine.transcribe([item(samples)]))[0].text for samples in recordings]
    assert_same_texts(alone, [transcript.text for transcript in together])


def test_order_is_kept(engine: SpeechEngine, together: list[Transcript], recordings: list[Samples]) -> None:
    order = [3, 0, 17, 9, 3]
    results = good(engine.transcribe([item(recordings[index]) for index in order]))
    assert_same_texts([together[index].text for index in order], [result.text for result in results])


def test_texts_are_nfc_and_stripped_and_times_fit(together: list[Transcript], recordings: list[Samples]) -> None:
    for transcript, samples in zip(together, recordings, strict=True):
        for text in (transcript.text, *(segment.text for segment in transcript.segments)):
            assert text == unicodedata.normalize("NFC", text).strip() != ""
        assert "".join(transcript.text.split()) == "".join("".join(s.text for s in transcript.segments).split())
        assert_times_fit(transcript, len(samples) / RATE_HZ)


@pytest.mark.parametrize("share", [0.3, 0.55, 0.8])
def test_times_fit_recordings_that_end_in_a_word(engine: SpeechEngine, recordings: list[Samples], share: float) -> None:
    cut = [samples[: int(share * len(samples))] for samples in recordings[:6]]
    for transcript, samples in zip(good(engine.transcribe([item(samples) for samples in cut])), cut, strict=True):
        assert_times_fit(transcript, len(samples) / RATE_HZ)


@pytest.mark.parametrize("n_samples", [0, 1, 100, 16_000, 40 * RATE_HZ])
def test_silence_gives_an_empty_transcript(engine: SpeechEngine, n_samples: int) -> None:
    assert engine.transcribe([item(np.zeros(n_samples, np.float32))]) == [Transcript("")]


def test_silence_among_speech_stays_empty(
    engine: SpeechEngine, together: list[Transcript], recordings: list[Samples]
) -> None:
    silence = item(np.zeros(2 * RATE_HZ, np.float32))
    results = good(engine.transcribe([silence, item(recordings[1]), silence]))
    assert (results[0], results[2]) == (Transcript(""), Transcript(""))
    assert_same_texts([together[1].text], [results[1].text])


def test_nothing_is_nothing(engine: SpeechEngine) -> None:
    assert engine.transcribe([]) == []


def test_the_embedded_model_knows_korean(engine: SpeechEngine) -> None:
    assert "ko" in engine.languages


@pytest.mark.parametrize("language", ["xx", "", "KO", "<|ko|>"])
def test_a_wrong_language_fails_alone(
    engine: SpeechEngine, together: list[Transcript], recordings: list[Samples], language: str
) -> None:
    first, wrong, last = engine.transcribe([item(recordings[0]), item(recordings[1], language), item(recordings[2])])
    assert isinstance(wrong, Failure)
    assert wrong.code == "unsupported_language"
    assert_same_texts([together[0].text, together[2].text], [result.text for result in good([first, last])])


def test_half_a_sample_fails_alone(engine: SpeechEngine, together: list[Transcript], recordings: list[Samples]) -> None:
    odd, fine = engine.transcribe([SpeechItem(b"\x00\x01\x02", "ko"), item(recordings[0])])
    assert isinstance(odd, Failure)
    assert odd.code == "speech_failed"
    assert_same_texts([together[0].text], [good([fine])[0].text])


def long_recording(recordings: list[Samples], at_least_s: float) -> Samples:
    parts: list[Samples] = []
    while sum(map(len, parts)) < at_least_s * RATE_HZ:
        parts += [recordings[len(parts) // 2], np.zeros(int(0.6 * RATE_HZ), np.float32)]
    return np.concatenate(parts)


def test_a_long_recording_gives_all_its_windows_in_order(
    engine: SpeechEngine, reference: Reference, recordings: list[Samples]
) -> None:
    samples = long_recording(recordings, 75)
    transcript, short = good(engine.transcribe([item(samples), item(recordings[0])]))
    assert_times_fit(transcript, len(samples) / RATE_HZ)
    # Every window alone, by faster-whisper itself.
    options = VadOptions(max_speech_duration_s=30, min_silence_duration_ms=160)
    groups = pack(get_speech_timestamps(samples, options))
    assert len(groups) >= 3
    windows = [np.concatenate([samples[chunk["start"] : chunk["end"]] for chunk in group]) for group in groups]
    expected = [reference.transcribe(window, vad=False) for window in windows]
    assert all(expected)
    heard = "".join(transcript.text.split())
    assert character_error_rate("".join("".join(expected).split()), heard) <= 0.05
    # Each window's segments lie where its speech lies.
    for group in groups:
        start_s, end_s = group[0]["start"] / RATE_HZ, group[-1]["end"] / RATE_HZ
        assert any(start_s - 0.1 <= segment.start_s <= end_s for segment in transcript.segments)
    assert_same_texts([reference.transcribe(recordings[0])], [short.text])


def test_a_recording_in_pieces_is_heard_as_a_whole(
    engine: SpeechEngine, recordings: list[Samples], clips: list[Clip]
) -> None:
    pause = np.zeros(int(0.6 * RATE_HZ), np.float32)
    samples = np.concatenate([part for samples in recordings[:20] for part in (samples, pause)])
    said = " ".join(clip.text for clip in clips[:20])
    (whole,) = good(engine.transcribe([item(samples)]))

    pieces_s: list[float] = []

    class Stage:
        async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
            pieces_s.extend(len(item.pcm16) / 2 / RATE_HZ for item in items)
            return engine.transcribe(items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_S", 45)
        transcript = asyncio.run(pieces.transcribe(Stage(), item(samples).pcm16, "ko"))
    assert len(pieces_s) >= 3
    assert max(pieces_s) == 45
    errors, errors_of_whole = (character_error_rate(said, result.text) for result in (transcript, whole))
    assert errors <= errors_of_whole + 0.05
    assert transcript.resume is None
    assert_times_fit(transcript, len(samples) / RATE_HZ)
    # The speech that was found is the same, but for where it was cut for windows and pieces.
    assert sum(b - a for a, b in transcript.speech_spans) == pytest.approx(
        sum(b - a for a, b in whole.speech_spans), rel=0.03
    )


def test_more_windows_than_one_call_takes_give_the_same(recordings: list[Samples], together: list[Transcript]) -> None:
    small = SpeechEngine(FOLDER, max_windows=3)
    results = good(small.transcribe([item(samples) for samples in recordings[:8]]))
    assert_same_texts([transcript.text for transcript in together[:8]], [result.text for result in results])


def test_workers_side_by_side_give_the_same_in_the_same_order(
    recordings: list[Samples], together: list[Transcript]
) -> None:
    several = SpeechEngine(FOLDER, threads=1, workers=3)
    results = good(several.transcribe([item(samples) for samples in recordings[:10]]))
    assert_same_texts([transcript.text for transcript in together[:10]], [result.text for result in results])


def test_calls_at_the_same_time_give_the_same(recordings: list[Samples], together: list[Transcript]) -> None:
    engine = SpeechEngine(FOLDER, threads=1, workers=2)
    halves = [[item(samples) for samples in recordings[start::2]] for start in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        first, second = (good(results) for results in pool.map(engine.transcribe, halves))
    assert_same_texts([t.text for t in together[0::2]], [result.text for result in first])
    assert_same_texts([t.text for t in together[1::2]], [result.text for result in second])


def test_warming_up_and_probes_reach_the_decoder_past_the_vad(
    engine: SpeechEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = engine._decode

    def spy(windows: list[Window]) -> None:
        decoded.append(len(windows))
        decode(windows)

    monkeypatch.setattr(engine, "_decode", spy)
    engine.transcribe([SpeechItem(bytes(3200), "ko")])
    assert decoded == []
    (answer,) = engine.transcribe([SpeechItem(bytes(3200), "ko", past_vad=True)])
    assert isinstance(answer, Transcript)
    assert decoded
    decoded.clear()
    engine.warm_up()
    assert decoded


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json", "vocabulary.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    (tmp_path / "model.bin").write_bytes(bytes(1000))
    with pytest.raises(ModelInvalid):
        SpeechEngine(tmp_path)


# windows as long as what was said


@pytest.fixture(scope="module")
def short(engine: SpeechEngine) -> SpeechEngine:
    return SpeechEngine(FOLDER, window="audio")


def test_short_windows_hear_what_was_said(
    short: SpeechEngine, together: list[Transcript], recordings: list[Samples], clips: list[Clip]
) -> None:
    heard = good(short.transcribe([item(samples) for samples in recordings]))
    rates, padded = (
        [character_error_rate(clip.text, one.text) for clip, one in zip(clips, results, strict=True)]
        for results in (heard, together)
    )
    assert np.mean(rates) <= np.mean(padded) + 0.05
    for transcript, samples in zip(heard, recordings, strict=True):
        assert_times_fit(transcript, len(samples) / RATE_HZ)


def test_short_windows_of_several_lengths_do_not_change_each_other(
    short: SpeechEngine, recordings: list[Samples]
) -> None:
    mixed = [recordings[0], long_recording(recordings, 20), recordings[1], np.zeros(RATE_HZ, np.float32)]
    together = good(short.transcribe([item(samples) for samples in mixed]))
    alone = [good(short.transcribe([item(samples)]))[0] for samples in mixed]
    assert [one.text for one in together] == [one.text for one in alone]
    assert together[3].text == ""


def test_short_windows_of_a_long_recording(
    short: SpeechEngine, engine: SpeechEngine, recordings: list[Samples]
) -> None:
    samples = item(long_recording(recordings, 75))
    (heard,), (padded,) = good(short.transcribe([samples])), good(engine.transcribe([samples]))
    assert character_error_rate(padded.text, heard.text) <= 0.05
    assert_times_fit(heard, len(samples.pcm16) / 2 / RATE_HZ)
