"""How settings name a model: `embedded`, a folder, or `hub:owner/name@revision`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from maeum.errors import InvalidConfiguration
from maeum.settings import ModelKind

DEFAULT_REVISION = "main"

# The hub's own rules. "--" is not allowed in a name there, so that folder names cannot collide.
_NAME = r"(?![.-])[A-Za-z0-9_.-]{1,96}(?<![.-])"
_REPO = re.compile(rf"{_NAME}/{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository on the hub and the revision asked for: a branch, a tag or a commit."""

    repo: str
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        """The reference as settings spell it."""
        return f"hub:{self.repo}@{self.revision}"


def parse_reference(kind: ModelKind, reference: str) -> HubReference | Path | None:
    """Read a model reference.

    Returns:
        A hub reference, the path of a local folder, or None for the embedded model.

    Raises:
        InvalidConfiguration: the reference is empty or breaks the hub's rules for names.
    """
    variable = variable_of(kind)
    if reference == "embedded":
        return None
    if not reference.startswith("hub:"):
        if not reference.strip() or "\0" in reference:
            raise InvalidConfiguration(f"{variable} must be `embedded`, a folder, or `hub:owner/name@revision`")
        return Path(reference).expanduser()
    repo, at, revision = reference.removeprefix("hub:").partition("@")
    if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith(".git"):
        raise InvalidConfiguration(f"{variable}: {repo!r} is no repository name; write `hub:owner/name@revision`")
    revision = revision if at else DEFAULT_REVISION
    if not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision or revision.endswith(("/", ".")):
        raise InvalidConfiguration(f"{variable}: {revision!r} is no revision; name a branch, a tag or a commit")
    return HubReference(repo, revision)


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit hash, which cannot move."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def variable_of(kind: ModelKind) -> str:
    """Name of the setting that names the model of a kind."""
    return f"MAEUM_{kind.upper()}_MODEL"
