from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile

from maeum.audio.features import Gender, VoicePooling
from maeum.errors import AudioTooLong, EmptyAudio, InvalidField, MaeumError, UndecodableAudio, UnsupportedLanguage
from maeum.models import resolve
from maeum.pipeline import Analysis, Options, Pipeline
from maeum.settings import Settings
from maeum.stages import Transcript
from maeum.summary import Summary
from tests.conftest import Clip
from tests.memory_stages import SILENCE, by_label, run
from tests.reference import KO, Reference, character_error_rate


@pytest.fixture(scope="module")
def reference(settings: Settings) -> Reference:
    return Reference(*(resolve(kind, settings).path for kind in ("speech", "text", "voice")))


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
    assert pipeline.options(None, None, True, None, None) == pipeline.options()
    assert pipeline.options(" female ", " KO ", False) == Options(Gender.FEMALE, "ko", False)


@pytest.mark.parametrize("gender", ["OTHER", "M", "남"])
def test_another_gender_is_refused(pipeline: Pipeline, gender: str) -> None:
    with pytest.raises(InvalidField) as caught:
        pipeline.options(gender)
    assert (caught.value.code, caught.value.status) == ("invalid_gender", 422)


@pytest.mark.parametrize("lang", ["korean", "k o", "ko-", "한국", "../etc", "12", "<|ko|>"])
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
