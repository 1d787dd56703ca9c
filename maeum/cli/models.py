"""`maeum models`: which models are used, fetching them, checking them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from maeum.cli.terminal import printable
from maeum.errors import StartError
from maeum.models import MODEL_KINDS, ModelFolder, fetch, resolve
from maeum.models import Progress as OnProgress
from maeum.settings import ModelKind, Settings, get_settings


def list_models(arguments: argparse.Namespace) -> int:
    """Show each model's name and folder, or why it cannot be used."""
    _show(arguments)
    return 0


def verify_models(arguments: argparse.Namespace) -> int:
    """Check the models' files; the exit code is 1 when one is missing or, of a fetched model, changed."""
    return 0 if _show(arguments) else 1


def fetch_models(arguments: argparse.Namespace) -> int:
    """Fetch the hub models that the settings name.

    Raises:
        StartError: a model cannot be had; the message says what to do.
    """
    settings = _settings(arguments)

    def announce() -> None:
        folder = printable(str(settings.models_dir))
        print(f"another fetch is under way in {folder}: this one waits until it is done", file=sys.stderr)

    with _progress() as progress:
        folders = fetch(settings, _kinds(arguments), update=arguments.update, progress=progress, on_wait=announce)
    for folder in folders:
        _print_folder(folder)
    if not folders:
        print("nothing to fetch: no hub model is named; try `--profile production`", file=sys.stderr)
    return 0


def _show(arguments: argparse.Namespace) -> bool:
    settings = _settings(arguments)
    all_good = True
    for kind in _kinds(arguments):
        try:
            _print_folder(resolve(kind, settings))
        except StartError as error:
            all_good = False
            print(f"{kind:<8}{printable(settings.model_reference(kind))}  {error.code}: {error.message}")
    return all_good


def _print_folder(folder: ModelFolder) -> None:
    size = sum(path.stat().st_size for path in folder.path.iterdir() if path.is_file())
    print(f"{folder.kind:<8}{printable(folder.name)}  {size / 1e6:.1f} MB  {printable(str(folder.path))}")


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = get_settings()
    return settings.model_copy(update={"profile": arguments.profile}) if arguments.profile else settings


def _kinds(arguments: argparse.Namespace) -> tuple[ModelKind, ...]:
    return tuple(kind for kind in MODEL_KINDS if not arguments.kinds or kind in arguments.kinds)


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar for each arriving file where someone watches, else a line on stderr when a file begins."""
    tasks: dict[tuple[str, str], TaskID] = {}
    if not sys.stderr.isatty():

        def announce(kind: ModelKind, name: str, done: int, total: int) -> None:
            if (kind, name) not in tasks:
                tasks[kind, name] = TaskID(0)
                print(f"fetching {kind} {name} ({total / 1e6:.1f} MB)", file=sys.stderr)

        yield announce
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
    ) as bars:

        def update(kind: ModelKind, name: str, done: int, total: int) -> None:
            if (kind, name) not in tasks:
                tasks[kind, name] = bars.add_task(f"{kind} {name}", total=total)
            bars.update(tasks[kind, name], completed=done)

        yield update
