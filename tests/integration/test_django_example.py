"""The Django example's own tests, in a process of their own: Django's settings are global."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from maeum.settings import PROJECT_DIR

EXAMPLE_DIR = PROJECT_DIR / "examples" / "django"


def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:diary", "manage.py", *arguments],
        cwd=EXAMPLE_DIR,
        env={name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_the_view_keeps_the_contract() -> None:
    done = manage("test", "--no-color")
    assert done.returncode == 0, done.stderr
    assert "Ran 11 tests" in done.stderr


@pytest.mark.parametrize("expression", ["settings.DEBUG is False", "len(settings.SECRET_KEY) >= 50"])
def test_the_defaults_are_safe(expression: str) -> None:
    done = manage("shell", "--no-imports", "-c", f"from django.conf import settings; print({expression})")
    assert done.stdout.strip() == "True", done.stderr
