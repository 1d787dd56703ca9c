"""The pipeline with its models in this process: the Python call, the command line and batch jobs use it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, TypeVar, runtime_checkable

from maeum.assembly import build_pipeline, device_of_ctranslate2, load_speech, load_text, load_voice, speech_calls
from maeum.batching import batching_stages
from maeum.errors import MaeumError, UploadTooLarge
from maeum.pipeline import Analysis, Pipeline
from maeum.schemas import AnalysisBody, ContractBody
from maeum.settings import Settings, get_settings
from maeum.stages import Failure, run_isolated

_log = logging.getLogger(__name__)

# Of an archive: enough for full batches; a ten-minute recording takes up to 80 MB while it is worked on.
FILES_IN_FLIGHT = 8

Items = TypeVar("Items", bound=Any)
Result = TypeVar("Result")


@runtime_checkable
class ChunkedUpload(Protocol):
    """What Django's `UploadedFile` offers."""

    def chunks(self) -> Any:
        """Iterate over the file's bytes."""
        ...


Upload: TypeAlias = ChunkedUpload | BinaryIO | bytes | str | PathLike[str]


def _on_threads(
    name: str, engine: Callable[[Items], list[Result | Failure]], n_threads: int = 1
) -> Callable[[Items], Awaitable[list[Result | Failure]]]:
    """Call an engine on threads of its own, as many as it works on calls: more would compete for the same cores."""
    threads = ThreadPoolExecutor(n_threads, thread_name_prefix=f"maeum-{name}")

    async def call(items: Items) -> list[Result | Failure]:
        return await asyncio.get_running_loop().run_in_executor(
            threads, lambda: run_isolated(name, lambda part: engine(items[part]), len(items))
        )

    return call


def for_offline_work(settings: Settings) -> Settings:
    """The same settings without a bound of waiting: no file of an archive is refused because others go first."""
    return settings.model_copy(update={"max_latency_ms": 0})


def build_local_pipeline(settings: Settings) -> Pipeline:
    """Load the three models into this process and compose them.

    Raises:
        StartError: a model or a setting does not allow it.
    """
    n_calls = speech_calls(settings, device_of_ctranslate2(settings))
    return build_pipeline(
        settings,
        batching_stages(
            _on_threads("speech", load_speech(settings).transcribe, n_calls),
            _on_threads("text", load_text(settings).classify),
            _on_threads("voice", load_voice(settings).classify),
            settings,
            n_calls,
        ),
    )


class _Session:
    """One pipeline and the event loop that it lives on, for callers in any number of threads."""

    def __init__(self, settings: Settings) -> None:
        # Not on the caller's thread: a process that forks from a thread that has used OpenMP cannot use it again.
        with ThreadPoolExecutor(1) as loader:
            self.pipeline = loader.submit(build_local_pipeline, settings).result()
        self.max_upload_bytes = settings.max_upload_bytes
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="maeum-pipeline", daemon=True).start()

    def analyze(self, file: Upload, **fields: Any) -> Analysis:
        options = self.pipeline.options(**fields)
        data = read_upload(file, self.max_upload_bytes)
        return asyncio.run_coroutine_threadsafe(self.pipeline.analyze(data, options), self._loop).result()


_lock = threading.Lock()
_session: _Session | None = None
_inherited: list[_Session | None] = []


def _forget_session() -> None:
    """A forked child has neither the threads nor a usable lock of its parent.

    The parent's models stay referenced: freeing them would wait for threads that the child does not have.
    """
    global _session, _lock
    _inherited.append(_session)
    _lock, _session = threading.Lock(), None


os.register_at_fork(after_in_child=_forget_session)


def _get_session() -> _Session:
    global _session
    with _lock:
        if _session is None:
            _session = _Session(get_settings())
        return _session


def analyze(
    file: Upload,
    gender: str | None = "MALE",
    lang: str | None = "ko",
    *,
    summary: bool = True,
    voice_pooling: str | None = None,
    baseline: str | None = None,
) -> dict[str, Any]:
    """Analyse one recording in this process. Safe to call from several threads; models load on the first call.

    None and empty text count as not given.

    Args:
        file: anything with `.chunks()` (a Django `UploadedFile`), a binary file object, bytes, or a path.
        gender: `MALE` or `FEMALE`, any case: which baseline normalises the voice.
        lang: language code for speech-to-text.
        summary: whether to write one.
        voice_pooling: `first` or `windows`; not given: `MAEUM_VOICE_POOLING`.
        baseline: what `maeum baseline` wrote, in place of the gender's.

    Returns:
        The answer of `POST /v1/analyze`, see `maeum.schemas.AnalysisBody`.

    Raises:
        MaeumError: the file or an argument is not usable; `code`, `status` and `message` say why.
        OSError: `file` is a path that cannot be read.
        TypeError: `file` is none of those.
    """
    analysis = _get_session().analyze(
        file, gender=gender, lang=lang, summary=summary, voice_pooling=voice_pooling, baseline=baseline
    )
    return AnalysisBody.of(analysis).model_dump()


def run_pipeline_on_uploaded_file(file: Upload, gender: str | None = "MALE", lang: str | None = "ko") -> dict[str, Any]:
    """Analyse one recording as `analyze` does, with the answer of the original.

    Args:
        file: as of `analyze`.
        gender: `MALE` or `FEMALE`, any case: which baseline normalises the voice.
        lang: language code for speech-to-text.

    Returns:
        `{"summary": str, "emotion_analysis": [p0, …, p5]}`, the probabilities in the text model's label order.

    Raises:
        MaeumError: the file or an argument is not usable; `code`, `status` and `message` say why.
        OSError: `file` is a path that cannot be read.
        TypeError: `file` is none of those.
    """
    return ContractBody.of(_get_session().analyze(file, gender=gender, lang=lang)).model_dump()


def read_upload(file: Upload, max_bytes: int) -> bytes:
    """Take the bytes out of whatever a caller holds.

    Raises:
        UploadTooLarge: more than `max_bytes`.
        TypeError: `file` is none of the kinds listed.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        parts = iter([bytes(file)])
    elif isinstance(file, str | PathLike):
        parts = iter([_read_file(Path(file), max_bytes)])
    elif isinstance(file, ChunkedUpload):
        parts = iter(file.chunks())
    elif hasattr(file, "read"):
        parts = _read_parts(file, max_bytes + 1)
    else:
        raise TypeError(f"file must have chunks(), read(), or be bytes or a path, not {type(file).__name__}")
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > max_bytes:
            raise UploadTooLarge(f"the audio file is larger than {max_bytes} bytes")
    return bytes(data)


def failure_of(error: Exception) -> Failure:
    """Say why a file of an archive has no analysis: a defect on one of them must not cost the others.

    What nobody expects is logged; nothing of the file's contents is in the answer.
    """
    match error:
        case MaeumError():
            return Failure(error.code, error.message)
        case FileNotFoundError():
            return Failure("file_not_found", "there is no such file")
        case OSError():
            return Failure("unreadable_file", f"the file cannot be read: {error.strerror}")
    _log.error("event=unexpected_error", exc_info=error)
    return Failure(MaeumError.code, f"an unexpected error happened: {type(error).__name__}")


def _read_parts(file: Any, max_bytes: int) -> Iterator[bytes]:
    """Read on until the end: a raw stream may give less than it is asked for."""
    while max_bytes > 0 and (part := file.read(max_bytes)):
        max_bytes -= len(part)
        yield part


def _read_file(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(max_bytes + 1)
