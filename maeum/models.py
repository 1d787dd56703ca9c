"""Where a model comes from: the embedded ones, a local folder, or a hub repository at a pinned commit.

A reference never falls back to another model: what is named but not there is an error that says what to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

from maeum.errors import ModelInvalid, ModelMissing, StartError
from maeum.files import as_text
from maeum.model_store.files import (
    FETCH_HINT,
    LOCK_NAME,
    READ_HINT,
    FileEntry,
    Lock,
    LockEntry,
    check_folder,
    choose_files,
    folder_name,
)
from maeum.model_store.reference import HubReference, is_commit, parse_reference, variable_of
from maeum.settings import PROJECT_DIR, ModelKind, Settings

if TYPE_CHECKING:
    from maeum.model_store.hub import Hub

MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)

Progress: TypeAlias = Callable[[ModelKind, str, int, int], None]
"""Called while a file arrives: kind of the model, name of the file, bytes that are here, bytes in all."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model's files, checked to be there.

    Attributes:
        kind: which stage the model serves.
        path: the folder.
        name: how answers name the model: `embedded:speech`, `hub:owner/name@<12 digits of the commit>` or
            `folder:<last part of the path>`; never a full path.
    """

    kind: ModelKind
    path: Path
    name: str

    def identity(self) -> str:
        """Its name and, unless that has a commit, the first 12 digits of the SHA-256 over what is in its files."""
        if self.name.startswith("hub:"):
            return self.name
        files = sorted(choose_files(self.kind, {path.name for path in self.path.iterdir()}, self.name))
        hashes = [f"{name} {FileEntry.of(self.path / name).sha256}" for name in files]
        return f"{self.name} sha256:{hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:12]}"


def resolve(kind: ModelKind, settings: Settings, *, check_hashes: bool = True) -> ModelFolder:
    """Find the model of a kind that the settings name, and check its files.

    Every file of a fetched model is compared, size and (with `check_hashes`) SHA-256, with what the lock says was
    fetched.

    Raises:
        InvalidConfiguration: the reference is not valid.
        ModelMissing: the model or one of its files is not there or cannot be read; the message says what to do.
        ModelInvalid: a fetched file is not what was fetched, or the lock is damaged.
    """
    reference = parse_reference(kind, settings.model_reference(kind))
    if isinstance(reference, HubReference):
        lock = Lock.load(settings.models_dir)
        entry = lock.find(kind, reference.repo, reference.revision)
        if entry is None:
            raise ModelMissing(f"the {kind} model {reference} has not been fetched: {FETCH_HINT}")
        try:
            return _verified(entry, lock, settings.models_dir, check_hashes)
        except OSError as error:
            raise ModelMissing(f"the {kind} model {reference} cannot be read ({error.strerror}): {READ_HINT}") from None
    if reference is None:
        folder = ModelFolder(kind, PROJECT_DIR / "models" / "embedded" / kind, f"embedded:{kind}")
        advice = f"restore models/embedded/{kind} from the repository"
    else:
        folder = ModelFolder(kind, reference, f"folder:{as_text(reference.resolve().name)}")
        advice = f"correct {variable_of(kind)}"
    owner = f"the {kind} model {folder.name}"
    if not folder.path.is_dir():
        raise ModelMissing(f"{owner} is not there: {advice}")
    try:
        check_folder(kind, folder.path, owner)
    except ModelMissing as error:
        raise ModelMissing(f"{error.message}: {advice}") from None
    except OSError as error:
        raise ModelMissing(f"{owner} cannot be read ({error.strerror}): {advice}") from None
    return folder


def fetch(
    settings: Settings,
    kinds: Sequence[ModelKind] = MODEL_KINDS,
    *,
    update: bool = False,
    progress: Progress | None = None,
    on_wait: Callable[[], None] | None = None,
) -> list[ModelFolder]:
    """Fetch the hub models that the settings name, and write down what came in `models.lock.json`.

    A reference that the lock knows keeps its commit and its hashes, whatever its branch points to by now; when
    its files are all there, the hub is not asked. One process fetches at a time. An interrupted fetch leaves
    nothing that `resolve` accepts, and the next one goes on where it stopped.

    Args:
        settings: names the models, the models folder, the hub and its token.
        kinds: which of the three to fetch; one that names no hub model is skipped.
        update: resolve the revisions again instead of keeping the locked commits.
        progress: called while files arrive.
        on_wait: called when another process is fetching, before this one waits for it.

    Returns:
        The fetched models, in the order of `kinds`.

    Raises:
        InvalidConfiguration: a reference or the hub's endpoint is not valid.
        ModelMissing: a repository, revision or needed file is not on the hub, or cannot be had from it.
        ModelInvalid: bytes differ from what the hub or the lock says of them.
    """
    references = [(kind, parse_reference(kind, settings.model_reference(kind))) for kind in kinds]
    wanted = [(kind, reference) for kind, reference in references if isinstance(reference, HubReference)]
    if not wanted:
        return []
    from maeum.model_store.hub import Hub

    hub = Hub(settings.hf_endpoint, settings.hf_token)
    try:
        with _alone_in(settings.models_dir, on_wait):
            return [
                _fetch_one(hub, kind, reference, settings.models_dir, update, progress or _silent)
                for kind, reference in wanted
            ]
    except OSError as error:
        raise ModelMissing(f"the models folder (MAEUM_MODELS_DIR) cannot be used: {error.strerror}") from None


def _fetch_one(
    hub: Hub, kind: ModelKind, reference: HubReference, models_dir: Path, update: bool, progress: Progress
) -> ModelFolder:
    lock = Lock.load(models_dir)
    pinned = None if update else lock.find(kind, reference.repo, reference.revision)
    if pinned is not None:
        with suppress(StartError):  # what is missing or damaged is fetched again below
            return _verified(pinned, lock, models_dir)
    revision = pinned.commit if pinned else reference.revision
    snapshot = hub.snapshot(reference.repo, revision)
    if (pinned or is_commit(revision)) and snapshot.commit != revision:
        raise ModelInvalid(f"the hub answers with commit {snapshot.commit!r} of {reference.repo} for {revision}")
    if not re.fullmatch(r"[0-9a-f]{12,64}", snapshot.commit):
        raise ModelInvalid(f"the hub names no commit for {reference}: check HF_ENDPOINT")

    owner = f"the {kind} model {reference}"
    offered = {file.name: file for file in snapshot.files}
    names = choose_files(kind, offered, owner)
    if pinned is not None and (gone := sorted(set(pinned.files) - set(names))):
        raise ModelInvalid(f"{owner}: the hub no longer offers {gone[0]}, which {LOCK_NAME} names")

    folder = models_dir / folder_name(reference.repo, snapshot.commit)
    folder.mkdir(exist_ok=True)
    staging = models_dir / ".partial" / folder.name
    staging.mkdir(parents=True, exist_ok=True)
    known = lock.files_in(folder.name)
    files: dict[str, FileEntry] = {}
    for name in names:
        told = offered[name].sha256
        expected = known[name].sha256 if name in known else told
        here = _matching(folder / name, expected) or _matching(staging / name, expected)
        # A hash that the hub tells saves the download of what would be refused anyway.
        if here is None and (told is None or told == expected):
            arriving = partial(progress, kind, name)
            here = hub.download(reference.repo, snapshot.commit, offered[name], staging / name, arriving)
        if here is None or here.sha256 != (expected or here.sha256):
            (staging / name).unlink(missing_ok=True)
            raise ModelInvalid(
                f"{owner}: on the hub, {name} is no longer the file that {LOCK_NAME} names for commit "
                f"{snapshot.commit[:12]}; a commit cannot change, so do not trust it"
            )
        files[name] = here
    for name in names:
        if (staging / name).exists():
            (staging / name).replace(folder / name)
    check_folder(kind, folder, owner)
    entry = LockEntry(
        kind=kind,
        repo=reference.repo,
        revision=reference.revision,
        commit=snapshot.commit,
        folder=folder.name,
        files=files,
    )
    lock = lock.with_entry(entry)
    lock.save(models_dir)
    _refuse_strangers(folder, lock, owner)
    for path in (staging, staging.parent):
        if not any(path.iterdir()):
            path.rmdir()
    return _model_folder(entry, models_dir)


def _verified(entry: LockEntry, lock: Lock, models_dir: Path, check_hashes: bool = True) -> ModelFolder:
    folder = models_dir / entry.folder
    owner = f"the {entry.kind} model hub:{entry.repo}@{entry.revision}"
    for name, expected in entry.files.items():
        path = folder / name
        if not path.exists():
            raise ModelMissing(f"{owner} has no {name} in the models folder: {FETCH_HINT}")
        # The size first: it is free, and a truncated file is the common case.
        sound = not path.is_symlink() and path.stat().st_size == expected.size
        if not sound or (check_hashes and FileEntry.of(path) != expected):
            raise ModelInvalid(f"{owner}: {name} is not the file that was fetched: {FETCH_HINT} to fetch it again")
    _refuse_strangers(folder, lock, owner)
    choose_files(entry.kind, entry.files, owner)
    return _model_folder(entry, models_dir)


def _refuse_strangers(folder: Path, lock: Lock, owner: str) -> None:
    known = lock.files_in(folder.name)
    for path in folder.iterdir():
        # A file of no entry could win over a checked one: loaders prefer model.safetensors, say.
        if path.name not in known and not path.name.startswith("."):
            raise ModelInvalid(f"{owner}: its folder holds {path.name!r}, which was not fetched: remove it")


def _model_folder(entry: LockEntry, models_dir: Path) -> ModelFolder:
    return ModelFolder(entry.kind, models_dir / entry.folder, f"hub:{entry.repo}@{entry.commit[:12]}")


def _matching(path: Path, sha256: str | None) -> FileEntry | None:
    if sha256 is None or path.is_symlink() or not path.is_file():
        return None
    entry = FileEntry.of(path)
    return entry if entry.sha256 == sha256 else None


@contextmanager
def _alone_in(models_dir: Path, on_wait: Callable[[], None] | None) -> Iterator[None]:
    models_dir.mkdir(parents=True, exist_ok=True)
    with (models_dir / ".fetch.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait:
                on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _silent(kind: ModelKind, name: str, done: int, total: int) -> None:
    pass
