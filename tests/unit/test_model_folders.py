"""What a reference names, and which files a folder must have."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from maeum import models
from maeum.errors import InvalidConfiguration, ModelInvalid, ModelMissing
from maeum.model_store.files import check_folder, choose_files, folder_name
from maeum.model_store.reference import HubReference, parse_reference
from maeum.models import MODEL_KINDS, ModelFolder, resolve
from maeum.settings import ModelKind
from tests.hollow_models import COMMIT, FILES, lay_out, settings

names = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20)


class TestReference:
    @given(owner=names, name=names, revision=names)
    def test_hub_reference_reads_as_it_is_written(self, owner: str, name: str, revision: str) -> None:
        assert parse_reference("text", f"hub:{owner}/{name}@{revision}") == HubReference(f"{owner}/{name}", revision)

    @pytest.mark.parametrize(
        ("reference", "repo", "revision"),
        [
            ("hub:HyukII/text-emotion-model", "HyukII/text-emotion-model", "main"),
            ("hub:Systran/faster-whisper-large-v3@v1.0", "Systran/faster-whisper-large-v3", "v1.0"),
            ("hub:a.b/c_d-e@refs/pr/1", "a.b/c_d-e", "refs/pr/1"),
            (f"hub:a/b@{COMMIT}", "a/b", COMMIT),
        ],
    )
    def test_hub_references_that_are_used(self, reference: str, repo: str, revision: str) -> None:
        assert parse_reference("text", reference) == HubReference(repo, revision)

    @pytest.mark.parametrize(
        "repo",
        [
            "", "name", "/name", "owner/", "a/b/c", "../etc", "a/..", "./a", "a/.b", "a--b/c", "a/b--c", "-a/b", "a/b-",
            "a/b.git", "a/b.", "a b/c",
            "a\\b/c", "a/b?x=1", "a/b#c", "a/b%2e", "owner/이름", "http://a/b", "a/b\n", "~/b",
        ],
    )  # fmt: skip
    def test_repository_names_that_are_refused(self, repo: str) -> None:
        with pytest.raises(InvalidConfiguration, match=r"^MAEUM_TEXT_MODEL: .* is no repository name"):
            parse_reference("text", f"hub:{repo}")

    @pytest.mark.parametrize(
        "revision",
        [
            "",
            "..",
            "../main",
            "a/../b",
            "a//b",
            "/main",
            "main/",
            "main.",
            "-rf",
            "a b",
            "a\\b",
            "a?b",
            "a@b",
            "메인",
            "a\n",
        ],
    )
    def test_revisions_that_are_refused(self, revision: str) -> None:
        with pytest.raises(InvalidConfiguration, match=r"^MAEUM_VOICE_MODEL: .* is no revision"):
            parse_reference("voice", f"hub:a/b@{revision}")

    @given(st.text(max_size=60))
    def test_whatever_follows_hub_never_becomes_a_way_out_of_the_models_folder(self, rest: str) -> None:
        try:
            reference = parse_reference("speech", f"hub:{rest}")
        except InvalidConfiguration:
            return
        assert isinstance(reference, HubReference)
        name = folder_name(reference.repo, COMMIT)
        assert Path("models", name).resolve().parent == Path("models").resolve()

    @given(names, names, names, names)
    def test_two_repositories_never_share_a_folder(self, a: str, b: str, c: str, d: str) -> None:
        assume((a, b) != (c, d))
        assert folder_name(f"{a}/{b}", COMMIT) != folder_name(f"{c}/{d}", COMMIT)

    def test_everything_else_is_a_folder(self) -> None:
        assert parse_reference("text", "models/mine") == Path("models/mine")
        assert parse_reference("text", "~/mine") == Path.home() / "mine"
        assert parse_reference("text", "embedded") is None

    @pytest.mark.parametrize("reference", ["", "  ", "a\0b"])
    def test_nothing_is_no_folder(self, reference: str) -> None:
        with pytest.raises(InvalidConfiguration, match="MAEUM_TEXT_MODEL"):
            parse_reference("text", reference)


class TestLocalFolders:
    @pytest.mark.parametrize("kind", MODEL_KINDS)
    def test_embedded_model(self, kind: ModelKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models, "PROJECT_DIR", tmp_path)
        folder = lay_out(tmp_path / "models" / "embedded" / kind, kind)
        found = resolve(kind, settings())
        assert (found.kind, found.path, found.name) == (kind, folder, f"embedded:{kind}")

    def test_other_weights_under_the_same_name_are_another_model(self, tmp_path: Path) -> None:
        path = lay_out(tmp_path / "voice", "voice")
        folder = ModelFolder("voice", path, "embedded:voice")
        first = folder.identity()
        assert first.startswith("embedded:voice sha256:")
        (path / "README.md").write_text("another card", encoding="utf-8")
        assert folder.identity() == first
        (path / "baseline_std_male.npy").write_bytes(b"other numbers")
        assert folder.identity() != first

    def test_a_fetched_model_is_known_by_its_commit(self, tmp_path: Path) -> None:
        assert ModelFolder("text", tmp_path, "hub:a/b@0123456789ab").identity() == "hub:a/b@0123456789ab"

    @pytest.mark.parametrize("kind", MODEL_KINDS)
    def test_embedded_model_that_is_not_there(
        self, kind: ModelKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(models, "PROJECT_DIR", tmp_path)
        with pytest.raises(ModelMissing, match=f"restore models/embedded/{kind} from the repository"):
            resolve(kind, settings())

    @pytest.mark.parametrize("kind", MODEL_KINDS)
    def test_named_folder_shows_only_its_last_part(self, kind: ModelKind, tmp_path: Path) -> None:
        folder = lay_out(tmp_path / "secret" / "my-model", kind)
        found = resolve(kind, settings(**{f"{kind}_model": f"{folder}/"}))
        assert found.name == "folder:my-model"
        assert found.path == folder

    def test_a_name_that_is_no_utf_8_is_written_out(self, tmp_path: Path) -> None:
        """It is in every answer, which is UTF-8."""
        folder = lay_out(tmp_path / os.fsdecode(b"m\xff"), "voice")
        assert resolve("voice", settings(voice_model=str(folder))).name == r"folder:m\xff"

    @pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in MODEL_KINDS for name in FILES[kind]])
    def test_each_missing_file_is_named(self, kind: ModelKind, name: str, tmp_path: Path) -> None:
        folder = lay_out(tmp_path / "mine", kind, without=name)
        with pytest.raises(ModelMissing) as caught:
            resolve(kind, settings(**{f"{kind}_model": str(folder)}))
        assert name in caught.value.message
        assert f"MAEUM_{kind.upper()}_MODEL" in caught.value.message
        assert str(tmp_path) not in caught.value.message

    def test_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ModelMissing, match="folder:gone is not there: correct MAEUM_TEXT_MODEL"):
            resolve("text", settings(text_model=str(tmp_path / "gone")))

    def test_file_in_place_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model").write_bytes(b"")
        with pytest.raises(ModelMissing, match="folder:model is not there"):
            resolve("voice", settings(voice_model=str(tmp_path / "model")))

    def test_links_into_another_folder_are_fine_in_a_local_one(self, tmp_path: Path) -> None:
        blobs = lay_out(tmp_path / "blobs", "text")
        (tmp_path / "snapshot").mkdir()
        for path in blobs.iterdir():
            (tmp_path / "snapshot" / path.name).symlink_to(path)
        assert resolve("text", settings(text_model=str(tmp_path / "snapshot"))).name == "folder:snapshot"

    def test_sharded_weights_need_every_shard(self, tmp_path: Path) -> None:
        folder = lay_out(tmp_path / "mine", "text", without="model.safetensors")
        shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": shards[0], "b": shards[1]}})
        )
        (folder / shards[0]).write_bytes(b"")
        with pytest.raises(ModelMissing, match=shards[1]):
            resolve("text", settings(text_model=str(folder)))
        (folder / shards[1]).write_bytes(b"")
        assert resolve("text", settings(text_model=str(folder))).path == folder

    @pytest.mark.parametrize(
        "weight_map", [{"a": "../../etc/passwd"}, {"a": "/etc/passwd"}, {"a": 1}, {}, [], {"a": "model.py"}]
    )
    def test_index_that_names_no_shards(self, tmp_path: Path, weight_map: Any) -> None:
        folder = lay_out(tmp_path / "mine", "text", without="model.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(ModelInvalid, match=r"model\.safetensors\.index\.json"):
            check_folder("text", folder, "it")


class TestChoice:
    def test_safetensors_win_over_a_pickle(self) -> None:
        chosen = choose_files("text", {*FILES["text"], "pytorch_model.bin", "tf_model.h5", "README.md"}, "it")
        assert set(chosen) == set(FILES["text"])

    def test_compressed_weights_win_over_others(self) -> None:
        chosen = choose_files("text", {*FILES["text"], "model.safetensors.gz"}, "it")
        assert set(chosen) == {*FILES["text"], "model.safetensors.gz"} - {"model.safetensors"}

    def test_pickle_where_there_is_nothing_else(self) -> None:
        chosen = choose_files("text", {"pytorch_model.bin", "config.json", "vocab.txt", "label_map.json"}, "it")
        assert set(chosen) == {"pytorch_model.bin", "config.json", "vocab.txt", "label_map.json"}

    def test_shards_follow_their_index(self) -> None:
        shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
        others = {"pytorch_model-00001-of-00001.bin", "x/model-00001-of-00002.safetensors"}
        chosen = choose_files(
            "text", {"model.safetensors.index.json", "config.json", "tokenizer.json", *shards, *others}, "it"
        )
        assert {name for name in chosen if "-of-" in name} == shards

    def test_vocabulary_of_older_speech_models(self) -> None:
        offered = {"model.bin", "config.json", "tokenizer.json", "vocabulary.txt"}
        assert set(choose_files("speech", offered, "it")) == offered

    @given(
        kind=st.sampled_from(MODEL_KINDS),
        hostile=st.sets(
            st.text(max_size=30).filter(lambda name: not name.startswith("model.safetensors"))
            | st.sampled_from(
                ["../config.json", "/config.json", "..\\config.json", "a/config.json", "model.py", ".", ".."]
            )
        ),
    )
    def test_names_that_are_on_no_list_are_left_alone(self, kind: ModelKind, hostile: set[str]) -> None:
        expected = set(choose_files(kind, set(FILES[kind]), "it"))
        chosen = set(choose_files(kind, hostile | set(FILES[kind]), "it"))
        assert expected <= chosen
        assert all(Path(name).name == name and not name.endswith(".py") for name in chosen)
