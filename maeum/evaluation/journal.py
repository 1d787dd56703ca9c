"""What the models gave for each clip, kept in a file that only grows, so that no clip is computed twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maeum.assembly import device_of_ctranslate2, device_of_torch
from maeum.errors import InvalidManifest
from maeum.files import private
from maeum.model_store.files import FileEntry
from maeum.models import ModelFolder
from maeum.settings import PROJECT_DIR, ModelKind, Settings
from maeum.stages import Probabilities

JOURNAL_NAME = "predictions.jsonl"
PACKAGE_DIR = PROJECT_DIR / "maeum"

# What computes; faster-whisper also brings the weights of the voice activity detection.
_LIBRARIES = (
    *("av", "ctranslate2", "faster-whisper", "numpy", "onnxruntime", "scipy", "soundfile", "soxr", "tokenizers"),
    *("torch", "transformers"),
)

# All others may change what the models give. Weights, projection and calibration come after the models.
_SETTINGS_WITHOUT_EFFECT = frozenset(
    {
        *("profile", "speech_model", "text_model", "voice_model", "models_dir"),  # the models' files are hashed
        "device",  # what it comes to counts
        *("speech_threads", "speech_workers", "text_threads"),
        *("text_weight", "voice_weight", "text_pooling", "projection_file", "calibration"),
        *(
            "max_upload_bytes",
            "max_uploads_bytes",
            "max_sound_bytes",
            "max_duration_s",
            "max_in_flight",
            "request_timeout_s",
            "max_latency_ms",
        ),
        *("speech_batch", "text_batch", "voice_batch"),
        *("summary", "summary_model", "summary_timeout_s", "openai_api_key", "openai_base_url"),
        *("hf_endpoint", "hf_token"),
    }
)


class Prediction(BaseModel):
    """What the models gave for one clip, before votes, calibration and fusion.

    `content` is `content_of` the clip. `confidence` is the speech model's, None when nothing was said. `sentences`
    holds the text model's probabilities, a row per sentence, none when nothing was said; `voice` those of the voice
    model, None for words that nobody spoke. Both are in their models' own label order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    content: str
    transcript: str
    duration_s: float = Field(ge=0)
    confidence: float | None
    sentences: tuple[Probabilities, ...]
    voice: Probabilities | None


class _Line(Prediction):
    key: str
    path: str


def recipe(settings: Settings, folders: Mapping[ModelKind, ModelFolder], package: Path = PACKAGE_DIR) -> str:
    """A fingerprint of what decides what the models give for a recording: code, settings and weights.

    Args:
        settings: every setting counts but those that are known to change nothing.
        folders: the three models. One from the hub is known by its commit; of another every file is hashed.
        package: maeum's own folder. Every module in it counts but those that are known to change nothing.
    """
    return _digest(
        {
            "code": {str(path.relative_to(package)): FileEntry.of(path).sha256 for path in _sources(package)},
            "libraries": {name: version(name) for name in _LIBRARIES},
            "devices": [device_of_torch(settings), device_of_ctranslate2(settings)],
            "settings": settings.model_dump(mode="json", exclude=set(_SETTINGS_WITHOUT_EFFECT)),
            "models": {kind: folder.identity() for kind, folder in folders.items()},
        }
    )


def content_of(data: bytes) -> str:
    """What tells a clip from all others, whatever its path: the first 16 digits of the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def key_of(recipe: str, content: str, gender: str, language: str) -> str:
    """The name under which a clip's prediction is kept: same content, options and models, same key."""
    return _digest([recipe, content, gender, language])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sources(package: Path) -> Iterator[Path]:
    """Modules that decide predictions: not the command line and the pages, and of the evaluation only what asks."""
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] not in ("cli", "evaluation", "http"):
            yield path
    yield package / "evaluation" / "predict.py"


class Journal:
    """The file of predictions; a context manager, since it is open for writing.

    A line that a kill cut off is skipped, and computed again.

    Args:
        path: JSON Lines; made when it is not there.

    Raises:
        InvalidManifest: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._known: dict[str, Prediction] = {}
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = os.fdopen(private(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+b")
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            reason = f"{self._path} cannot be written: another run is writing it"
            raise InvalidManifest(reason, code="unwritable_output") from None
        except OSError as error:
            raise self._unwritable(error) from None
        self._stream.seek(0)
        for raw in self._stream:
            self._read(raw)
        if self._stream.seek(0, os.SEEK_END) and not raw.endswith(b"\n"):
            self._stream.write(b"\n")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stream.close()
        except OSError as reason:
            if error is None:
                raise self._unwritable(reason) from None

    def get(self, key: str) -> Prediction | None:
        """Return the prediction kept under a key."""
        return self._known.get(key)

    def put(self, key: str, path: str, prediction: Prediction) -> None:
        """Keep a prediction: it is in the file when this returns.

        Raises:
            InvalidManifest: the file cannot be written, as on a full disk.
        """
        self._known[key] = prediction
        line = _Line(key=key, path=path, **dict(prediction))
        try:
            self._stream.write(line.model_dump_json().encode() + b"\n")
            self._stream.flush()
        except OSError as reason:
            raise self._unwritable(reason) from None

    def _unwritable(self, reason: OSError) -> InvalidManifest:
        return InvalidManifest(f"{self._path} cannot be written: {reason.strerror}", code="unwritable_output")

    def _read(self, raw: bytes) -> None:
        try:
            line = _Line.model_validate_json(raw)
        except ValidationError:
            return
        self._known[line.key] = Prediction(**line.model_dump(exclude={"key", "path"}))
