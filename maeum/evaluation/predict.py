"""Predictions for a manifest: the one place where evaluation and calibration ask the models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maeum.assembly import build_fusion
from maeum.evaluation.journal import Journal, Prediction, content_of, key_of, recipe
from maeum.evaluation.manifest import Clip, Manifest, read_manifest
from maeum.evidence import confidence
from maeum.fusion import Fusion
from maeum.local import FILES_IN_FLIGHT, build_local_pipeline, failure_of, for_offline_work, read_upload
from maeum.models import MODEL_KINDS, ModelFolder, resolve
from maeum.pipeline import Pipeline
from maeum.settings import ModelKind, Settings
from maeum.speech_languages import supported_languages
from maeum.stages import Failure, good


@dataclass(frozen=True, slots=True)
class Models:
    """The models that the settings name, read but not loaded, and how they are brought together."""

    folders: Mapping[ModelKind, ModelFolder]
    fusion: Fusion
    languages: frozenset[str]
    voice_pooling: Literal["first", "windows"]

    @property
    def names(self) -> dict[ModelKind, str]:
        """How answers name them."""
        return {kind: folder.name for kind, folder in self.folders.items()}

    @property
    def identities(self) -> dict[str, str]:
        """What they are, for a calibration: with other weights it is not theirs."""
        return {kind: folder.identity() for kind, folder in self.folders.items()}

    @classmethod
    def find(cls, settings: Settings) -> Models:
        """Find the models and read their labels and languages.

        Raises:
            StartError: a model is missing or invalid, or does not fit the projection.
        """
        folders = {kind: resolve(kind, settings) for kind in MODEL_KINDS}
        fusion = build_fusion(settings, folders["text"], folders["voice"])
        return cls(folders, fusion, supported_languages(folders["speech"].path), settings.voice_pooling)

    def read_manifest(self, path: Path) -> Manifest:
        """Read a manifest whose labels and languages these models know.

        Raises:
            InvalidManifest: see `maeum.evaluation.manifest.read_manifest`.
        """
        return read_manifest(path, self.fusion, self.languages)


def predict(
    clips: Sequence[Clip],
    models: Models,
    settings: Settings,
    journal_path: Path,
    on_done: Callable[[], None] = lambda: None,
) -> list[Prediction | Failure]:
    """Ask the models about every clip that the journal does not know yet.

    The models are loaded when the first such clip comes. A clip that fails is not kept: the next run tries it again.

    Args:
        clips: of a manifest.
        models: from `Models.find` with the same settings.
        settings: calibration, summary and the bound of waiting in them are not used.
        journal_path: where predictions are kept.
        on_done: called whenever a clip is done, in any order.

    Returns:
        One prediction or failure per clip, in order.

    Raises:
        StartError: a model cannot be loaded.
        InvalidManifest: the journal cannot be written.
    """
    with Journal(journal_path) as journal:
        run = _Run(settings, recipe(settings, models.folders), journal, on_done)
        return asyncio.run(run.all(clips))


class _Run:
    def __init__(self, settings: Settings, recipe: str, journal: Journal, on_done: Callable[[], None]) -> None:
        self._settings = for_offline_work(settings).model_copy(update={"calibration": None, "summary": "off"})
        self._recipe, self._journal, self._on_done = recipe, journal, on_done
        self._loading = asyncio.Lock()
        self._pipeline: Pipeline | None = None

    async def all(self, clips: Sequence[Clip]) -> list[Prediction | Failure]:
        outcomes: dict[int, Prediction | Failure] = {}
        queue = iter(enumerate(clips))
        await asyncio.gather(*(self._work(queue, outcomes) for _ in range(FILES_IN_FLIGHT)))
        return [outcomes[index] for index in range(len(clips))]

    async def _work(self, queue: Iterator[tuple[int, Clip]], outcomes: dict[int, Prediction | Failure]) -> None:
        for index, clip in queue:
            outcomes[index] = await self._one(clip)
            self._on_done()

    async def _one(self, clip: Clip) -> Prediction | Failure:
        try:
            data = await asyncio.to_thread(_read, clip, self._settings.max_upload_bytes)
        except Exception as error:
            return failure_of(error)
        content = content_of(data)
        key = key_of(self._recipe, content, clip.gender or "", clip.language if clip.file else "words")
        known = self._journal.get(key)
        if known is not None:
            return known
        pipeline = await self._load()
        try:
            prediction = await _ask(pipeline, data, content, clip)
        except Exception as error:
            return failure_of(error)
        self._journal.put(key, clip.path, prediction)
        return prediction

    async def _load(self) -> Pipeline:
        async with self._loading:
            if self._pipeline is None:
                self._pipeline = await asyncio.to_thread(build_local_pipeline, self._settings)
            return self._pipeline


def _read(clip: Clip, max_upload_bytes: int) -> bytes:
    """A clip's audio, or where there is none its words, which the text model reads as one sentence."""
    return str(clip.text).encode() if clip.file is None else read_upload(clip.file, max_upload_bytes)


async def _ask(pipeline: Pipeline, data: bytes, content: str, clip: Clip) -> Prediction:
    if clip.file is None:
        text = data.decode()
        rows = [good(row) for row in await pipeline.stages.text.run([text])]
        return Prediction(
            content=content, transcript=text, duration_s=0.0, confidence=None, sentences=tuple(rows), voice=None
        )
    analysis = await pipeline.analyze(data, pipeline.options(clip.gender or "", clip.language, summary=False))
    return Prediction(
        content=content,
        transcript=analysis.transcript.text,
        duration_s=analysis.duration_s,
        confidence=confidence(analysis.transcript.segments),
        sentences=analysis.sentence_probabilities,
        voice=tuple(analysis.voice_emotion.values()),
    )
