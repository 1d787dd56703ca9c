"""The README tells the truth about settings, and names only files that exist."""

from __future__ import annotations

import re
import subprocess
import sys

from maeum.settings import PROJECT_DIR

README = PROJECT_DIR / "README.md"


def test_settings_table_is_current() -> None:
    command = [sys.executable, "scripts/settings_table.py", "--check"]

    assert subprocess.run(command, cwd=PROJECT_DIR).returncode == 0, "run python scripts/settings_table.py"


def test_every_linked_file_exists() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))

    missing = [target for target in targets if "://" not in target and not (PROJECT_DIR / target).exists()]
    assert targets
    assert missing == []


def test_benchmark_tables_are_those_of_the_committed_results() -> None:
    text = README.read_text(encoding="utf-8")
    shown = text.split("<!-- benchmarks: begin -->")[1].split("<!-- benchmarks: end -->")[0]
    command = [sys.executable, "-m", "benchmarks", "table"]
    table = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True).stdout

    assert shown.strip() == table.strip(), "run python -m benchmarks table --readme"
