"""Fetched models beside their lock."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from maeum.errors import InvalidConfiguration, ModelInvalid, ModelMissing
from maeum.model_store.files import LOCK_NAME, Lock
from maeum.models import MODEL_KINDS, fetch, resolve
from maeum.settings import ModelKind
from tests.hollow_models import FILES, entry_for, lay_out, locked, settings


class TestFetchedModels:
    @pytest.mark.parametrize("kind", MODEL_KINDS)
    def test_model_that_equals_its_lock(self, kind: ModelKind, tmp_path: Path) -> None:
        chosen, folder = locked(tmp_path, kind)
        found = resolve(kind, chosen)
        assert (found.path, found.name) == (folder, "hub:me/model@0123456789ab")

    @pytest.mark.parametrize("reference", ["hub:me/other", "hub:me/model@v2"])
    def test_reference_that_was_never_fetched(self, tmp_path: Path, reference: str) -> None:
        locked(tmp_path)
        with pytest.raises(ModelMissing, match="has not been fetched: run `python -m maeum models fetch`"):
            resolve("voice", settings(voice_model=reference, models_dir=tmp_path))

    def test_lock_of_one_kind_is_none_of_another(self, tmp_path: Path) -> None:
        locked(tmp_path, "voice")
        with pytest.raises(ModelMissing, match="the text model hub:me/model@main has not been fetched"):
            resolve("text", settings(text_model="hub:me/model", models_dir=tmp_path))

    def test_production_profile_never_falls_back_to_the_embedded_models(self, tmp_path: Path) -> None:
        for kind in MODEL_KINDS:
            with pytest.raises(ModelMissing, match="run `python -m maeum models fetch`"):
                resolve(kind, settings(profile="production", models_dir=tmp_path / "empty"))

    def test_no_folder_beside_the_lock(self, tmp_path: Path) -> None:
        chosen, folder = locked(tmp_path)
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(ModelMissing, match="run `python -m maeum models fetch`"):
            resolve("voice", chosen)

    @pytest.mark.parametrize("name", FILES["voice"])
    def test_missing_file(self, tmp_path: Path, name: str) -> None:
        chosen, folder = locked(tmp_path)
        (folder / name).unlink()
        with pytest.raises(ModelMissing, match=name):
            resolve("voice", chosen)

    @pytest.mark.parametrize("content", [b"", b"pytorch_model.pt", b"pytorch_model.ptX", b"pytorch_model.pth\n"])
    def test_changed_file(self, tmp_path: Path, content: bytes) -> None:
        chosen, folder = locked(tmp_path)
        (folder / "pytorch_model.pth").write_bytes(content)
        with pytest.raises(ModelInvalid, match=r"pytorch_model\.pth is not the file that was fetched"):
            resolve("voice", chosen)

    def test_link_in_the_place_of_a_file(self, tmp_path: Path) -> None:
        chosen, folder = locked(tmp_path)
        (folder / "pytorch_model.pth").rename(tmp_path / "outside.pth")
        (folder / "pytorch_model.pth").symlink_to(tmp_path / "outside.pth")
        with pytest.raises(ModelInvalid, match=r"pytorch_model\.pth"):
            resolve("voice", chosen)

    def test_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        chosen, folder = locked(tmp_path)
        (folder / "pytorch_model.pth").write_bytes(b"")
        Lock().with_entry(entry_for(folder)).save(tmp_path)
        (folder / "pytorch_model.pth").unlink()
        os.mknod(folder / "pytorch_model.pth", stat.S_IFSOCK)  # root may open every file, and nobody a socket
        with pytest.raises(ModelMissing, match=r"me/model@main cannot be read \(No such device .*MAEUM_MODELS_DIR"):
            resolve("voice", chosen)

    def test_file_that_a_loader_would_prefer_to_the_checked_one(self, tmp_path: Path) -> None:
        chosen, folder = locked(tmp_path, "text")
        (folder / "adapter_config.json").write_bytes(b"{}")
        with pytest.raises(ModelInvalid, match=r"'adapter_config\.json', which was not fetched"):
            resolve("text", chosen)

    def test_lock_that_lists_too_little(self, tmp_path: Path) -> None:
        chosen, folder = locked(tmp_path)
        lock = json.loads((tmp_path / LOCK_NAME).read_bytes())
        del lock["models"][0]["files"]["baseline_std_male.npy"]
        (tmp_path / LOCK_NAME).write_text(json.dumps(lock))
        (folder / "baseline_std_male.npy").unlink()
        with pytest.raises(ModelMissing, match=r"baseline_std_male\.npy"):
            resolve("voice", chosen)

    def test_nothing_to_fetch_asks_nobody(self, tmp_path: Path) -> None:
        chosen = settings(text_model=str(tmp_path), models_dir=tmp_path / "new", hf_endpoint="http://127.0.0.1:9")
        assert fetch(chosen) == []
        assert not (tmp_path / "new").exists()

    def test_whole_models_are_not_fetched_again(self, tmp_path: Path) -> None:
        chosen, folder = locked(tmp_path)
        unreachable = chosen.model_copy(update={"hf_endpoint": "http://127.0.0.1:9"})
        assert [one.path for one in fetch(unreachable)] == [folder]

    def test_models_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        chosen = settings(voice_model="hub:me/model", models_dir=tmp_path / "file" / "models")
        with pytest.raises(ModelMissing, match="MAEUM_MODELS_DIR"):
            fetch(chosen)

    @pytest.mark.parametrize("endpoint", ["nonsense", "ftp://host", "http://", "file:///etc"])
    def test_endpoint_that_is_no_url(self, tmp_path: Path, endpoint: str) -> None:
        with pytest.raises(InvalidConfiguration, match="HF_ENDPOINT"):
            fetch(settings(voice_model="hub:me/model", models_dir=tmp_path, hf_endpoint=endpoint))


class TestLock:
    def test_reads_what_it_wrote(self, tmp_path: Path) -> None:
        folder = lay_out(tmp_path / "any", "voice")
        lock = Lock().with_entry(entry_for(folder)).with_entry(entry_for(folder, revision="v2"))
        lock.save(tmp_path)
        assert Lock.load(tmp_path) == lock
        assert [path.name for path in tmp_path.iterdir() if "lock" in path.name] == [LOCK_NAME]

    def test_new_entry_takes_the_place_of_the_old(self, tmp_path: Path) -> None:
        folder = lay_out(tmp_path / "any", "voice")
        old = entry_for(folder)
        (folder / "pytorch_model.pth").write_bytes(b"other")
        new = entry_for(folder)
        assert Lock().with_entry(old).with_entry(new).models == (new,)

    def test_none_is_empty(self, tmp_path: Path) -> None:
        assert Lock.load(tmp_path).models == ()

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"models": [{}]}', b"\xff"])
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / LOCK_NAME).write_bytes(content)
        with pytest.raises(ModelInvalid, match=r"models\.lock\.json is damaged"):
            Lock.load(tmp_path)

    def test_that_cannot_be_read_is_not_called_damaged(self, tmp_path: Path) -> None:
        (tmp_path / LOCK_NAME).mkdir()
        with pytest.raises(ModelMissing, match=r"lock\.json cannot be read \(Is a directory\): .*MAEUM_MODELS_DIR"):
            Lock.load(tmp_path)

    @pytest.mark.parametrize(
        "change",
        [
            {"folder": "../elsewhere"},
            {"folder": "/etc"},
            {"commit": "../../x" * 6},
            {"commit": ""},
            {"files": {"../x": {"size": 1, "sha256": "0" * 64}}},
            {"files": {"/etc/passwd": {"size": 1, "sha256": "0" * 64}}},
            {"files": {"a\\b": {"size": 1, "sha256": "0" * 64}}},
            {"files": {".": {"size": 1, "sha256": "0" * 64}}},
            {"files": {"a": {"size": -1, "sha256": "0" * 64}}},
            {"files": {"a": {"size": 1, "sha256": "short"}}},
            {"kind": "picture"},
            {"repo": "other/model"},
        ],
    )
    def test_entry_that_points_elsewhere(self, tmp_path: Path, change: dict[str, Any]) -> None:
        folder = lay_out(tmp_path / "any", "voice")
        entry = entry_for(folder).model_dump(mode="json") | change
        (tmp_path / LOCK_NAME).write_text(json.dumps({"version": 1, "models": [entry]}))
        with pytest.raises(ModelInvalid, match="damaged"):
            Lock.load(tmp_path)
