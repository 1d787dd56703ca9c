"""Models through the hub's own HTTP protocol: fetched, locked, updated."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from maeum.errors import MaeumError, ModelMissing
from maeum.fusion import EN_LABELS
from maeum.labels import read_voice_labels
from maeum.model_store.files import LOCK_NAME
from maeum.models import fetch, resolve
from maeum.settings import ModelKind, Settings
from tests.hub_server import HubServer
from tests.integration.conftest import REPOS, SPEECH_REPO, TEXT_REPO, VOICE_REPO, refusal
from tests.tiny_models import files_of

pytestmark = pytest.mark.usefixtures("no_waiting")


class TestFetch:
    def test_all_three_models(
        self,
        hub: HubServer,
        make_settings: Callable[..., Settings],
        text_files: dict[str, bytes],
        voice_files: dict[str, bytes],
        speech_files: dict[str, bytes],
    ) -> None:
        commits = {
            "speech": hub.publish(SPEECH_REPO, {"README.md": b"card", **speech_files}),
            "text": hub.publish(TEXT_REPO, {"README.md": b"card", "train.py": b"", **text_files}),
            "voice": hub.publish(VOICE_REPO, voice_files),
        }
        settings = make_settings()
        seen: dict[tuple[str, str], tuple[int, int]] = {}

        def progress(kind: ModelKind, name: str, done: int, total: int) -> None:
            assert 0 < done <= total
            seen[kind, name] = (done, total)

        fetched = fetch(settings, progress=progress)

        assert [folder.kind for folder in fetched] == ["speech", "text", "voice"]
        assert [folder.name for folder in fetched] == [
            f"hub:{REPOS[folder.kind]}@{commits[folder.kind][:12]}" for folder in fetched
        ]
        assert fetched == [resolve(folder.kind, settings) for folder in fetched]
        assert all(done == total for done, total in seen.values())
        for folder, files in zip(fetched, (speech_files, text_files, voice_files), strict=True):
            here = files_of(folder.path)
            assert here == {name: files[name] for name in here}
            assert {name for kind, name in seen if kind == folder.kind} == set(here)
        assert not (settings.models_dir / ".partial").exists()

    def test_lock_holds_commit_size_and_hash(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        fetch(settings, ["voice"])
        (entry,) = json.loads((settings.models_dir / LOCK_NAME).read_bytes())["models"]
        assert (entry["kind"], entry["repo"], entry["revision"], entry["commit"]) == (
            "voice",
            VOICE_REPO,
            "main",
            commit,
        )
        assert entry["folder"] == f"HyukII--audio-emotion-model--{commit[:12]}"
        assert entry["files"]["labels.json"]["size"] == len(voice_files["labels.json"])
        assert set(entry["files"]) == set(voice_files) - {"model.py"}

    def test_the_hub_s_python_is_not_downloaded(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        assert "model.py" in voice_files
        hub.publish(VOICE_REPO, voice_files)
        (folder,) = fetch(make_settings(), ["voice"])
        assert not [request.path for request in hub.requests if request.path.endswith(".py")]
        assert not list(folder.path.glob("*.py"))

    def test_hostile_names_are_left_alone(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], tmp_path: Path
    ) -> None:
        hostile = [
            "../pytorch_model.pth",
            "/labels.json",
            "..\\labels.json",
            "x/labels.json",
            ".",
            "..",
            "labels.json\0",
        ]
        hub.publish(VOICE_REPO, {name: b"hostile" for name in hostile} | voice_files)
        (folder,) = fetch(make_settings(), ["voice"])
        assert set(hub.downloads()) == set(files_of(folder.path)) == set(voice_files) - {"model.py"}
        assert b"hostile" not in [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]

    def test_safetensors_spare_the_pickle(
        self, hub: HubServer, make_settings: Callable[..., Settings], text_files: dict[str, bytes]
    ) -> None:
        hub.publish(TEXT_REPO, {**text_files, "pytorch_model.bin": b"never wanted"})
        fetch(make_settings(), ["text"])
        assert "pytorch_model.bin" not in hub.downloads()

    @pytest.mark.parametrize("listing", ["names", "tree"])
    def test_mirror_that_lists_less(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], listing: Any
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.listing = listing
        settings = make_settings()
        (folder,) = fetch(settings, ["voice"])
        assert resolve("voice", settings) == folder

    def test_the_server_speaks_the_library_s_protocol(
        self, hub: HubServer, voice_files: dict[str, bytes], tmp_path: Path
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        folder = huggingface_hub.snapshot_download(
            VOICE_REPO, endpoint=hub.endpoint, cache_dir=tmp_path / "cache", token=False
        )
        assert files_of(Path(folder)) == voice_files

    def test_two_at_once_download_once(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: fetch(settings, ["voice"]), range(2))
        assert first == second
        assert len(hub.downloads()) == len(set(hub.downloads()))

    def test_one_repository_with_two_models(
        self,
        hub: HubServer,
        make_settings: Callable[..., Settings],
        text_files: dict[str, bytes],
        voice_files: dict[str, bytes],
    ) -> None:
        hub.publish("me/both", voice_files | text_files)
        settings = make_settings(text_model="hub:me/both", voice_model="hub:me/both")
        fetch(settings, ["text", "voice"])
        assert resolve("text", settings).path == resolve("voice", settings).path


class TestRevisions:
    def test_moving_branch_stays_at_the_locked_commit(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        old = hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        fetch(settings, ["voice"])
        new = hub.publish(VOICE_REPO, voice_files | {"labels.json": json.dumps(EN_LABELS[::-1]).encode()})
        assert new != old

        (again,) = fetch(settings, ["voice"])
        assert again.name.endswith(old[:12])
        shutil.rmtree(again.path)
        (restored,) = fetch(settings, ["voice"])
        assert restored == again
        assert read_voice_labels(resolve("voice", settings).path) == EN_LABELS

        (updated,) = fetch(settings, ["voice"], update=True)
        assert updated.name.endswith(new[:12])
        assert read_voice_labels(resolve("voice", settings).path) == EN_LABELS[::-1]

    def test_tag_and_commit(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files, revision="refs/pr/1")
        for revision in ("refs/pr/1", commit):
            settings = make_settings(voice_model=f"hub:{VOICE_REPO}@{revision}")
            fetch(settings, ["voice"])
            assert resolve("voice", settings).name == f"hub:{VOICE_REPO}@{commit[:12]}"
        # The second reference found the first one's files.
        assert len(hub.downloads()) == len(set(hub.downloads()))

    def test_no_such_revision(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        settings = make_settings(voice_model=f"hub:{VOICE_REPO}@v9")
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "no revision 'v9'" in error.message


def test_reading_while_another_process_updates_sees_the_old_or_the_new(
    hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
) -> None:
    settings = make_settings()
    commits = {hub.publish(VOICE_REPO, voice_files)[:12]}
    fetch(settings, ["voice"])
    done = threading.Event()
    errors: list[MaeumError] = []
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            try:
                seen.add(resolve("voice", settings).name.rsplit("@")[1])
            except MaeumError as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(5):
            files = voice_files | {"labels.json": json.dumps(EN_LABELS, indent=number).encode()}
            commits.add(hub.publish(VOICE_REPO, files)[:12])
            fetch(settings, ["voice"], update=True)
    finally:
        done.set()
        reader.join()
    assert not errors
    assert seen <= commits
