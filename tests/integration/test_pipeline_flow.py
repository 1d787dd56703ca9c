"""What goes from stage to stage, over stages that hold no model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from maeum.audio.decoding import Waveform, decode, decode_here
from maeum.audio.features import VoicePooling
from maeum.audio.mfcc import mfcc
from maeum.pipeline import Analysis, Options, Pipeline
from maeum.room import Room, SoundRoom
from maeum.stages import Failure, Probabilities, Segment, SpeechItem, Transcript
from maeum.summary import Summary
from tests.conftest import Clip
from tests.memory_stages import KIND, SILENCE, Hear, Listen, Read, Tell, by_label, flow, run, wav
from tests.reference import KO


def test_each_stage_gets_what_the_reference_says(pipeline: Pipeline, clip: Clip) -> None:
    speech, text, voice, summary = Hear("좋았다! 왜?\n고마웠다."), Read(), Listen(), Tell()
    analysis = run(flow(pipeline, speech, text, voice, summary).analyze(clip.data, Options()))
    assert [(len(item.pcm16), item.language) for item in speech.items] == [
        (2 * round(analysis.duration_s * 16_000), "ko")
    ]
    assert text.sentences == ["좋았다", "왜", "고마웠다"]
    assert voice.shapes == [(1, 100, 13)]
    assert summary.transcripts == ["좋았다! 왜?\n고마웠다."]
    assert analysis.summary == KIND
    assert analysis.models["summary"] == "teller"
    assert by_label(analysis) == pytest.approx(
        {"기쁨": 1 / 1.2, "당황": 0.2 / 1.2} | dict.fromkeys(KO[2:], 0), abs=1e-9
    )


class HearSlowly(Hear):
    """A speech stage that counts the recordings it works on."""

    under_way = most_under_way = 0

    async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.02)
        self.under_way -= 1
        if self.most_under_way == 1 and len(self.items) == 2:
            raise RuntimeError("a failure gives its room back, too")
        return await super().run(items)


@pytest.mark.parametrize(("seconds_of_room", "together"), [(5.0, 2), (1.0, 1)])
def test_no_more_sound_is_held_than_there_is_room_for(
    pipeline: Pipeline, seconds_of_room: float, together: int
) -> None:
    hear = HearSlowly()
    room = SoundRoom(round(seconds_of_room * 64_000))
    limited = replace(flow(pipeline, hear), room=room)

    async def analyze_six() -> int:
        work = (limited.analyze(SILENCE, Options()) for _ in range(6))
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        await room.sound.take(round(seconds_of_room * 64_000))  # all of it is there again
        return sum(isinstance(outcome, Analysis) for outcome in outcomes)

    assert run(analyze_six()) == (6 if together > 1 else 2)
    assert hear.most_under_way == together


def test_sound_that_waits_for_room_keeps_its_decoder(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next file is decoded meanwhile, and the next, and all of them wait with their sound in memory."""
    decoded = heard = most_held = 0

    def decode_and_count(data: bytes, max_duration_s: float) -> Waveform | None:
        nonlocal decoded, most_held
        decoded += 1
        most_held = max(most_held, decoded - heard)
        return decode_here(data, max_duration_s)

    class HearAndCount(HearSlowly):
        async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
            nonlocal heard
            results = await super().run(items)
            heard += 1
            return results

    monkeypatch.setattr("maeum.audio.decoders.decode_here", decode_and_count)
    room = SoundRoom(2 * len(SILENCE) // 2 * 4)  # two of them as float32
    room.decoders = Room(1)
    limited = replace(flow(pipeline, HearAndCount()), room=room)

    async def analyze_many() -> None:
        await asyncio.gather(*(limited.analyze(SILENCE, Options()) for _ in range(12)))

    run(analyze_many())
    assert decoded == 12
    assert most_held <= 2 + 1


def test_a_decoder_that_nobody_waits_for_keeps_its_place_until_it_ends(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, at_work = threading.Event(), threading.Event()

    def decode_when_told(data: bytes, max_duration_s: float) -> Waveform | None:
        at_work.set()
        go_on.wait(10)
        return decode_here(data, max_duration_s)

    monkeypatch.setattr("maeum.audio.decoders.decode_here", decode_when_told)
    room = SoundRoom()
    room.decoders = Room(1)
    limited = replace(flow(pipeline), room=room)

    async def give_up_and_try_again() -> tuple[bool, Analysis]:
        first = asyncio.create_task(limited.analyze(SILENCE, Options()))
        await asyncio.to_thread(at_work.wait, 10)
        first.cancel()
        await asyncio.wait([first])
        at_work.clear()
        second = asyncio.create_task(limited.analyze(SILENCE, Options()))
        await asyncio.sleep(0.05)
        too_early = at_work.is_set()
        go_on.set()
        return too_early, await second

    too_early, analysis = run(give_up_and_try_again())
    assert not too_early
    assert analysis.duration_s > 0


class ListenInTurn:
    """A voice stage whose windows are of one label after the other."""

    def __init__(self) -> None:
        self.windows: list[NDArray[np.float32]] = []

    async def run(self, items: NDArray[np.float32]) -> list[Probabilities | Failure]:
        before = len(self.windows)
        self.windows += list(items)
        return [tuple(float(index == (before + k) % 6) for index in range(6)) for k in range(len(items))]


def recording(seconds: float) -> bytes:
    return wav(0.1 * np.random.default_rng(3).standard_normal(round(16_000 * seconds)).astype(np.float32))


def test_the_voice_of_all_windows_with_speech_is_their_mean(pipeline: Pipeline) -> None:
    data, voice = recording(16), ListenInTurn()
    hear = Hear(speech_spans=((0.0, 6.4), (9.6, 12.8)))
    analysis = run(flow(pipeline, hear, voice=voice).analyze(data, Options(voice_pooling=VoicePooling.WINDOWS)))
    assert list(analysis.voice_emotion.values()) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    frames = (mfcc(decode(data)) - pipeline.baselines.male.mean) / (pipeline.baselines.male.std + 1e-8)
    expected = [frames[:100], frames[100:200], frames[300:400]]
    assert np.stack(voice.windows) == pytest.approx(np.stack(expected), abs=1e-3)


def test_the_voice_of_a_long_recording_is_every_window(pipeline: Pipeline) -> None:
    voice = Listen()
    hear = Hear(speech_spans=((0.0, 240.0),))
    analysis = run(
        flow(pipeline, hear, voice=voice).analyze(recording(240), Options(voice_pooling=VoicePooling.WINDOWS))
    )
    assert voice.shapes == [(75, 100, 13)]
    assert analysis.voice_emotion["HAPPY"] == 1


def test_a_speakers_own_baseline_takes_the_genders_place(pipeline: Pipeline, clip: Clip) -> None:
    mean = (pipeline.baselines.male.mean + 5).tolist()
    own = json.dumps({"mean": mean, "std": [20.0] * 13})
    voice = ListenInTurn()
    run(flow(pipeline, voice=voice).analyze(clip.data, pipeline.options(baseline=own)))
    frames = np.zeros((100, 13))
    heard = mfcc(decode(clip.data))[:100]
    frames[: len(heard)] = heard
    assert voice.windows[0] == pytest.approx((frames - mean) / 20, abs=1e-3)


@pytest.mark.parametrize(
    ("logprob", "language", "expected"),
    [
        (-0.1, None, ()),
        (-4.0, None, ("low_confidence",)),
        (-0.1, ("en", 0.9), ("unexpected_language",)),
        (-4.0, ("en", 0.9), ("low_confidence", "unexpected_language")),
    ],
)
def test_doubts_about_the_transcript_become_warnings(
    pipeline: Pipeline, logprob: float, language: tuple[str, float] | None, expected: tuple[str, ...]
) -> None:
    class Doubt(Hear):
        async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
            return [Transcript("좋았다.", (Segment(0, 1, "좋았다.", logprob),), heard_language=language)]

    assert run(flow(pipeline, Doubt()).analyze(SILENCE, Options())).warnings == expected


@pytest.mark.parametrize("text", ["", "...", "… ?!", "♪ ♪", " \n "])
def test_punctuation_counts_as_no_speech(pipeline: Pipeline, text: str) -> None:
    reader, summary = Read(), Tell()
    analysis = run(flow(pipeline, Hear(text), reader, Listen(4), summary).analyze(SILENCE, Options()))
    assert (analysis.text_emotion, analysis.warnings) == (None, ("no_speech",))
    assert (reader.sentences, summary.transcripts) == ([], [])
    assert analysis.summary.reason == "no_speech"
    assert by_label(analysis) == pytest.approx(dict.fromkeys(KO, 0) | {"당황": 0.2, "불안": 0.8}, abs=1e-9)


def test_a_summary_that_nobody_asked_for_is_not_written(pipeline: Pipeline) -> None:
    summary = Tell()
    analysis = run(flow(pipeline, summary=summary).analyze(SILENCE, Options(summary=False)))
    assert analysis.summary == Summary("skipped", None, "not_requested")
    assert summary.transcripts == []


def test_the_summary_is_written_beside_the_text_stage(pipeline: Pipeline) -> None:
    """Each waits until the other has begun: one after the other, neither would end."""

    async def meet() -> Analysis:
        reading, telling = asyncio.Event(), asyncio.Event()

        class Reader(Read):
            async def run(self, items: Sequence[str]) -> list[Probabilities | Failure]:
                reading.set()
                await telling.wait()
                return await super().run(items)

        class Teller(Tell):
            async def summarize(self, transcript: str) -> Summary:
                telling.set()
                await reading.wait()
                return await super().summarize(transcript)

        return await flow(pipeline, text=Reader(), summary=Teller()).analyze(SILENCE, Options())

    assert run(meet()).summary == KIND
