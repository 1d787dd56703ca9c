"""A small client of the Hugging Face hub: which commit a revision is, and the bytes of a file, resumable.

`huggingface_hub` speaks the protocol. Its own downloader is not used: it throws away a partial file when the
process ends, which for three gigabytes of Whisper means to start again from the first byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, get_hf_file_metadata, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoFile
from pydantic import SecretStr

from maeum import __version__
from maeum.errors import InvalidConfiguration, ModelInvalid, ModelMissing, StartError
from maeum.model_store.files import FileEntry

DEFAULT_ENDPOINT = "https://huggingface.co"
RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0)
"""Pauses between attempts that bring no new byte; an attempt that brings some starts the count again."""
TIMEOUT_S = 30.0
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_USER_AGENT = f"maeum/{__version__}"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository. `sha256` is what the hub says of files in large-file storage, else None."""

    name: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at one commit."""

    commit: str
    files: tuple[HubFile, ...]


class Hub:
    """One hub, seen with one token or none.

    Args:
        endpoint: base URL; None is the public hub.
        token: sent to this endpoint only, never to the storage that it redirects to. None sends no token, not
            even one that a login left on this machine.

    Raises:
        InvalidConfiguration: the endpoint is no http(s) URL.
    """

    def __init__(self, endpoint: str | None, token: SecretStr | None) -> None:
        self._endpoint = (endpoint or DEFAULT_ENDPOINT).rstrip("/")
        address = urlsplit(self._endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InvalidConfiguration("HF_ENDPOINT must be an http:// or https:// URL")
        self._host = address.hostname
        self._token: str | bool = (token.get_secret_value() if token else "") or False
        self._api = HfApi(endpoint=self._endpoint, token=self._token, library_name="maeum", library_version=__version__)

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """Resolve a revision to its commit and list the files there.

        Raises:
            ModelMissing: no such repository or revision, no access, or no answer.
            ModelInvalid: the answer is not a hub's.
        """
        with self._errors(repo, revision):
            info = self._api.model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
            commit = info.sha or ""
            return Snapshot(commit, self._files(repo, commit, info))

    def _files(self, repo: str, commit: str, info: ModelInfo) -> tuple[HubFile, ...]:
        if info.siblings is not None:
            return tuple(
                HubFile(str(one.rfilename), one.size, one.lfs.sha256 if one.lfs else None) for one in info.siblings
            )
        # Some mirrors list files only in the tree.
        tree = self._api.list_repo_tree(repo, revision=commit, recursive=False)
        return tuple(
            HubFile(one.path, one.size, one.lfs.sha256 if one.lfs else None)
            for one in tree
            if isinstance(one, RepoFile)
        )

    def download(
        self, repo: str, commit: str, file: HubFile, target: Path, progress: Callable[[int, int], None]
    ) -> FileEntry:
        """Bring one file to `target`, going on where an earlier attempt stopped.

        Args:
            repo: repository, `owner/name`.
            commit: full commit hash.
            file: the file as the snapshot lists it.
            target: where to put it; it appears there only when it is complete and right.
            progress: called with the bytes that are here and the bytes in all.

        Returns:
            Size and hash of the file.

        Raises:
            ModelMissing: the file is not there, or the connection broke and stayed broken.
            ModelInvalid: the bytes are more, fewer or others than the hub said.
        """
        url = hf_hub_url(repo, file.name, revision=commit, endpoint=self._endpoint)
        with self._errors(repo, commit, file.name):
            file = self._with_size(url, file)
            part = target.with_name(target.name + ".part")
            if file.sha256 is None:
                # Without the hub's hash nothing would tell a wrong beginning from a right one.
                part.unlink(missing_ok=True)
            self._receive_patiently(url, part, file.size or 0, progress)
            entry = FileEntry.of(part)
            if entry.size != file.size:
                part.unlink()
                raise ModelInvalid(f"{self._host} sent {entry.size} of {file.size} bytes of {repo}/{file.name}")
            if file.sha256 not in (None, entry.sha256):
                part.unlink()
                raise ModelInvalid(f"{repo}/{file.name} does not have the SHA-256 that {self._host} names for it")
            part.replace(target)
            return entry

    def _with_size(self, url: str, file: HubFile) -> HubFile:
        if file.size is not None:
            return file
        metadata = get_hf_file_metadata(url, token=self._token, timeout=TIMEOUT_S, endpoint=self._endpoint)
        if metadata.size is None:
            raise ModelInvalid(f"{self._host} does not say how large {file.name} is")
        # The ETag of a file in large-file storage is its SHA-256, of any other file a git hash of 40 digits.
        sha256 = metadata.etag if metadata.etag and len(metadata.etag) == 64 else None
        return HubFile(file.name, metadata.size, sha256)

    def _receive_patiently(self, url: str, part: Path, size: int, progress: Callable[[int, int], None]) -> None:
        best = part.stat().st_size if part.exists() else 0
        failures = 0
        while True:
            try:
                return self._receive(url, part, size, progress)
            except (
                httpx2.TimeoutException,
                httpx2.NetworkError,
                httpx2.RemoteProtocolError,
                HfHubHTTPError,
            ) as error:
                status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
                if status == 416:
                    part.unlink(missing_ok=True)
                elif status is not None and status not in _PASSING_STATUSES:
                    raise
                here = part.stat().st_size if part.exists() else 0
                failures = failures + 1 if here <= best else 1
                best = max(best, here)
                if failures > len(RETRY_WAITS_S):
                    raise
                time.sleep(RETRY_WAITS_S[failures - 1])

    def _receive(self, url: str, part: Path, size: int, progress: Callable[[int, int], None]) -> None:
        here = part.stat().st_size if part.exists() else 0
        if here > size:
            part.unlink()
            here = 0
        if here == size and part.exists():
            return
        # Compressed on the way, a file has another length than the hub says, and no ranges.
        headers = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if here:
            headers["Range"] = f"bytes={here}-"
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            resumed = here and response.headers.get("Content-Range", "").startswith(f"bytes {here}-")
            here = here if resumed else 0
            with part.open("ab" if resumed else "wb") as file:
                # As they come from the network: gathered to larger blocks, a broken connection would lose the last.
                for block in response.iter_bytes():
                    here += len(block)
                    file.write(block)
                    progress(here, size)
                    if here > size:
                        return

    @contextmanager
    def _errors(self, repo: str, revision: str, name: str = "") -> Iterator[None]:
        """Translate every error of the library, the network and the disk into one that says what to do.

        The causes are cut off: a server may repeat the request, and the token with it, in its error text.
        """
        what = f"{repo}/{name}" if name else repo
        try:
            yield
        except StartError:
            raise
        except RevisionNotFoundError:
            raise ModelMissing(f"{repo} has no revision {revision!r} on {self._host}") from None
        except GatedRepoError:
            raise ModelMissing(
                f"{repo} is gated: accept its conditions on {self._host} and set HF_TOKEN to that account's"
            ) from None
        except RepositoryNotFoundError:
            raise ModelMissing(
                f"{self._host} shows no model repository {repo}: check its name; a private one needs HF_TOKEN"
            ) from None
        except EntryNotFoundError:
            raise ModelMissing(f"{what} is not on {self._host} at {revision}") from None
        except OfflineModeIsEnabled:
            raise ModelMissing(f"{what} cannot be fetched while HF_HUB_OFFLINE is set: unset it") from None
        except HfHubHTTPError as error:
            raise self._refusal(what, error.response.status_code) from None
        except httpx2.TransportError as error:
            raise ModelMissing(
                f"{what} cannot be fetched from {self._host} ({type(error).__name__}): check the network and "
                "HF_ENDPOINT, then try again; what is here already is kept"
            ) from None
        except OSError as error:
            raise ModelMissing(f"{what} cannot be written to the models folder: {error.strerror}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, LookupError, TypeError, AttributeError):
            raise ModelInvalid(
                f"{self._host} does not answer for {what} as a model hub does: check HF_ENDPOINT"
            ) from None

    def _refusal(self, what: str, status: int) -> StartError:
        if status in (401, 403):
            return ModelMissing(f"{self._host} refuses {what} ({status}): check HF_TOKEN and what it may read")
        if status == 404:
            return ModelMissing(f"{what} is not on {self._host}")
        return ModelMissing(f"{self._host} answers {status} for {what}: try again later")
