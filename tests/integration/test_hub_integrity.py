"""Downloads that break off, and bytes that are not those of the lock or the hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from maeum.errors import ModelInvalid, ModelMissing
from maeum.model_store.files import LOCK_NAME
from maeum.models import fetch, resolve
from maeum.settings import ModelKind, Settings
from tests.hub_server import Fault, HubServer
from tests.integration.conftest import TEXT_REPO, VOICE_REPO, refusal
from tests.tiny_models import files_of

pytestmark = pytest.mark.usefixtures("no_waiting")


class TestBrokenDownloads:
    def test_missing_file(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, {name: data for name, data in voice_files.items() if name != "baseline_std_male.npy"})
        settings = make_settings()
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "baseline_std_male.npy" in error.message
        assert hub.downloads() == []

    @pytest.mark.parametrize("name", ["pytorch_model.pth", "labels.json"])
    def test_connection_that_breaks_once_is_resumed(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], name: str
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        half = len(voice_files[name]) // 2
        hub.faults[name] = Fault("cut", half, times=1)
        (folder,) = fetch(make_settings(), ["voice"])
        assert files_of(folder.path)[name] == voice_files[name]
        ranges = [request.headers.get("range") for request in hub.requests if request.path.endswith(name)]
        assert f"bytes={half}-" in ranges

    def test_server_that_ignores_ranges(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.ranges = False
        hub.faults["pytorch_model.pth"] = Fault("cut", 100_000, times=1)
        (folder,) = fetch(make_settings(), ["voice"])
        assert files_of(folder.path)["pytorch_model.pth"] == voice_files["pytorch_model.pth"]

    def test_connection_that_always_breaks(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.ranges = False
        hub.faults["pytorch_model.pth"] = Fault("cut", 100_000)
        settings = make_settings()
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "check the network" in error.message
        assert "run `python -m maeum models fetch`" in refusal(lambda: resolve("voice", settings)).message

    @pytest.mark.parametrize("name", ["pytorch_model.pth", "labels.json"])
    def test_truncated_file(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], name: str
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.faults[name] = Fault("short", 20)
        settings = make_settings()
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelInvalid)
        assert f"20 of {len(voice_files[name])} bytes of {VOICE_REPO}/{name}" in error.message
        assert isinstance(refusal(lambda: resolve("voice", settings)), ModelMissing)

        hub.faults.clear()
        fetch(settings, ["voice"])
        resolve("voice", settings)

    def test_more_bytes_than_announced(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files)
        hub.tamper(VOICE_REPO, commit, "labels.json", b"[" + b" " * 1_000_000 + b"]")
        settings = make_settings()
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelInvalid)
        assert "labels.json" in error.message

    def test_interrupted_fetch_passes_for_nothing_and_goes_on(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()

        def interrupt(kind: ModelKind, name: str, done: int, total: int) -> None:
            if name == "pytorch_model.pth" and done > total / 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch(settings, ["voice"], progress=interrupt)
        assert isinstance(refusal(lambda: resolve("voice", settings)), ModelMissing)

        hub.requests.clear()
        fetch(settings, ["voice"])
        stored = [one for one in hub.requests if one.server == "storage" and one.path.endswith(".pth")]
        (first_byte,) = [int(one.headers["range"].removeprefix("bytes=").removesuffix("-")) for one in stored]
        assert first_byte > len(voice_files["pytorch_model.pth"]) / 2
        resolve("voice", settings)

    def test_leftover_of_other_bytes_is_found_out(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        staging = settings.models_dir / ".partial" / f"HyukII--audio-emotion-model--{commit[:12]}"
        staging.mkdir(parents=True)
        (staging / "pytorch_model.pth.part").write_bytes(b"x" * 1000)
        assert isinstance(refusal(lambda: fetch(settings, ["voice"])), ModelInvalid)
        fetch(settings, ["voice"])
        resolve("voice", settings)

    @pytest.mark.parametrize("size", [0, 10_000_000])
    def test_leftover_that_is_empty_or_too_long(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], size: int
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        staging = settings.models_dir / ".partial" / f"HyukII--audio-emotion-model--{commit[:12]}"
        staging.mkdir(parents=True)
        (staging / "pytorch_model.pth.part").write_bytes(bytes(size))
        fetch(settings, ["voice"])
        resolve("voice", settings)


class TestChangedBytes:
    @pytest.mark.parametrize("name", ["pytorch_model.pth", "labels.json", "baseline_mean_female.npy"])
    def test_changed_on_disk_is_refused_and_fetched_again(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], name: str
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        (folder,) = fetch(settings, ["voice"])
        content = bytearray(voice_files[name])
        content[-1] ^= 1
        (folder.path / name).write_bytes(content)

        error = refusal(lambda: resolve("voice", settings))
        assert isinstance(error, ModelInvalid)
        assert name in error.message

        hub.requests.clear()
        fetch(settings, ["voice"])
        assert hub.downloads() == [name]
        assert resolve("voice", settings) == folder

    def test_stranger_in_the_folder_is_named_and_kept(
        self, hub: HubServer, make_settings: Callable[..., Settings], text_files: dict[str, bytes]
    ) -> None:
        hub.publish(TEXT_REPO, text_files)
        settings = make_settings()
        (folder,) = fetch(settings, ["text"])
        (folder.path / "pytorch_model.bin").write_bytes(b"mine")
        for action in (resolve, lambda kind, settings: fetch(settings, [kind])):
            error = refusal(lambda action=action: action("text", settings))  # type: ignore[misc]
            assert isinstance(error, ModelInvalid)
            assert "'pytorch_model.bin', which was not fetched: remove it" in error.message
        assert (folder.path / "pytorch_model.bin").read_bytes() == b"mine"

    def test_bytes_that_do_not_have_the_hub_s_hash(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files)
        hub.tamper(VOICE_REPO, commit, "pytorch_model.pth", voice_files["pytorch_model.pth"][:-1] + b"x")
        settings = make_settings()
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelInvalid)
        assert f"{VOICE_REPO}/pytorch_model.pth does not have the SHA-256" in error.message
        assert isinstance(refusal(lambda: resolve("voice", settings)), ModelMissing)

    @pytest.mark.parametrize("name", ["pytorch_model.pth", "labels.json"])
    @pytest.mark.parametrize("update", [False, True])
    def test_hub_that_changes_a_commit_is_not_trusted(
        self,
        hub: HubServer,
        make_settings: Callable[..., Settings],
        voice_files: dict[str, bytes],
        name: str,
        update: bool,
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        (folder,) = fetch(settings, ["voice"])
        lock = (settings.models_dir / LOCK_NAME).read_bytes()
        shutil.rmtree(folder.path)
        hub.tamper(VOICE_REPO, commit, name, voice_files[name] + b" ", listed=True)

        error = refusal(lambda: fetch(settings, ["voice"], update=update))
        assert isinstance(error, ModelInvalid)
        assert f"{name} is no longer the file that models.lock.json names" in error.message
        assert (settings.models_dir / LOCK_NAME).read_bytes() == lock
        assert isinstance(refusal(lambda: resolve("voice", settings)), ModelMissing)

    def test_hub_that_withdraws_a_file_of_a_commit(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        commit = hub.publish(VOICE_REPO, voice_files)
        settings = make_settings()
        (folder,) = fetch(settings, ["voice"])
        shutil.rmtree(folder.path)
        hub.withdraw(VOICE_REPO, commit, "labels.json")
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelInvalid)
        assert "no longer offers labels.json" in error.message

    def test_lock_alone_pins_what_another_machine_fetched(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], tmp_path: Path
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        here = make_settings()
        (folder,) = fetch(here, ["voice"])
        hub.publish(VOICE_REPO, voice_files | {"labels.json": b'["ANGRY"]'})
        there = make_settings(models_dir=tmp_path / "there")
        there.models_dir.mkdir()
        shutil.copy(here.models_dir / LOCK_NAME, there.models_dir)
        (copy,) = fetch(there, ["voice"])
        assert copy.name == folder.name
