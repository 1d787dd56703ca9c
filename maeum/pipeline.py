"""The one line from an upload to its analysis.

bytes → decode → Waveform ─┬→ speech → Transcript → sentences ─┬→ text ────┬→ fuse → Analysis
                           └→ MFCC, delta ─────────────────────┼→ voice ───┤
                                                               └→ summary ─┘
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maeum.audio.decoders import decode_upload
from maeum.audio.decoding import Waveform
from maeum.audio.features import Baseline, Baselines, Gender, VoicePooling, voice_deltas, windows_with_speech
from maeum.calibration import Calibration, combine
from maeum.errors import UnsupportedLanguage
from maeum.evidence import LOW_CONFIDENCE, warnings
from maeum.fusion import Fusion, Vector
from maeum.pieces import transcribe
from maeum.room import SoundRoom
from maeum.sentences import split_sentences
from maeum.speech_languages import parse_language
from maeum.stages import Probabilities, Stages, Transcript, good
from maeum.summary import Summary


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose for one recording, already checked.

    Args:
        gender: whose baseline normalises the voice.
        language: code for speech-to-text.
        summary: whether to write one.
        voice_pooling: which part of the recording the voice network hears.
        baseline: the speaker's own, in place of the gender's.
    """

    gender: Gender = Gender.MALE
    language: str = "ko"
    summary: bool = True
    voice_pooling: VoicePooling = VoicePooling.FIRST
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that is known about one recording; probabilities are in the order of their labels.

    `fused_en` is the fused vector before its projection back to the words' labels, and `sentence_probabilities` is
    what the text model gave for each sentence.
    """

    transcript: Transcript
    language: str
    duration_s: float
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    text_emotion: dict[str, float] | None
    voice_emotion: dict[str, float]
    summary: Summary
    warnings: tuple[str, ...]
    models: dict[str, str | None]
    timings_ms: dict[str, float] = field(compare=False)
    fused_en: dict[str, float] = field(default_factory=dict)
    sentence_probabilities: tuple[Probabilities, ...] = ()


class SummaryStage(Protocol):
    """Writes the sentence that maeum gives back."""

    @property
    def model(self) -> str | None:
        """Name of the chat model, or None when no summary will be written."""
        ...

    async def summarize(self, transcript: str) -> Summary:
        """Summarise a transcript; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The flow over three model stages, wherever those run.

    Args:
        stages: speech, text and voice.
        summarizer: the summary stage.
        fusion: labels of both models and the weights.
        baselines: of the voice model.
        languages: codes that the speech model can transcribe.
        model_names: name per stage, for the answer.
        max_duration_s: longest accepted recording in seconds.
        calibration: fitted by `maeum calibrate`; None: the reference's formula.
        low_confidence: confidence, 0..1, under which this speech model's transcripts get a warning.
        voice_pooling: where a caller does not choose.
        room: for the decoded sound of all requests; later ones wait as uploads.
    """

    stages: Stages
    summarizer: SummaryStage
    fusion: Fusion
    baselines: Baselines
    languages: frozenset[str]
    model_names: dict[str, str]
    max_duration_s: float = 600.0
    calibration: Calibration | None = None
    low_confidence: float = LOW_CONFIDENCE
    voice_pooling: VoicePooling = VoicePooling.FIRST
    room: SoundRoom = field(default_factory=SoundRoom)

    def options(
        self,
        gender: str | None = None,
        lang: str | None = None,
        summary: bool = True,
        voice_pooling: str | None = None,
        baseline: str | None = None,
    ) -> Options:
        """Check what a caller asks for; None and empty text count as not given.

        Raises:
            InvalidField: gender is neither `MALE` nor `FEMALE`, lang is no language code, voice_pooling neither `first`
                nor `windows`, or baseline not what `Baseline.parse` reads.
            UnsupportedLanguage: the speech model does not know `lang`.
        """
        gender, lang, voice_pooling, baseline = (
            (given or "").strip() for given in (gender, lang, voice_pooling, baseline)
        )
        language = parse_language(lang)
        if language not in self.languages:
            known = (
                ", ".join(sorted(self.languages)) if len(self.languages) <= 5 else f"{len(self.languages)} languages"
            )
            raise UnsupportedLanguage(
                f"the speech model {self.model_names['speech']} does not transcribe {language!r}; it knows {known}"
            )
        return Options(
            Gender.parse(gender or "MALE"),
            language,
            summary,
            VoicePooling.parse(voice_pooling) if voice_pooling else self.voice_pooling,
            Baseline.parse(baseline) if baseline else None,
        )

    async def analyze(self, data: bytes, options: Options, on_decoded: Callable[[], None] = lambda: None) -> Analysis:
        """Analyse one recording.

        Args:
            data: an audio file's bytes.
            options: from `self.options`.
            on_decoded: called when `data` is no longer needed.

        Raises:
            EmptyAudio, UndecodableAudio, AudioTooLong: the file is not usable.
            StageFailed: a model could not handle this recording.
            StageOverloaded, StageTimeout: a stage has too much work, or did not answer in time.
        """
        clock = _Clock()
        with clock.measure("decode"):
            waveform = await decode_upload(data, self.max_duration_s, self.room)
        del data  # an upload may take more memory than its sound
        on_decoded()
        work = self._analyze(waveform, options, clock)
        del waveform
        return await work

    async def _analyze(self, waveform: Waveform, options: Options, clock: _Clock) -> Analysis:
        duration_s, held = waveform.duration_s, waveform.samples.nbytes
        try:
            async with _together() as group:
                hearing = group.create_task(self._speech(waveform, options, clock))
                measuring = group.create_task(self._features(waveform, options, clock))
                del waveform  # a long one takes more memory than all the rest: nobody keeps it while the models work
        finally:
            self.room.sound.give(held)
        transcript, deltas = hearing.result(), measuring.result()
        sentences = split_sentences(transcript.text)
        # The voice waits for the words: recordings that were transcribed in one batch share the next batches too.
        async with _together() as group:
            reading = group.create_task(self._text(sentences, clock))
            listening = group.create_task(self._voice(deltas, transcript, clock))
            summarizing = group.create_task(self._summary(transcript, bool(sentences), options, clock))
        read, voice, summary = reading.result(), listening.result(), summarizing.result()
        with clock.measure("fuse"):
            emotions = combine(self.fusion, self.calibration, read, voice)
            assert emotions.voice is not None  # a recording has a voice
        return Analysis(
            transcript=transcript,
            language=options.language,
            duration_s=duration_s,
            labels=self.fusion.text_labels,
            probabilities=tuple(emotions.korean.tolist()),
            text_emotion=None if emotions.text is None else _by_label(self.fusion.text_labels, emotions.text),
            voice_emotion=_by_label(self.fusion.voice_labels, emotions.voice),
            summary=summary,
            warnings=warnings(transcript, options.language, self.low_confidence) if sentences else ("no_speech",),
            models={**self.model_names, "summary": self.summarizer.model},
            timings_ms=clock.finish(),
            fused_en=_by_label(self.fusion.projection.en_labels, emotions.english),
            sentence_probabilities=tuple(read),
        )

    async def _speech(self, waveform: Waveform, options: Options, clock: _Clock) -> Transcript:
        with clock.measure("speech"):
            pcm16 = await asyncio.to_thread(waveform.to_pcm16)
            del waveform
            return await transcribe(self.stages.speech, pcm16, options.language)

    async def _features(self, waveform: Waveform, options: Options, clock: _Clock) -> NDArray[np.float32]:
        with clock.measure("features"):
            baseline = options.baseline or self.baselines.of(options.gender)
            return await asyncio.to_thread(voice_deltas, waveform, baseline, options.voice_pooling)

    async def _text(self, sentences: list[str], clock: _Clock) -> list[Probabilities]:
        if not sentences:
            return []
        with clock.measure("text"):
            return [good(result) for result in await self.stages.text.run(sentences)]

    async def _voice(self, deltas: NDArray[np.float32], transcript: Transcript, clock: _Clock) -> Vector:
        with clock.measure("voice"):
            heard = deltas[windows_with_speech(len(deltas), transcript.speech_spans)]
            mean: Vector = np.mean([good(row) for row in await self.stages.voice.run(heard)], axis=0)
            return mean

    async def _summary(self, transcript: Transcript, has_sentences: bool, options: Options, clock: _Clock) -> Summary:
        if not options.summary:
            return Summary("skipped", None, "not_requested")
        if not has_sentences:
            return Summary("skipped", None, "no_speech")
        with clock.measure("summary"):
            return await self.summarizer.summarize(transcript.text)


class _Clock:
    """Milliseconds per stage of one request."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._timings_ms: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._timings_ms[stage] = round((time.perf_counter() - start) * 1000, 2)

    def finish(self) -> dict[str, float]:
        return {**self._timings_ms, "total": round((time.perf_counter() - self._start) * 1000, 2)}


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Steps that run at once; when one fails, the others are cancelled and its own error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _by_label(labels: tuple[str, ...], vector: Vector) -> dict[str, float]:
    return dict(zip(labels, vector.tolist(), strict=True))
