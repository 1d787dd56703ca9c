from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from maeum.settings import PROJECT_DIR

MAEUM = sorted((PROJECT_DIR / "maeum").rglob("*.py"))
RUNNERS = sorted((PROJECT_DIR / "runners").rglob("*.py"))
SERVICE = PROJECT_DIR / "service.py"
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}
HEAVY = ("torch", "transformers", "faster_whisper", "ctranslate2", "onnxruntime")


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT_DIR).as_posix()


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def reads_environment(path: Path) -> list[int]:
    """Lines that name `os.environ`, `os.getenv` or their kin."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT
    ]
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return attributes + [node.lineno for node in imports if ENVIRONMENT & {alias.name for alias in node.names}]


def test_there_is_something_to_check() -> None:
    assert len(MAEUM) > 10
    assert len(RUNNERS) >= 4
    assert SERVICE.is_file()


@pytest.mark.parametrize("path", MAEUM, ids=name_of)
def test_maeum_imports_neither_the_server_nor_what_lies_above_it(path: Path) -> None:
    assert not imported(path) & {"bentoml", "ray", "runners", "service", "tests", "scripts", "benchmarks"}


@pytest.mark.parametrize("path", RUNNERS, ids=name_of)
def test_runners_do_not_import_the_service(path: Path) -> None:
    assert not imported(path) & {"service", "tests", "scripts", "benchmarks"}


def test_the_service_imports_no_tests_or_scripts() -> None:
    assert not imported(SERVICE) & {"tests", "scripts", "benchmarks"}


@pytest.mark.parametrize("path", [*MAEUM, *RUNNERS, SERVICE], ids=name_of)
def test_only_settings_reads_the_environment(path: Path) -> None:
    if path.name != "settings.py":
        assert reads_environment(path) == []


@pytest.mark.parametrize("step", ["audio/decoding", "audio/features", "audio/mfcc", "sentences", "fusion"])
def test_domain_steps_know_no_clock_no_network_and_no_engine(step: str) -> None:
    forbidden = {"time", "datetime", "random", "socket", "httpx", "asyncio", "openai", "starlette", "torch"}
    assert not imported(PROJECT_DIR / "maeum" / f"{step}.py") & forbidden


@pytest.mark.parametrize("path", sorted((PROJECT_DIR / "maeum" / "engines").glob("*.py")), ids=name_of)
def test_engines_know_nothing_of_http(path: Path) -> None:
    assert not imported(path) & {"starlette", "fastapi", "httpx", "pydantic_settings"}


@pytest.mark.parametrize(
    "module",
    [
        "maeum",
        "maeum.cli",
        "maeum.pipeline",
        "maeum.local",
        "maeum.http.form",
        "maeum.schemas",
        "maeum.models",
        "service",
    ],
)
def test_importing_loads_no_model_library(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_maeums_own_names_are_there() -> None:
    import maeum

    assert all(getattr(maeum, name) for name in maeum.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        maeum.no_such_name  # noqa: B018


_TRACED = """
import runners
from bentoml._internal.configuration.containers import BentoMLContainer
print(not BentoMLContainer.tracing_excluded_urls.get().url_disabled("/v1/analyze"))
"""


@pytest.mark.parametrize(("options", "traced"), [("", "False"), ("tracing.exporter_type=in_memory", "True")])
def test_requests_are_traced_only_for_an_exporter(options: str, traced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_CONFIG_OPTIONS", options)
    command = [sys.executable, "-c", _TRACED]
    found = subprocess.run(command, cwd=PROJECT_DIR, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == traced
