"""From settings to engines and to a pipeline: the one place where models, labels and weights come together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maeum.audio.features import Baselines, VoicePooling
from maeum.calibration import Calibration
from maeum.errors import InvalidConfiguration
from maeum.evidence import read_low_confidence
from maeum.fusion import Fusion, Projection
from maeum.labels import read_text_labels, read_voice_labels
from maeum.models import ModelFolder, resolve
from maeum.pipeline import Pipeline
from maeum.process.cores import available_cores
from maeum.room import SoundRoom
from maeum.settings import Settings
from maeum.speech_languages import supported_languages
from maeum.stages import Stages
from maeum.summary import Summarizer

if TYPE_CHECKING:
    from maeum.engines.speech import SpeechEngine
    from maeum.engines.text import TextEngine
    from maeum.engines.voice import VoiceEngine


_SMALL_SPEECH_MODEL_BYTES, _LARGE_SPEECH_MODEL_BYTES = 150 * 10**6, 600 * 10**6
"""Whisper base has up to 145 MB, small 250 (int8) or 484 (float16), medium 770 or more."""
_MAX_SPEECH_CALLS = 4


def build_pipeline(settings: Settings, stages: Stages) -> Pipeline:
    """Compose stages into a pipeline. Loads no weights; a calibration reads those of folders, to know its own.

    Raises:
        StartError: a model is missing or invalid, has a label that the projection does not know, or is not what the
            calibration was fitted for.
    """
    parts = _read_parts(settings)
    return Pipeline(
        stages=stages,
        summarizer=Summarizer(settings),
        fusion=parts.fusion,
        baselines=parts.baselines,
        languages=parts.languages,
        model_names=parts.model_names,
        max_duration_s=settings.max_duration_s,
        calibration=parts.calibration,
        low_confidence=parts.low_confidence,
        voice_pooling=VoicePooling(settings.voice_pooling),
        room=SoundRoom(settings.max_sound_bytes),
    )


def check_start(settings: Settings) -> None:
    """Find what would keep the service from starting, but for the weights: every process does it.

    Raises:
        StartError: as `build_pipeline`.
    """
    _read_parts(settings)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a pipeline needs of the three models beside their weights."""

    fusion: Fusion
    baselines: Baselines
    languages: frozenset[str]
    model_names: dict[str, str]
    calibration: Calibration | None
    low_confidence: float


def _read_parts(settings: Settings) -> _Parts:
    # Who loads the weights checks their hashes.
    speech, text, voice = (resolve(kind, settings, check_hashes=False) for kind in ("speech", "text", "voice"))
    fusion = build_fusion(settings, text, voice)
    model_names: dict[str, str] = {folder.kind: folder.name for folder in (speech, text, voice)}
    calibration = Calibration.load(settings.calibration)
    if calibration is not None:
        identities: dict[str, str] = {folder.kind: folder.identity() for folder in (speech, text, voice)}
        calibration.check_fits(fusion, identities, settings.voice_pooling)
    return _Parts(
        fusion,
        Baselines.load(voice.path),
        supported_languages(speech.path),
        model_names,
        calibration,
        read_low_confidence(speech.path),
    )


def build_fusion(settings: Settings, text: ModelFolder, voice: ModelFolder) -> Fusion:
    """Read the labels of both models and match them to the projection.

    Raises:
        StartError: the labels or the projection file are not valid, or do not fit each other.
    """
    return Fusion(
        Projection.load(settings.projection_file),
        read_text_labels(text.path),
        read_voice_labels(voice.path),
        settings.text_weight,
        settings.voice_weight,
        settings.text_pooling,
    )


def load_speech(settings: Settings) -> SpeechEngine:
    """Load the speech model and let it answer once."""
    from maeum.engines.speech import SpeechEngine

    folder = resolve("speech", settings).path
    device = device_of_ctranslate2(settings)
    workers = _speech_workers(settings, device)
    engine = SpeechEngine(
        folder,
        device=device,
        threads=max(1, _speech_threads(settings) // workers),
        workers=workers,
        max_windows=settings.speech_batch,
        window=settings.speech_window,
        low_confidence=read_low_confidence(folder),
    )
    engine.warm_up()
    return engine


def speech_calls(settings: Settings, device: str) -> int:
    """How many calls the speech model works on at a time: a worker each, but so few that calls hold several recordings.

    Args:
        settings: name the model.
        device: where it runs; of `auto` the most that it can be.

    Raises:
        StartError: the model is missing.
    """
    return min(_MAX_SPEECH_CALLS, _speech_workers(settings, device))


def _speech_workers(settings: Settings, device: str) -> int:
    """How many batches of windows the model decodes side by side."""
    if device == "cuda":
        return 1
    weights = resolve("speech", settings, check_hashes=False).path / "model.bin"
    model_bytes = weights.stat().st_size if weights.is_file() else 0
    return settings.speech_workers or default_speech_workers(model_bytes, _speech_threads(settings))


def _speech_threads(settings: Settings) -> int:
    return settings.speech_threads or available_cores()


def default_speech_workers(model_bytes: int, threads: int) -> int:
    """How many windows are best decoded side by side on so many threads.

    Threads that share the small products of a small model wait for each other more than they work: one each is faster,
    also for a single window. A larger one keeps four busy. Of Whisper small two side by side do an eighth more on two
    cores, where one alone then takes a third longer; of larger ones a window should not take half a minute.

    Args:
        model_bytes: size of its weights; 0 when there are none, of which the engine complains.
        threads: at hand.
    """
    if model_bytes < _SMALL_SPEECH_MODEL_BYTES:
        return threads
    at_least = 2 if model_bytes < _LARGE_SPEECH_MODEL_BYTES else 1
    return min(threads, max(at_least, threads // 4))


def load_text(settings: Settings) -> TextEngine:
    """Load the text model and let it answer once."""
    from maeum.engines.text import TextEngine

    engine = TextEngine(
        resolve("text", settings).path,
        device=device_of_torch(settings),
        threads=settings.text_threads or available_cores(),
        precision=settings.text_precision,
    )
    engine.warm_up()
    return engine


def load_voice(settings: Settings) -> VoiceEngine:
    """Load the voice model and let it answer once."""
    from maeum.engines.voice import VoiceEngine

    engine = VoiceEngine(resolve("voice", settings).path, device=device_of_torch(settings))
    engine.warm_up()
    return engine


def device_of_torch(settings: Settings) -> str:
    """Where the text and the voice model run: `cpu` or `cuda`.

    Raises:
        InvalidConfiguration: a GPU is asked for, and torch finds none.
    """
    import torch

    return _device(settings, "torch", there_is_one=torch.cuda.is_available())


def device_of_ctranslate2(settings: Settings) -> str:
    """Where the speech model runs: `cpu`, in 8 bits, or `cuda`, in float16.

    Raises:
        InvalidConfiguration: a GPU is asked for, and CTranslate2 finds none.
    """
    import ctranslate2

    return _device(settings, "CTranslate2", there_is_one=ctranslate2.get_cuda_device_count() > 0)


def _device(settings: Settings, library: str, *, there_is_one: bool) -> str:
    if settings.device == "cuda" and not there_is_one:
        raise InvalidConfiguration(f"MAEUM_DEVICE: {library} finds no GPU; auto takes one where there is one")
    return "cuda" if there_is_one and settings.device != "cpu" else "cpu"
