"""`python -m benchmarks SUITE…` measures, prints a table and writes JSON; `… table` prints markdown."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from benchmarks import results
from benchmarks.clips import Clips
from benchmarks.machine import changed_settings, describe, gemm_gflops
from benchmarks.measure import Figure
from benchmarks.suite import WORK_DIR, Run, Suite
from benchmarks.suites import SUITES


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for; 0 when every suite ran, whether or not it met its targets."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for suite in SUITES.values():
            print(f"{suite.name:11} {suite.a}\n{'':11} against {suite.b} ({', '.join(suite.profiles)})")
        return 0
    if arguments.suites == ["table"]:
        table = results.markdown_table(results.read(arguments.out, SUITES))
        if arguments.readme:
            results.write_readme(table)
        else:
            print(table, end="")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped on the way out
    clips = Clips(WORK_DIR / "clips")
    missed = 0
    for name in arguments.suites or SUITES:
        suite = SUITES[name]
        for profile in [arguments.profile] if arguments.profile else suite.profiles:
            run = Run(profile, arguments.device, arguments.rounds or suite.rounds, clips, arguments.quick)
            figures = _run(suite, run, arguments.out)
            missed += sum(figure.met is False for figure in figures)
    print(f"{missed} targets missed" if missed else "all targets met")
    return 0


def _run(suite: Suite, run: Run, out: Path) -> list[Figure]:
    run.say(f"{suite.name} · {run.profile} · {run.device}")
    start = time.perf_counter()
    about = describe(run.device)
    gemm = gemm_gflops(run.device)
    figures = suite.run(run)
    head = {
        "suite": suite.name,
        "profile": run.profile,
        "device": run.device,
        "a": suite.a,
        "b": suite.b,
        "command": shlex.join(
            ["python", "-m", "benchmarks", suite.name, "--profile", run.profile, "--device", run.device]
            + (["--rounds", str(run.rounds)] if run.rounds != suite.rounds else [])
            + (["--quick"] if run.quick else [])
        ),
        "rounds": run.rounds,
        "seconds": round(time.perf_counter() - start),
        **about,
        "gemm_gflops": gemm,
        "settings": changed_settings(run.settings()),
    }
    results.write(out, head, figures)
    print("\n" + results.plain_table({**head, "figures": [figure.as_json() for figure in figures]}) + "\n", flush=True)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="all when none is named; `table` prints markdown")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--readme", action="store_true", help="with `table`: put it into README.md")
    parser.add_argument("--profile", choices=["embedded", "production-shapes"], help="default: each suite's own")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, help="rounds that count; default: each suite's own")
    parser.add_argument("--quick", action="store_true", help="a quarter of the requests: to try, not to publish")
    parser.add_argument("--out", type=Path, default=results.RESULTS_DIR, help="folder for the JSON files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
