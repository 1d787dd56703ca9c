"""Results files, and the tables made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure
from maeum.settings import PROJECT_DIR

RESULTS_DIR = Path(__file__).resolve().parent / "results"


def write(folder: Path, head: dict[str, Any], figures: Iterable[Figure]) -> Path:
    """Write one suite's result to `<suite>-<profile>-<device>.json`.

    Args:
        folder: made when it is not there.
        head: suite, profile, device, command, machine, versions, settings.
        figures: the lines of the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{head['suite']}-{head['profile']}-{head['device']}.json"
    content = {**head, "figures": [figure.as_json() for figure in figures]}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def read(folder: Path, order: Iterable[str] = ()) -> list[dict[str, Any]]:
    """All results of a folder, suites in the given order, embedded models and CPUs first."""
    places = {name: place for place, name in enumerate(order)}
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return sorted(results, key=lambda r: (r["profile"], r["device"], places.get(r["suite"], len(places))))


def plain_table(result: dict[str, Any]) -> str:
    """One suite's lines for a terminal."""
    head = ["", "A", "B", "value", "rounds from – to", "target", ""]
    rows = [head] + [_cells(figure, met=("met", "MISSED")) for figure in result["figures"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        f"{result['suite']} · {result['profile']} · {result['device']}",
        f"  A: {result['a']}",
        f"  B: {result['b']}",
    ]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(results: Iterable[dict[str, Any]]) -> str:
    """The README's tables, by profile and device, with the machine and the command above each.

    Of a suite that has targets, its first figure, what they are set on and what limits it. A suite without any that
    compares several things with one (`thing: figure`) gets a table of its own, with a line for each of them.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["profile"], result["device"]), []).append(result)
    return "\n\n".join(_group(profile, device, members) for (profile, device), members in groups.items()) + "\n"


def _group(profile: str, device: str, results: list[dict[str, Any]]) -> str:
    machine = results[0]["machine"]
    on = machine["gpu"] if device == "cuda" else f"{machine['cores']} cores of {machine['cpu']}"
    lines = [
        f"`{command(results, profile, device)}`: {profile.replace('-', ' ')}, {on}, {_commits(results)}.",
        "",
        "| suite | A against B | A | B | result | rounds | target | |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    grids = []
    for result in results:
        first, *others = result["figures"]
        judged = [figure for figure in others if "target" in figure or "limit" in figure]
        if not judged and "target" not in first:
            if all(": " in figure["case"] for figure in result["figures"]):
                grids.append(_grid(result))
                continue
            judged = others
        for figure in (first, *judged):
            case, *rest = _cells(figure, met=("✓", "✗"))
            suite = f"**{result['suite']}**" if figure is first else ""
            lines.append(f"| {suite} | {case} | {' | '.join(rest)} |")
    return "\n\n".join(["\n".join(lines), *grids])


def _commits(results: list[dict[str, Any]]) -> str:
    """Which code was measured; of several commits, with the suites of each."""
    suites: dict[str, list[str]] = {}
    for result in results:
        suites.setdefault(result["commit"], []).append(result["suite"])
    if len(suites) == 1:
        return f"commit {next(iter(suites))}"
    return "commits " + ", ".join(f"{commit} ({' '.join(names)})" for commit, names in suites.items())


def _grid(result: dict[str, Any]) -> str:
    """One line for everything that a suite compares with its B, from cases called `line: column`."""
    columns: dict[str, str] = {}  # to what B has there
    cells: dict[str, dict[str, str]] = {}
    for figure in result["figures"]:
        line, _, column = figure["case"].partition(": ")
        value = _number(figure["value"], figure.get("unit", ""))
        unit = figure.get("ab_unit", "")
        columns[column] = _number(figure.get("b"), unit)
        cells.setdefault(line, {})[column] = f"{_number(figure['a'], unit)}, {value}" if "a" in figure else value
    lines = [
        f"| **{result['suite']}**: {result['a']} | {' | '.join(columns)} |",
        f"|---|{'--:|' * len(columns)}",
        f"| {result['b']} | {' | '.join(columns.values())} |",
        *(f"| `{name}` | {' | '.join(mine.get(column, '') for column in columns)} |" for name, mine in cells.items()),
    ]
    return "\n".join(lines)


def write_readme(table: str, path: Path = PROJECT_DIR / "README.md") -> None:
    """Put the tables between README's markers."""
    begin, end = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{table.strip()}\n{end}{after}", encoding="utf-8")


def command(results: list[dict[str, Any]], profile: str, device: str) -> str:
    """The command that makes these results again."""
    names = " ".join(result["suite"] for result in results)
    return f"python -m benchmarks {names} --profile {profile} --device {device}"


def _cells(figure: dict[str, Any], met: tuple[str, str]) -> list[str]:
    unit = figure.get("unit", "")
    low, high = figure.get("low"), figure.get("high")
    target = figure.get("target")
    sign = "≥" if figure.get("better") == "higher" else "≤"
    return [
        figure["case"],
        _number(figure.get("a"), figure.get("ab_unit", "")),
        _number(figure.get("b"), figure.get("ab_unit", "")),
        _number(figure["value"], unit),
        "" if low is None or high is None else f"{_number(low, '')} – {_number(high, '')}",
        "" if target is None else f"{sign} {_number(target, unit)}",
        "" if target is None else met[not figure["met"]],
    ]


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    else:
        text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{text} ×" if unit == "x" else f"{text} {unit}".strip()
