"""Folders with the files of a model, in which there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maeum.model_store.files import FileEntry, Lock, LockEntry, folder_name
from maeum.settings import ModelKind, Settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES: dict[ModelKind, tuple[str, ...]] = {
    "speech": ("model.bin", "config.json", "tokenizer.json", "vocabulary.json"),
    "text": ("model.safetensors", "config.json", "tokenizer.json"),
    "voice": (
        "pytorch_model.pth",
        "baseline_mean_male.npy",
        "baseline_mean_female.npy",
        "baseline_std_male.npy",
        "baseline_std_female.npy",
    ),
}


def settings(**values: Any) -> Settings:
    return Settings.model_validate({"profile": "embedded", **values})


def lay_out(folder: Path, kind: ModelKind, without: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES[kind]:
        if name != without:
            (folder / name).write_bytes(name.encode())
    return folder


def entry_for(folder: Path, kind: ModelKind = "voice", repo: str = "me/model", revision: str = "main") -> LockEntry:
    files = {name: FileEntry.of(folder / name) for name in FILES[kind]}
    return LockEntry(
        kind=kind, repo=repo, revision=revision, commit=COMMIT, folder=folder_name(repo, COMMIT), files=files
    )


def locked(models_dir: Path, kind: ModelKind = "voice") -> tuple[Settings, Path]:
    folder = lay_out(models_dir / folder_name("me/model", COMMIT), kind)
    Lock().with_entry(entry_for(folder, kind)).save(models_dir)
    return settings(**{f"{kind}_model": "hub:me/model"}, models_dir=models_dir), folder
