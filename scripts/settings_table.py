"""Write the README's configuration table from `Settings`: `python scripts/settings_table.py [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import annotated_types
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from maeum.settings import PROJECT_DIR, Settings

README = PROJECT_DIR / "README.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->"


def table() -> str:
    """A Markdown table of every setting: variable, default, bounds and meaning."""
    rows = ["| variable | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{_variable(name, field)}` | {_default(field)} | {_allowed(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def with_table(readme: str) -> str:
    """The README with the table between its markers made anew."""
    head, rest = readme.split(BEGIN)
    return head + BEGIN + table() + END + rest.split(END, 1)[1]


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"MAEUM_{name.upper()}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, Path):
        value = value.relative_to(PROJECT_DIR)
    return "–" if value in (None, "") else f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    if choices := [choice for choice in get_args(field.annotation) if isinstance(choice, str)]:
        return ", ".join(f"`{choice}`" for choice in choices)
    signs: dict[type[Any], tuple[str, str]] = {
        annotated_types.Gt: ("gt", ">"),
        annotated_types.Ge: ("ge", "≥"),
        annotated_types.Le: ("le", "≤"),
    }
    bounds = [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for kind, (name, sign) in signs.items()
        if isinstance(bound, kind)
    ]
    return ", ".join(bounds) or "–"


def main() -> int:
    """Write the table, or with `--check` only say whether it is current: 1 when it is not."""
    old = README.read_text(encoding="utf-8")
    new = with_table(old)
    if "--check" in sys.argv[1:]:
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
