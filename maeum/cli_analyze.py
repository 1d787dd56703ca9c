"""`maeum analyze`: recordings in, cards or JSON Lines out."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from maeum.errors import InvalidField
from maeum.settings import get_settings

if TYPE_CHECKING:
    from maeum.pipeline import Options, Pipeline
    from maeum.schemas import AnalysisBody, ErrorDetail

# Enough for full batches; a ten-minute recording takes up to 80 MB while it is worked on.
FILES_IN_FLIGHT = 8


def analyze(arguments: argparse.Namespace) -> int:
    """Analyse `arguments.files` and write each outcome as soon as those before it are written.

    Returns:
        0, or 1 when a file failed.

    Raises:
        StartError: a model or a setting does not allow a start.
        MaeumError: the options do not fit the models.
    """
    baseline = read_baseline(arguments.baseline) if arguments.baseline else ""
    with _Report(len(arguments.files), as_json=arguments.json) as report:
        # Here, because the models' libraries take seconds to import.
        from maeum.local import build_local_pipeline

        settings = get_settings()
        pipeline = build_local_pipeline(settings)
        options = pipeline.options(
            arguments.gender, arguments.lang, arguments.summary, arguments.voice_pooling, baseline
        )
        report.models_loaded()

        async def run() -> int:
            n_failed = 0
            outcomes = analyze_files(
                pipeline, options, arguments.files, settings.max_upload_bytes, on_done=report.file_done
            )
            async for file, outcome in outcomes:
                n_failed += not report.write(file, outcome)
            return n_failed

        return 1 if asyncio.run(run()) else 0


def read_baseline(path: Path) -> str:
    """The text of a file that `maeum baseline` wrote.

    Raises:
        InvalidField: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidField(f"the baseline {path.name} cannot be read", code="invalid_baseline") from error


async def analyze_files(
    pipeline: Pipeline,
    options: Options,
    files: Sequence[str],
    max_upload_bytes: int,
    *,
    on_done: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[str, AnalysisBody | ErrorDetail]]:
    """Analyse files, up to `FILES_IN_FLIGHT` at a time so that the models see batches.

    Args:
        pipeline: the models.
        options: the same for all files.
        files: paths as the user wrote them.
        max_upload_bytes: largest accepted file in bytes.
        on_done: called whenever a file is done, in any order.

    Yields:
        Each file with its analysis, or with why there is none, in the order of `files`.
    """
    limit = asyncio.Semaphore(FILES_IN_FLIGHT)

    async def run(file: str) -> AnalysisBody | ErrorDetail:
        async with limit:
            outcome = await _analyze_file(pipeline, options, file, max_upload_bytes)
            on_done()
            return outcome

    tasks = [asyncio.create_task(run(file)) for file in files]
    try:
        for file, task in zip(files, tasks, strict=True):
            yield file, await task
    finally:
        for task in tasks:
            task.cancel()


async def _analyze_file(
    pipeline: Pipeline, options: Options, file: str, max_upload_bytes: int
) -> AnalysisBody | ErrorDetail:
    from maeum.local import failure_of, read_upload
    from maeum.schemas import AnalysisBody, ErrorDetail

    try:
        data = await asyncio.to_thread(read_upload, Path(file), max_upload_bytes)
        return AnalysisBody.of(await pipeline.analyze(data, options))
    except Exception as error:
        failure = failure_of(error)
        return ErrorDetail(code=failure.code, message=failure.message)


class _Report:
    """Writes outcomes, and shows on stderr how far the work is where someone watches."""

    def __init__(self, n_files: int, *, as_json: bool) -> None:
        self._n_files, self._as_json = n_files, as_json
        if as_json:
            _reconfigure(encoding="utf-8")  # JSON is UTF-8 whatever the terminal speaks
        else:
            _reconfigure(errors="replace")
        self._console = Console(highlight=False, emoji=False)
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                *([BarColumn(), MofNCompleteColumn()] if n_files > 1 else []),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
            )
            self._task = self._progress.add_task("loading the models", total=None)

    def __enter__(self) -> _Report:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def models_loaded(self) -> None:
        if self._progress:
            self._progress.update(self._task, description="analysing", total=self._n_files)

    def file_done(self) -> None:
        if self._progress:
            self._progress.advance(self._task)

    def write(self, file: str, outcome: AnalysisBody | ErrorDetail) -> bool:
        """Write one file's outcome and tell whether it is an analysis."""
        from maeum.cards import print_card, printable
        from maeum.schemas import AnalysisBody

        name = os.fsencode(file).decode("utf-8", errors="replace")
        failed = not isinstance(outcome, AnalysisBody)
        with self._paused():
            if self._as_json:
                body = {"error": outcome.model_dump()} if failed else outcome.model_dump()
                print(json.dumps({"file": name, **body}, ensure_ascii=False), flush=True)
            elif isinstance(outcome, AnalysisBody):
                print_card(self._console, name, outcome)
                sys.stdout.flush()
            else:
                print(f"{printable(name)}: {outcome.message} ({outcome.code})", file=sys.stderr)
        return not failed

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Take the progress bar away, since stdout may be the same terminal."""
        if not self._progress:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


def _reconfigure(**options: str) -> None:
    # Not every stand-in for stdout can be reconfigured.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(**options)
