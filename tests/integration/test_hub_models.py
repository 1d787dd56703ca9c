"""Models through the hub's own HTTP protocol: fetched, locked, checked."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from maeum import hub as hub_module
from maeum.errors import MaeumError, ModelInvalid, ModelMissing, StartError
from maeum.fusion import EN_LABELS
from maeum.labels import read_voice_labels
from maeum.model_files import LOCK_NAME
from maeum.models import fetch, resolve
from maeum.settings import ModelKind, Settings
from tests.hub_server import Fault, HubServer
from tests.tiny_models import build_speech_layout, build_text_model, build_voice_model, files_of

TEXT_REPO = "HyukII/text-emotion-model"
VOICE_REPO = "HyukII/audio-emotion-model"
SPEECH_REPO = "Systran/faster-whisper-large-v3"
REPOS: dict[ModelKind, str] = {"speech": SPEECH_REPO, "text": TEXT_REPO, "voice": VOICE_REPO}
TOKEN = "hf_a-secret-that-must-never-show"


@pytest.fixture(scope="module")
def text_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(build_text_model(tmp_path_factory.mktemp("built") / "text"))


@pytest.fixture(scope="module")
def voice_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(build_voice_model(tmp_path_factory.mktemp("built") / "voice"))


@pytest.fixture(scope="module")
def speech_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(build_speech_layout(tmp_path_factory.mktemp("built") / "speech"))


@pytest.fixture(autouse=True)
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
        assert "run `make models`" in refusal(lambda: resolve("voice", settings)).message

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


class TestAccess:
    def test_token_goes_to_the_hub_only(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files, token=TOKEN)
        fetch(make_settings(hf_token=TOKEN), ["voice"])
        sent = {(one.server, one.headers.get("authorization")) for one in hub.requests}
        assert sent == {("hub", f"Bearer {TOKEN}"), ("storage", None)}

    def test_token_is_sent_only_when_it_is_set(
        self,
        hub: HubServer,
        make_settings: Callable[..., Settings],
        voice_files: dict[str, bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.publish(VOICE_REPO, voice_files)
        fetch(make_settings(), ["voice"])
        assert {one.headers.get("authorization") for one in hub.requests} == {None}

    @pytest.mark.parametrize("token", [None, TOKEN])
    def test_private_repository(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], token: str | None
    ) -> None:
        hub.publish(VOICE_REPO, voice_files, token="hf_another")
        settings = make_settings(hf_token=token)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "HF_TOKEN" in error.message

    @pytest.mark.parametrize("token", [None, TOKEN])
    def test_no_such_repository(
        self, hub: HubServer, make_settings: Callable[..., Settings], token: str | None
    ) -> None:
        settings = make_settings(voice_model="hub:nobody/nothing", hf_token=token)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "no model repository nobody/nothing" in error.message

    def test_gated_repository(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files, gated=True)
        settings = make_settings()
        assert "accept its conditions" in refusal(lambda: fetch(settings, ["voice"])).message

    def test_server_that_is_down(self, make_settings: Callable[..., Settings]) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            settings = make_settings(hf_endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}", hf_token=TOKEN)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "check the network" in error.message

    def test_password_in_the_endpoint_is_not_shown(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        settings = make_settings(hf_endpoint=hub.endpoint.replace("//", f"//me:{TOKEN}@"))
        assert isinstance(refusal(lambda: fetch(settings, ["voice"])), ModelMissing)

    def test_trouble_that_passes(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.faults["pytorch_model.pth"] = Fault("status", 503, times=2)
        hub.faults["labels.json"] = Fault("status", 429, times=1)
        fetch(make_settings(), ["voice"])

    @pytest.mark.parametrize(("status", "advice"), [(500, "try again later"), (403, "HF_TOKEN"), (404, "is not on")])
    def test_trouble_that_stays(
        self,
        hub: HubServer,
        make_settings: Callable[..., Settings],
        voice_files: dict[str, bytes],
        status: int,
        advice: str,
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.faults["labels.json"] = Fault("status", status)
        settings = make_settings(hf_token=TOKEN)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert f"{VOICE_REPO}/labels.json" in error.message
        assert advice in error.message

    @pytest.mark.parametrize("answer", ["<html>hotel login</html>", "[]", "{}", "null", '{"id": "a/b", "sha": "../x"}'])
    def test_something_that_is_no_hub(
        self, hub: HubServer, make_settings: Callable[..., Settings], answer: str
    ) -> None:
        hub.garbage = answer
        settings = make_settings()
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelInvalid)
        assert "check HF_ENDPOINT" in error.message

    def test_offline_mode(self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        settings = make_settings()
        assert "HF_HUB_OFFLINE" in refusal(lambda: fetch(settings, ["voice"])).message


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
