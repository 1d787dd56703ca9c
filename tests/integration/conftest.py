"""Shared by the tests of models that are fetched from a hub: their files, a hub, and settings that point there."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maeum.errors import StartError
from maeum.model_store import hub as hub_module
from maeum.settings import ModelKind, Settings
from tests.hub_server import HubServer

TEXT_REPO = "HyukII/text-emotion-model"
VOICE_REPO = "HyukII/audio-emotion-model"
SPEECH_REPO = "Systran/faster-whisper-large-v3"
REPOS: dict[ModelKind, str] = {"speech": SPEECH_REPO, "text": TEXT_REPO, "voice": VOICE_REPO}
TOKEN = "hf_a-secret-that-must-never-show"


@pytest.fixture(scope="module")
def text_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from tests.tiny_models import build_text_model, files_of

    return files_of(build_text_model(tmp_path_factory.mktemp("built") / "text"))


@pytest.fixture(scope="module")
def voice_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from tests.tiny_models import build_voice_model, files_of

    return files_of(build_voice_model(tmp_path_factory.mktemp("built") / "voice"))


@pytest.fixture(scope="module")
def speech_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from tests.tiny_models import build_speech_layout, files_of

    return files_of(build_speech_layout(tmp_path_factory.mktemp("built") / "speech"))


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "RETRY_WAITS_S", (0.0, 0.0))


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def make_settings(hub: HubServer, tmp_path: Path) -> Callable[..., Settings]:
    def make(**values: Any) -> Settings:
        defaults = {"profile": "production", "models_dir": tmp_path / "models", "hf_endpoint": hub.endpoint}
        return Settings.model_validate(defaults | {"hf_token": None} | values)

    return make


def refusal(action: Callable[[], object]) -> StartError:
    """The error of an action that must fail, checked to be fit to show."""
    with pytest.raises(StartError) as caught:
        action()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert TOKEN not in shown
    assert "/models/" not in caught.value.message
    return caught.value
