"""The two locks: what serves is a part of what develops."""

from __future__ import annotations

import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from maeum.settings import PROJECT_DIR


def pins(name: str) -> dict[str, str]:
    lines = (PROJECT_DIR / name).read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(package): version for package, version in pairs}


def test_the_image_gets_what_was_tested_and_no_tools() -> None:
    serve, everything = pins("requirements-serve.lock"), pins("requirements.lock")
    assert serve.items() < everything.items()
    assert not {"pytest", "mypy", "ruff", "django", "matplotlib", "pyarrow"} & set(serve)


def test_every_dependency_is_pinned_at_a_version_that_it_allows() -> None:
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    for lock, lines in (("requirements-serve.lock", project["dependencies"]), ("requirements.lock", extras)):
        for requirement in map(Requirement, lines):
            assert requirement.specifier.contains(pins(lock)[canonicalize_name(requirement.name)]), requirement
