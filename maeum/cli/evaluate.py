"""`maeum evaluate` and `maeum calibrate`: how good the models are on clips whose truth is known, and a calibration."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from maeum.cli.outputs import check_replaceable, writing
from maeum.cli.terminal import OutputConsole, printable, reconfigure_stdout
from maeum.errors import StartError
from maeum.files import replacing
from maeum.settings import get_settings

if TYPE_CHECKING:
    from maeum.calibration import Calibration
    from maeum.evaluation.manifest import Manifest
    from maeum.evaluation.run import Evaluation

_EXTRA = ("jiwer", "matplotlib", "pyarrow", "sklearn")


def evaluate(arguments: argparse.Namespace) -> int:
    """Run the pipeline over `arguments.manifest` and write the report into the folder `arguments.out`.

    Returns:
        0, or 1 when a clip failed.

    Raises:
        StartError: a model or a setting does not allow a start.
        InvalidManifest: the manifest is not usable, or the folder cannot be written.
    """
    _check_extra()
    from maeum.calibration import Calibration
    from maeum.evaluation.journal import JOURNAL_NAME
    from maeum.evaluation.predict import Models, predict
    from maeum.evaluation.run import judge, write_report

    settings = get_settings()
    models = Models.find(settings)
    calibration = Calibration.load(settings.calibration)
    if calibration is not None:
        calibration.check_fits(models.fusion, models.identities, models.voice_pooling)
    manifest = models.read_manifest(arguments.manifest)
    _name_ignored(manifest)
    with _progress(len(manifest.clips)) as on_done:
        outcomes = predict(manifest.clips, models, settings, arguments.out / JOURNAL_NAME, on_done)
    evaluation = judge(manifest.path, manifest.clips, outcomes, models, calibration)
    with writing(arguments.out):
        write_report(evaluation, models, arguments.out)
    for note in evaluation.notes:
        print(f"maeum: {note}", file=sys.stderr)
    for one in evaluation.failed:
        print(f"{printable(one.clip.path)}: {one.message} ({one.code})", file=sys.stderr)
    _print_evaluation(evaluation)
    print(f"wrote {printable(str(arguments.out / 'report.html'))}")
    return 1 if evaluation.failed else 0


def calibrate(arguments: argparse.Namespace) -> int:
    """Fit a calibration on `arguments.manifest` and write it to the file `arguments.out`.

    Predictions are kept beside that file, where `maeum evaluate --out` of the same folder finds them, and the other
    way round.

    Returns:
        0, or 1 when a clip failed.

    Raises:
        StartError: a model or a setting does not allow a start.
        InvalidManifest: the manifest is not usable or holds too little, or the file cannot be written.
    """
    _check_extra()
    from maeum.evaluation.calibrate import calibrate as fit
    from maeum.evaluation.calibrate import check_clips
    from maeum.evaluation.journal import JOURNAL_NAME
    from maeum.evaluation.predict import Models, predict
    from maeum.stages import Failure

    settings = get_settings()
    check_replaceable(arguments.out, "a calibration", ["version", "space", "fusion"])
    models = Models.find(settings)
    manifest = models.read_manifest(arguments.manifest)
    _name_ignored(manifest)
    clips = [clip for clip in manifest.clips if clip.emotion is not None and clip.file is not None]
    check_clips(clips, models.fusion)
    with _progress(len(clips)) as on_done:
        outcomes = predict(clips, models, settings, arguments.out.parent / JOURNAL_NAME, on_done)
    failed = [
        (clip.path, outcome) for clip, outcome in zip(clips, outcomes, strict=True) if isinstance(outcome, Failure)
    ]
    for path, failure in failed:
        print(f"{printable(path)}: {failure.message} ({failure.code})", file=sys.stderr)
    calibration = fit(clips, outcomes, models)
    with writing(arguments.out), replacing(arguments.out) as stream:
        stream.write(f"{calibration.model_dump_json(indent=2)}\n".encode())
    _print_calibration(calibration)
    print(f"wrote {printable(str(arguments.out))}; MAEUM_CALIBRATION={printable(str(arguments.out))} applies it")
    return 1 if failed else 0


def _check_extra() -> None:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(f"{', '.join(missing)} is not installed: run `pip install -e '.[evaluate]'`")


def _name_ignored(manifest: Manifest) -> None:
    from maeum.evaluation.manifest import COLUMNS

    if not manifest.ignored_columns:
        return
    meant = {column: get_close_matches(column, COLUMNS, 1) for column in manifest.ignored_columns}
    named = [f"{column} (did you mean {close[0]}?)" if close else column for column, close in meant.items()]
    print(f"maeum: nobody reads the columns {printable(', '.join(named))}", file=sys.stderr)


@contextmanager
def _progress(n_clips: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr where someone watches."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("analysing", total=n_clips)
        yield lambda: progress.advance(task)


def _print_evaluation(evaluation: Evaluation) -> None:
    from maeum.evaluation.report import interval, number

    console = _console()
    console.print(Text(f"{len(evaluation.outcomes)} clips, {len(evaluation.failed)} failed"))
    if evaluation.transcripts is not None:
        said = evaluation.transcripts
        table = _table("transcripts", "clips", "CER", "CER without spaces", "WER")
        table.add_row("", str(said.n_clips), *map(interval, (said.cer, said.cer_without_spaces, said.wer)))
        console.print(table)
    for space, scores in evaluation.emotions.items():
        table = _table(f"{space} labels", "clips", "accuracy", "macro-F1", "UAR", "ECE", "AURC")
        details = _table("label by label", "label", "clips", "precision", "recall")
        for name, one in scores.by_modality.items():
            if one is None:
                continue
            figures = map(interval, (one.accuracy, one.macro_f1, one.uar))
            table.add_row(name, str(one.n_clips), *figures, number(one.ece), number(one.aurc))
            for label, each in one.per_label.items():
                details.add_row(name, Text(label), str(each.n_clips), number(each.precision), number(each.recall))
        console.print(table)
        compared = _table("on the same clips", "clips", "accuracy", "macro-F1", "UAR")
        for name, less in scores.fused_less.items():
            if less is not None:
                figures = map(interval, (less.accuracy, less.macro_f1, less.uar))
                compared.add_row(f"fused less {name}", str(less.n_clips), *figures)
        console.print(*([compared] if compared.row_count else []), details)


def _print_calibration(calibration: Calibration) -> None:
    fit, stacked = calibration.fit, calibration.stacked
    assert fit is not None
    assert stacked is not None
    console = _console()
    counts = ", ".join(f"{label} {count}" for label, count in fit.n_clips_per_label.items())
    apart = "no speaker on both sides" if fit.speakers_kept_apart else "speakers not kept apart"
    console.print(Text(f"{fit.n_clips} clips ({printable(counts)}), {fit.n_without_speech} more without words"))
    table = _table(f"{fit.n_folds} folds, {apart}", "accuracy", "macro-F1", "UAR", "log loss", "ECE")
    for way, quality in fit.quality.items():
        name = "fixed 0.7/0.3, votes" if way == "fixed" else way
        table.add_row(name, *(f"{figure:.3f}" for figure in dict(quality).values()))
    console.print(table)
    console.print(
        Text(
            f"temperature of text {calibration.text_temperature:.2f}, of voice {calibration.voice_temperature:.2f}; "
            f"weights {calibration.text_weight:.2f} and {calibration.voice_weight:.2f}; "
            f"stacked regression regularised with C = {stacked.regularisation_c:g}"
            f"{', on standardised features' if stacked.standardised else ''}\nchosen: {fit.reason}"
        )
    )
    for warning in fit.warnings:
        print(f"maeum: {printable(warning)}", file=sys.stderr)


def _table(*columns: str) -> Table:
    table = Table()
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _console() -> Console:
    reconfigure_stdout(errors="replace")
    return OutputConsole(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)
