"""The command line: `maeum analyze`, `maeum baseline`, `maeum evaluate`, `maeum calibrate` and `maeum models`.

Exit codes: 0 all went well, 1 a file or a model failed, 2 wrong usage, 3 the models or the settings do not allow a
start, 130 interrupted, 141 whoever read the output has left.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from maeum import __version__
from maeum.process.memory import keep_freed_memory

EXIT_USAGE = 2
EXIT_CANNOT_START = 3
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes the process's own.

    Returns:
        The exit code; see the head of this module.
    """
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nmaeum: interrupted", file=sys.stderr)
        _leave(_EXIT_INTERRUPTED)
    except BrokenPipeError:
        _leave(_EXIT_BROKEN_PIPE)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"maeum: the output cannot be written: {error.strerror}", file=sys.stderr)
        _leave(EXIT_USAGE)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="maeum", description="Korean voice diaries in, transcript and emotions out.")
    parser.add_argument("--version", action="version", version=f"maeum {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    analyze = commands.add_parser(
        "analyze",
        help="analyse recordings",
        description="Analyse recordings, several at a time, in their order, as cards to read, as JSON Lines, or into a "
        "file that an interrupted run goes on with.",
    )
    analyze.add_argument(
        "files",
        nargs="+",
        metavar="PATH",
        help="audio file (wav, flac, mp3, ogg, m4a, webm, …), or a folder with such files in it or below",
    )
    _add_gender(analyze, "which baseline normalises the voice (default: %(default)s)")
    analyze.add_argument("--lang", default="ko", help="language code for speech-to-text (default: %(default)s)")
    analyze.add_argument(
        "--voice-pooling",
        choices=("first", "windows"),
        default="",
        help="what the voice is read from: the first 3.2 s, or every 3.2 s that hold speech",
    )
    analyze.add_argument(
        "--baseline", type=Path, metavar="FILE", help="the speaker's own baseline, from `maeum baseline`"
    )
    analyze.add_argument("--no-summary", dest="summary", action="store_false", help="write no summary")
    output = analyze.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="JSON Lines on stdout: one object for each file")
    output.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="a .csv for spreadsheets, else JSON Lines; files that it has an analysis of, known by their paths as "
        "given, are left out",
    )

    baseline = commands.add_parser(
        "baseline",
        help="measure a speaker's own neutral voice",
        description="Mean and deviation, over clips of one speaker's calm voice, of each clip's mean MFCCs; no "
        "deviation is less than the gender's. `maeum analyze --baseline` and the field `baseline` apply the result.",
    )
    baseline.add_argument("clips", nargs="+", metavar="CLIP", help="audio files, at least two; five or more are better")
    _add_gender(baseline, "whose deviations are the least (default: %(default)s)")
    baseline.add_argument("--out", type=Path, required=True, metavar="FILE", help="the baseline, as JSON")

    columns = "CSV with a header: path, and any of text, emotion, gender, lang, speaker; without a path, words only"

    evaluate = commands.add_parser(
        "evaluate",
        help="measure the models on clips whose truth is known",
        description="Analyse the clips of a manifest and write metrics.json, predictions.parquet and report.html. "
        "An interrupted run goes on where it stopped.",
    )
    evaluate.add_argument("manifest", type=Path, metavar="MANIFEST", help=columns)
    evaluate.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the report")
    calibrate = commands.add_parser(
        "calibrate",
        help="fit the fusion to clips whose emotion is known",
        description="Fit temperatures and the fusion by cross-validation, and compare them with the fixed weights. "
        "MAEUM_CALIBRATION applies the result.",
    )
    calibrate.add_argument("manifest", type=Path, metavar="MANIFEST", help=columns)
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="the calibration, as JSON")

    models = commands.add_parser("models", help="list, fetch or verify the models")
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, text in (
        ("list", "show which models are used and whether they are there"),
        ("fetch", "fetch the hub models at pinned commits and lock their hashes"),
        ("verify", "compare every file with what was fetched"),
    ):
        sub = actions.add_parser(action, help=text, description=f"{text[0].upper()}{text[1:]}.")
        sub.add_argument(
            "kinds", nargs="*", metavar="KIND", type=_kind, help="speech, text or voice (default: all three)"
        )
        sub.add_argument(
            "--profile", choices=("embedded", "production"), help="take this profile's models where none is named"
        )
        if action == "fetch":
            sub.add_argument("--update", action="store_true", help="move to the commits that the revisions name by now")
    return parser


def _add_gender(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--gender", type=str.upper, choices=("MALE", "FEMALE"), default="MALE", help=meaning)


def _kind(text: str) -> str:
    # argparse's own `choices` refuses the empty list of `nargs="*"`.
    if text not in ("speech", "text", "voice"):
        raise argparse.ArgumentTypeError(f"{text!r} is none of speech, text, voice")
    return text


def _run(arguments: argparse.Namespace) -> int:
    # Here, because `--help` and `--version` need none of it.
    from maeum.cli.analyze import analyze
    from maeum.cli.baseline import baseline
    from maeum.cli.evaluate import calibrate, evaluate
    from maeum.cli.models import fetch_models, list_models, verify_models
    from maeum.errors import MaeumError, StartError
    from maeum.settings import unknown_variables

    runs = {"analyze": analyze, "baseline": baseline, "evaluate": evaluate, "calibrate": calibrate}
    actions = {"list": list_models, "fetch": fetch_models, "verify": verify_models}
    run = runs[arguments.command] if arguments.command in runs else actions[arguments.action]
    for name, meant in unknown_variables().items():
        print(f"maeum: nobody reads {name}{f'; did you mean {meant}?' if meant else ''}", file=sys.stderr)
    try:
        return run(arguments)
    except StartError as error:
        print(f"maeum: {error.message}", file=sys.stderr)
        return EXIT_CANNOT_START
    except MaeumError as error:
        print(f"maeum: {error.message} ({error.code})", file=sys.stderr)
        return EXIT_USAGE


def _leave(code: int) -> NoReturn:
    """End at once: a normal exit would wait for whatever the models' threads are in the middle of."""
    sys.stderr.flush()
    os._exit(code)
