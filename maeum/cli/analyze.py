"""`maeum analyze`: recordings in; cards, JSON Lines or a spreadsheet out."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from maeum.cli.cards import print_card
from maeum.cli.recordings import Results, as_json, find_recordings
from maeum.cli.terminal import OutputConsole, printable, reconfigure_stdout
from maeum.errors import InvalidField
from maeum.files import as_text
from maeum.local import FILES_IN_FLIGHT, build_local_pipeline, failure_of, for_offline_work, read_upload
from maeum.schemas import AnalysisBody, ErrorDetail
from maeum.settings import get_settings

if TYPE_CHECKING:
    from maeum.pipeline import Options, Pipeline

# Done or under way behind one that takes long: an archive's analyses are not all kept until its end.
_FILES_AHEAD = 8 * FILES_IN_FLIGHT


def analyze(arguments: argparse.Namespace) -> int:
    """Analyse `arguments.files` and write each outcome as soon as those before it are written.

    Returns:
        0, or 1 when a file failed.

    Raises:
        StartError: a model or a setting does not allow a start.
        MaeumError: the options do not fit the models, a folder holds no recordings, or the output is not writable.
    """
    baseline = read_baseline(arguments.baseline) if arguments.baseline else ""
    files = find_recordings(arguments.files)
    with _Report(len(files), as_json=arguments.json) as report, ExitStack() as opened:
        settings = for_offline_work(get_settings())
        pipeline = build_local_pipeline(settings)
        options = pipeline.options(
            arguments.gender, arguments.lang, arguments.summary, arguments.voice_pooling, baseline
        )
        left = files
        if arguments.out:
            labels = pipeline.fusion.text_labels, pipeline.fusion.voice_labels
            results = report.results = opened.enter_context(Results(arguments.out, *labels))
            files = list(dict.fromkeys(files))
            left = [file for file in files if not results.has(file)]
        report.models_loaded(len(left))

        async def run() -> int:
            n_failed = 0
            outcomes = analyze_files(pipeline, options, left, settings.max_upload_bytes, on_done=report.file_done)
            async for file, outcome in outcomes:
                n_failed += not report.write(file, outcome)
            return n_failed

        n_failed = asyncio.run(run())
    if arguments.out:
        before = f", {len(files) - len(left)} were there before" if len(left) < len(files) else ""
        done = f"analysed {len(left)}, of which {n_failed} failed{before}"
        print(f"{done}; wrote {printable(str(arguments.out))}")
    return 1 if n_failed else 0


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
) -> AsyncGenerator[tuple[str, AnalysisBody | ErrorDetail], None]:
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

    ahead: deque[tuple[str, asyncio.Task[AnalysisBody | ErrorDetail]]] = deque()
    coming = iter(files)
    try:
        while True:
            ahead.extend((file, asyncio.create_task(run(file))) for file in islice(coming, _FILES_AHEAD - len(ahead)))
            if not ahead:
                return
            file, task = ahead[0]
            outcome = await task
            ahead.popleft()
            yield file, outcome
    finally:
        for _, task in ahead:
            task.cancel()


async def _analyze_file(
    pipeline: Pipeline, options: Options, file: str, max_upload_bytes: int
) -> AnalysisBody | ErrorDetail:
    try:
        data = await asyncio.to_thread(read_upload, Path(file), max_upload_bytes)
        return AnalysisBody.of(await pipeline.analyze(data, options))
    except Exception as error:
        failure = failure_of(error)
        return ErrorDetail(code=failure.code, message=failure.message)


class _Report:
    """Writes outcomes, and shows on stderr how far the work is where someone watches."""

    def __init__(self, n_files: int, *, as_json: bool) -> None:
        self._as_json = as_json
        self.results: Results | None = None
        if as_json:
            reconfigure_stdout(encoding="utf-8")  # JSON is UTF-8 whatever the terminal speaks
        else:
            reconfigure_stdout(errors="replace")
        self._console = OutputConsole(highlight=False, emoji=False)
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                *([BarColumn(), MofNCompleteColumn()] if n_files > 1 else []),
                TimeElapsedColumn(),
                *([TextColumn("· left"), TimeRemainingColumn()] if n_files > 1 else []),
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

    def models_loaded(self, n_files: int) -> None:
        if self._progress:
            self._progress.update(self._task, description="analysing", total=n_files)

    def file_done(self) -> None:
        if self._progress:
            self._progress.advance(self._task)

    def write(self, file: str, outcome: AnalysisBody | ErrorDetail) -> bool:
        """Write one file's outcome and tell whether it is an analysis."""
        name = as_text(file)
        answered = isinstance(outcome, AnalysisBody)
        if self.results and isinstance(outcome, AnalysisBody):
            self.results.write(file, outcome)
            return True
        with self._paused():
            if self._as_json:
                print(as_json(name, outcome), flush=True)
            elif isinstance(outcome, AnalysisBody):
                print_card(self._console, name, outcome)
                sys.stdout.flush()
            else:
                print(f"{printable(name)}: {outcome.message} ({outcome.code})", file=sys.stderr)
        return answered

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
