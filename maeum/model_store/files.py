"""The files that a model of each kind comes in, and the lock that remembers which bytes were fetched.

Names are checked against a short list of plain file names, never against a pattern with a folder in it: a hub
cannot make us write outside a model's folder, and Python files are on no list, so they are never downloaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maeum.errors import ModelInvalid, ModelMissing
from maeum.files import replacing
from maeum.labels import read_json_object
from maeum.settings import ModelKind

LOCK_NAME = "models.lock.json"
FETCH_HINT = "run `python -m maeum models fetch` (in a checkout: `make models`)"
READ_HINT = "check that this user may read the models folder (MAEUM_MODELS_DIR)"

_SHARD_SUFFIXES = {
    "model.safetensors.index.json": re.compile(r"model-\d{5}-of-\d{5}\.safetensors"),
    "pytorch_model.bin.index.json": re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin"),
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """File names of one kind of model.

    Attributes:
        weights: the first name that is there is used, the others are left alone.
        required: of each group at least one name must be there; all that are there are used.
        optional: used when they are there.
    """

    weights: tuple[str, ...]
    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()


_LAYOUTS: dict[ModelKind, _Layout] = {
    "speech": _Layout(
        weights=("model.bin",),
        # Without its tokenizer.json faster-whisper fetches another model's from the hub while it loads.
        required=(("config.json",), ("tokenizer.json",), ("vocabulary.json", "vocabulary.txt")),
        optional=("preprocessor_config.json", "thresholds.json"),
    ),
    "text": _Layout(
        # safetensors first: no pickle is involved.
        weights=(
            "model.safetensors.gz",
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
        ),
        required=(
            ("config.json",),
            (
                "tokenizer.json",
                "vocab.txt",
                "vocab.json",
                "tokenizer.model",
                "sentencepiece.bpe.model",
                "spiece.model",
            ),
        ),
        optional=(
            "label_map.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "merges.txt",
        ),
    ),
    "voice": _Layout(
        weights=("pytorch_model.pth",),
        required=tuple(
            (f"baseline_{figure}_{gender}.npy",) for figure in ("mean", "std") for gender in ("male", "female")
        ),
        optional=("labels.json",),
    ),
}


def choose_files(kind: ModelKind, names: Collection[str], owner: str) -> tuple[str, ...]:
    """Pick the files that a model needs out of all that are there.

    Args:
        kind: kind of the model.
        names: file names that a folder or a repository holds, relative to its root. May be hostile: one that
            is not on the kind's list is left alone, whatever it looks like.
        owner: how to call the model in an error.

    Returns:
        The chosen names, the weights first; plain names without a folder.

    Raises:
        ModelMissing: a needed file is not among `names`.
    """
    layout = _LAYOUTS[kind]
    for group in (layout.weights, *layout.required):
        if not any(name in names for name in group):
            raise ModelMissing(f"{owner} has no {' or '.join(group)}")
    weights = next(name for name in layout.weights if name in names)
    chosen = [weights]
    if weights in _SHARD_SUFFIXES:
        chosen += sorted(name for name in names if _SHARD_SUFFIXES[weights].fullmatch(name))
    for group in (*layout.required, layout.optional):
        chosen += [name for name in group if name in names]
    return tuple(chosen)


def check_folder(kind: ModelKind, folder: Path, owner: str) -> None:
    """Check that a folder holds every file that its kind of model needs, shards of the weights included.

    Raises:
        ModelMissing: a file is missing; the message names it.
        ModelInvalid: the index of sharded weights is unreadable or names something else than a shard.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()}
    chosen = choose_files(kind, names, owner)
    shard = _SHARD_SUFFIXES.get(chosen[0])
    if shard is None:
        return
    weight_map = read_json_object(folder / chosen[0]).get("weight_map")
    shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    for name in sorted(shards, key=str):
        if not isinstance(name, str) or not shard.fullmatch(name):
            raise ModelInvalid(f"{owner}: {chosen[0]} names {name!r}, which is no file of sharded weights")
        if name not in names:
            raise ModelMissing(f"{owner} has no {name}, which its {chosen[0]} names")
    if not shards:
        raise ModelInvalid(f"{owner}: {chosen[0]} names no file of weights")


class FileEntry(BaseModel):
    """Size and SHA-256 of one fetched file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Measure a file, block by block."""
        with path.open("rb") as file:
            return cls(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=file.tell())


class LockEntry(BaseModel):
    """What one model reference was resolved to, file by file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ModelKind
    repo: str
    revision: str
    commit: str = Field(pattern=r"^[0-9a-f]{12,64}$")
    folder: str
    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")], FileEntry]

    @model_validator(mode="after")
    def _check(self) -> LockEntry:
        if self.folder != folder_name(self.repo, self.commit) or not re.fullmatch(r"[\w.-]+", self.folder):
            raise ValueError(f"folder {self.folder!r} does not belong to {self.repo}")
        return self


class Lock(BaseModel):
    """The contents of `models.lock.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    models: tuple[LockEntry, ...] = ()

    @classmethod
    def load(cls, models_dir: Path) -> Lock:
        """Read the lock; one that does not exist is empty.

        Raises:
            ModelMissing: it cannot be read.
            ModelInvalid: it is no lock.
        """
        try:
            return cls.model_validate_json((models_dir / LOCK_NAME).read_bytes())
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise ModelMissing(f"{LOCK_NAME} cannot be read ({error.strerror}): {READ_HINT}") from None
        except ValidationError:
            raise ModelInvalid(f"{LOCK_NAME} is damaged: restore it, or delete it and {FETCH_HINT}") from None

    def find(self, kind: ModelKind, repo: str, revision: str) -> LockEntry | None:
        """Return the entry of a reference, if it was fetched."""
        for entry in self.models:
            if (entry.kind, entry.repo, entry.revision) == (kind, repo, revision):
                return entry
        return None

    def files_in(self, folder: str) -> dict[str, FileEntry]:
        """All files known in a folder: two references may share one."""
        return {name: file for entry in self.models if entry.folder == folder for name, file in entry.files.items()}

    def with_entry(self, entry: LockEntry) -> Lock:
        """Return a lock in which `entry` stands in the place of an older one for the same reference."""
        new = (entry.kind, entry.repo, entry.revision)
        others = [old for old in self.models if (old.kind, old.repo, old.revision) != new]
        return Lock(models=tuple(sorted([*others, entry], key=lambda one: (one.kind, one.repo, one.revision))))

    def save(self, models_dir: Path) -> None:
        """Write the lock so that a reader sees the old one or the new one, never half of it."""
        with replacing(models_dir / LOCK_NAME) as stream:
            stream.write(f"{self.model_dump_json(indent=2)}\n".encode())


def folder_name(repo: str, commit: str) -> str:
    """Name of the folder that holds a repository's files at a commit."""
    return f"{repo.replace('/', '--')}--{commit[:12]}"
