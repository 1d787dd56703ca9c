from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from maeum.decoding import decode
from maeum.errors import (
    AudioTooLong,
    EmptyAudio,
    InvalidField,
    MaeumError,
    StageFailed,
    StageOverloaded,
    UndecodableAudio,
    UnsupportedLanguage,
)
from maeum.features import Gender, VoicePooling
from maeum.mfcc import mfcc
from maeum.models import resolve
from maeum.pipeline import Analysis, Options, Pipeline
from maeum.settings import Settings
from maeum.stages import Failure, Probabilities, Segment, SpeechItem, Stages, Transcript
from maeum.summary import Summary
from tests.conftest import Clip
from tests.reference import KO, Reference, character_error_rate

T = TypeVar("T")
KIND = Summary("ok", "좋은 하루를 보내셨군요.", None)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; a deadlock fails instead of hanging."""

    async def bounded() -> T:
        async with asyncio.timeout(120):
            return await work

    return asyncio.run(bounded())


def wav(samples: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16_000, format="WAV")
    return stream.getvalue()


SILENCE = wav(np.zeros(32_000, np.float32))


@pytest.fixture(scope="module")
def reference(settings: Settings) -> Reference:
    return Reference(*(resolve(kind, settings).path for kind in ("speech", "text", "voice")))


def by_label(analysis: Analysis) -> dict[str, float]:
    return dict(zip(analysis.labels, analysis.probabilities, strict=True))


# the real models


@pytest.mark.parametrize("index", [0, 1, 6, 9, 13, 19])
def test_an_answer_equals_the_reference_written_apart(
    pipeline: Pipeline, reference: Reference, clips: list[Clip], index: int
) -> None:
    clip = clips[index]
    analysis = run(pipeline.analyze(clip.data, pipeline.options(clip.gender)))
    expected = reference.analyze(clip.data, clip.gender)
    assert character_error_rate(expected.transcript, analysis.transcript.text) <= 0.05
    if analysis.transcript.text != expected.transcript:
        text = reference.votes(analysis.transcript.text)
        expected = replace(expected, text_emotion=text, fused=reference.fuse(text, expected.voice_emotion))
    assert analysis.text_emotion == pytest.approx(expected.text_emotion, abs=1e-3)
    assert analysis.voice_emotion == pytest.approx(expected.voice_emotion, abs=1e-3)
    assert by_label(analysis) == pytest.approx(expected.fused, abs=1e-3)
    assert sum(analysis.probabilities) == pytest.approx(1, abs=1e-9)
    assert analysis.labels == KO


def test_the_other_gender_gives_another_voice(pipeline: Pipeline, reference: Reference, clip: Clip) -> None:
    for gender in ("MALE", "FEMALE"):
        analysis = run(pipeline.analyze(clip.data, pipeline.options(gender)))
        expected = reference.analyze(clip.data, gender)
        assert analysis.voice_emotion == pytest.approx(expected.voice_emotion, abs=1e-3)


def test_an_answer_tells_what_made_it(pipeline: Pipeline, settings: Settings, clip: Clip) -> None:
    analysis = run(pipeline.analyze(clip.data, pipeline.options()))
    assert analysis.models == {kind: resolve(kind, settings).name for kind in ("speech", "text", "voice")} | {
        "summary": None
    }
    assert analysis.duration_s == pytest.approx(soundfile.info(clip.path).duration, abs=1e-3)
    assert set(analysis.timings_ms) == {"decode", "speech", "features", "text", "voice", "summary", "fuse", "total"}
    assert all(milliseconds >= 0 for milliseconds in analysis.timings_ms.values())
    assert (analysis.language, analysis.warnings, analysis.summary.reason) == ("ko", (), "no_api_key")


def test_clips_analysed_together_equal_those_alone(pipeline: Pipeline, clips: list[Clip]) -> None:
    chosen = clips[:8]

    async def together() -> list[Analysis]:
        return await asyncio.gather(
            *(pipeline.analyze(clip.data, pipeline.options(clip.gender)) for clip in (*chosen, *chosen[::-1]))
        )

    shared = run(together())
    alone = [run(pipeline.analyze(clip.data, pipeline.options(clip.gender))) for clip in chosen]
    for one, first, second in zip(alone, shared[:8], shared[:7:-1], strict=True):
        for other in (first, second):
            assert other.transcript.text == one.transcript.text
            assert by_label(other) == pytest.approx(by_label(one), abs=1e-4)
            assert other.text_emotion == pytest.approx(one.text_emotion, abs=1e-4)
            assert other.voice_emotion == pytest.approx(one.voice_emotion, abs=1e-4)


def test_without_speech_the_voice_alone_decides(pipeline: Pipeline, reference: Reference) -> None:
    analysis = run(pipeline.analyze(SILENCE, pipeline.options("FEMALE")))
    assert analysis.transcript == Transcript("")
    assert (analysis.text_emotion, analysis.warnings) == (None, ("no_speech",))
    assert analysis.summary == Summary("skipped", None, "no_speech")
    voice = reference.hear(np.zeros(32_000, np.float32), "FEMALE")
    assert analysis.voice_emotion == pytest.approx(voice, abs=1e-3)
    assert by_label(analysis) == pytest.approx(reference.fuse(None, voice), abs=1e-3)


def test_a_bad_recording_among_good_ones_fails_alone(pipeline: Pipeline, clips: list[Clip]) -> None:
    async def together() -> list[Analysis | BaseException]:
        files = [clips[0].data, b"no audio", clips[1].data, SILENCE, b"", clips[0].data[:100]]
        work = (pipeline.analyze(data, pipeline.options()) for data in files)
        return await asyncio.gather(*work, return_exceptions=True)

    kinds = [type(result) for result in run(together())]
    assert kinds[:5] == [Analysis, UndecodableAudio, Analysis, Analysis, EmptyAudio]
    assert issubclass(kinds[5], MaeumError)


def test_the_limit_of_the_settings_holds(pipeline: Pipeline, clip: Clip) -> None:
    with pytest.raises(AudioTooLong, match="longer than 1 s"):
        run(replace(pipeline, max_duration_s=1.0).analyze(clip.data, Options()))


# options


def test_options_default_and_are_read_in_any_case(pipeline: Pipeline) -> None:
    assert pipeline.options() == pipeline.options("", " ") == Options(Gender.MALE, "ko", True)
    assert pipeline.options(" female ", " KO ", False) == Options(Gender.FEMALE, "ko", False)


@pytest.mark.parametrize("gender", ["OTHER", "M", "남"])
def test_another_gender_is_refused(pipeline: Pipeline, gender: str) -> None:
    with pytest.raises(InvalidField) as caught:
        pipeline.options(gender)
    assert (caught.value.code, caught.value.status) == ("invalid_gender", 422)


@pytest.mark.parametrize("lang", ["korean", "k o", "ko-KR", "한국", "../etc", "12", "<|ko|>"])
def test_what_is_no_language_code_is_refused(pipeline: Pipeline, lang: str) -> None:
    with pytest.raises(InvalidField) as caught:
        pipeline.options(lang=lang)
    assert (caught.value.code, caught.value.status) == ("invalid_lang", 422)


def test_a_language_that_the_model_does_not_know_is_refused_by_name(pipeline: Pipeline) -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        replace(pipeline, languages=frozenset({"ko"})).options(lang="en")
    assert "'en'" in caught.value.message
    assert "it knows ko" in caught.value.message
    assert pipeline.model_names["speech"] in caught.value.message
    assert caught.value.status == 422


# the flow, over stages that hold no model


class Hear:
    """A speech stage that heard a given text."""

    def __init__(self, text: str = "오늘은 좋았다. 고마웠다.", **evidence: Any) -> None:
        self.text = text
        self.evidence = evidence
        self.items: list[SpeechItem] = []

    async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        self.items += items
        return [Transcript(self.text, (Segment(0, 1, self.text),), **self.evidence) for _ in items]


class Read:
    """A text stage that gives every sentence the same label."""

    def __init__(self, label: int = 0) -> None:
        self.label = label
        self.sentences: list[str] = []

    async def run(self, items: Sequence[str]) -> list[Probabilities | Failure]:
        self.sentences += items
        return [tuple(0.5 if index == self.label else 0.1 for index in range(6)) for _ in items]


class Listen:
    """A voice stage that is sure of one label."""

    def __init__(self, label: int = 3) -> None:
        self.label = label
        self.shapes: list[tuple[int, ...]] = []

    async def run(self, items: NDArray[np.float32]) -> list[Probabilities | Failure]:
        self.shapes.append(items.shape)
        return [tuple(float(index == self.label) for index in range(6)) for _ in items]


class Fail:
    """A stage that fails on every item, or raises."""

    def __init__(self, error: Failure | Exception) -> None:
        self.error = error

    async def run(self, items: Any) -> list[Any]:
        if isinstance(self.error, Exception):
            raise self.error
        return [self.error for _ in items]


class Endless:
    """A stage or summary that goes on until it is cancelled."""

    model = "endless"

    def __init__(self) -> None:
        self.started, self.cancelled = asyncio.Event(), False

    async def run(self, items: Any) -> list[Any]:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return []

    async def summarize(self, transcript: str) -> Summary:
        await self.run([transcript])
        return KIND


class Tell:
    """A summary that is always the same."""

    model = "teller"

    def __init__(self) -> None:
        self.transcripts: list[str] = []

    async def summarize(self, transcript: str) -> Summary:
        self.transcripts.append(transcript)
        return KIND


def flow(pipeline: Pipeline, speech: Any = None, text: Any = None, voice: Any = None, summary: Any = None) -> Pipeline:
    """The pipeline with stages of memory instead of models."""
    stages = Stages(speech or Hear(), text or Read(), voice or Listen())
    return replace(pipeline, stages=stages, summarizer=summary or Tell())


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


def test_a_very_long_recording_asks_for_its_voice_in_parts(pipeline: Pipeline) -> None:
    voice = Listen()
    hear = Hear(speech_spans=((0.0, 240.0),))
    analysis = run(
        flow(pipeline, hear, voice=voice).analyze(recording(240), Options(voice_pooling=VoicePooling.WINDOWS))
    )
    assert voice.shapes == [(64, 100, 13), (11, 100, 13)]
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


def test_the_setting_decides_where_a_caller_does_not(pipeline: Pipeline) -> None:
    other = replace(pipeline, voice_pooling=VoicePooling.WINDOWS)
    assert pipeline.options().voice_pooling is VoicePooling.FIRST
    assert other.options().voice_pooling is VoicePooling.WINDOWS
    assert other.options(voice_pooling="FIRST").voice_pooling is VoicePooling.FIRST


@pytest.mark.parametrize(
    ("options", "code"), [({"voice_pooling": "all"}, "invalid_voice_pooling"), ({"baseline": "{}"}, "invalid_baseline")]
)
def test_what_makes_no_sense_is_refused(pipeline: Pipeline, options: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        pipeline.options(**options)
    assert caught.value.code == code


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


def test_a_failed_summary_harms_nothing_else(pipeline: Pipeline) -> None:
    class Failing(Tell):
        async def summarize(self, transcript: str) -> Summary:
            return Summary("failed", None, "timeout")

    analysis = run(flow(pipeline, summary=Failing()).analyze(SILENCE, Options()))
    good = run(flow(pipeline).analyze(SILENCE, Options()))
    assert analysis.summary.reason == "timeout"
    assert analysis.probabilities == good.probabilities


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


@pytest.mark.parametrize("stage", ["speech", "text", "voice"])
def test_a_failure_of_one_stage_is_an_error_with_its_code(pipeline: Pipeline, stage: str) -> None:
    failing: dict[str, Any] = {stage: Fail(Failure(f"{stage}_failed", "the model failed"))}
    with pytest.raises(StageFailed) as caught:
        run(flow(pipeline, **failing).analyze(SILENCE, Options()))
    assert (caught.value.code, caught.value.message, caught.value.status) == (
        f"{stage}_failed",
        "the model failed",
        500,
    )


def test_one_failed_sentence_fails_the_recording(pipeline: Pipeline) -> None:
    class Mixed(Read):
        async def run(self, items: Sequence[str]) -> list[Probabilities | Failure]:
            return [*(await super().run(items[1:])), Failure("text_failed", "not finite")]

    with pytest.raises(StageFailed, match="not finite"):
        run(flow(pipeline, text=Mixed()).analyze(SILENCE, Options()))


@pytest.mark.parametrize("stage", ["speech", "text", "voice"])
@pytest.mark.parametrize("error", [StageOverloaded("busy"), RuntimeError("broken")])
def test_what_a_stage_raises_arrives_as_it_is(pipeline: Pipeline, stage: str, error: Exception) -> None:
    failing: dict[str, Any] = {stage: Fail(error)}
    with pytest.raises(type(error)) as caught:
        run(flow(pipeline, **failing).analyze(SILENCE, Options()))
    assert caught.value is error


@pytest.mark.parametrize("failing", ["text", "voice"])
def test_when_one_step_fails_the_others_are_cancelled(pipeline: Pipeline, failing: str) -> None:
    async def fail() -> list[Endless]:
        others = [Endless(), Endless()]

        class AfterTheOthers(Fail):
            async def run(self, items: Any) -> list[Any]:
                for other in others:
                    await other.started.wait()
                return await super().run(items)

        stage = AfterTheOthers(Failure(f"{failing}_failed", "no"))
        named: dict[str, Any] = {"text": others[0], "voice": others[0]} | {failing: stage}
        with pytest.raises(StageFailed):
            await flow(pipeline, **named, summary=others[1]).analyze(SILENCE, Options())
        return others

    assert [other.cancelled for other in run(fail())] == [True, True]


def test_a_caller_that_leaves_cancels_every_step(pipeline: Pipeline) -> None:
    async def leave() -> list[Endless]:
        steps = [Endless(), Endless(), Endless()]
        work = flow(pipeline, text=steps[0], voice=steps[1], summary=steps[2]).analyze(SILENCE, Options())
        task = asyncio.create_task(work)
        for step in steps:
            await step.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return steps

    assert all(step.cancelled for step in run(leave()))
