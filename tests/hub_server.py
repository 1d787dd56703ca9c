"""A model hub on 127.0.0.1 that answers as the real one does, and misbehaves on request.

It speaks what `huggingface_hub` uses: model info and tree, `resolve` with HEAD, GET and ranges, the hub's headers
and error codes, and a redirect of large files to a storage server of another origin.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest

LARGE_SUFFIXES = (".bin", ".safetensors", ".pth", ".npy")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; the names of its headers are in lower case."""

    server: Literal["hub", "storage"]
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Fault:
    """What goes wrong with the body of one file, `times` times.

    `cut`: announce everything, send `n` bytes, close. `short`: announce and send only `n` bytes.
    `status`: answer with the status `n`.
    """

    kind: Literal["cut", "short", "status"]
    n: int
    times: int = 1_000_000


@dataclass(slots=True)
class Repo:
    revisions: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False


class HubServer:
    """The hub; `with HubServer() as hub:` starts it and ends it.

    Attributes:
        endpoint: base URL.
        requests: every request in order.
        faults: by file name.
        listing: `full` as the real hub; `names` without sizes and hashes; `tree` with the files in the tree only.
        ranges: whether range requests are honoured.
        garbage: when set, every API answer is this text.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: dict[str, Fault] = {}
        self.listing: Literal["full", "names", "tree"] = "full"
        self.ranges = True
        self.garbage: str | None = None
        self._repos: dict[str, Repo] = {}
        self._served: dict[tuple[str, str], bytes] = {}
        # Offline mode and proxies of the machine that runs the tests are for the hub out there, not for this one.
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        self._patch.setenv("NO_PROXY", "127.0.0.1")
        huggingface_hub.close_session()
        self._servers = [_start(self, "hub"), _start(self, "storage")]
        self.endpoint, self.storage_endpoint = (f"http://127.0.0.1:{one.server_port}" for one in self._servers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        huggingface_hub.close_session()
        self._patch.undo()

    def publish(
        self,
        repo: str,
        files: Mapping[str, bytes],
        *,
        revision: str = "main",
        token: str | None = None,
        gated: bool = False,
    ) -> str:
        """Put files at a revision and return the commit; an older commit of the revision stays reachable."""
        content = json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())})
        commit = hashlib.sha1(content.encode()).hexdigest()
        entry = self._repos.setdefault(repo, Repo())
        entry.token, entry.gated = token, gated
        entry.commits[commit] = dict(files)
        entry.revisions[revision] = commit
        return commit

    def tamper(self, repo: str, commit: str, name: str, data: bytes, *, listed: bool = False) -> None:
        """Serve other bytes under the same commit; with `listed`, the hub's own hash and size change too."""
        if listed:
            self._repos[repo].commits[commit][name] = data
        else:
            self._served[commit, name] = data

    def withdraw(self, repo: str, commit: str, name: str) -> None:
        del self._repos[repo].commits[commit][name]

    def downloads(self) -> list[str]:
        """Names of the files whose bytes were asked of the hub, in order."""
        paths = [one.path for one in self.requests if one.server == "hub" and one.method == "GET"]
        return [path.split("/resolve/")[1].split("/", 1)[1] for path in paths if "/resolve/" in path]

    def find(self, repo: str, revision: str, token: str | None) -> tuple[Repo, str] | _Refusal:
        entry = self._repos.get(repo)
        if token is not None and entry is not None and entry.token not in (None, token):
            return _Refusal(401, "", "Invalid credentials in Authorization header")
        if entry is None or (entry.token is not None and token is None):
            return _Refusal(401 if token is None else 404, "RepoNotFound", "Repository not found")
        if entry.gated:
            return _Refusal(403, "GatedRepo", f"Access to model {repo} is restricted")
        commit = entry.revisions.get(revision) or (revision if revision in entry.commits else None)
        if commit is None:
            return _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return entry, commit

    def body(self, entry: Repo, commit: str, name: str) -> bytes:
        return self._served.get((commit, name), entry.commits[commit][name])

    def stored(self, repo: str, commit: str, name: str) -> bytes:
        return self.body(self._repos[repo], commit, name)


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    code: str
    message: str


def _start(hub: HubServer, role: Literal["hub", "storage"]) -> ThreadingHTTPServer:
    class Handler(_Handler):
        server_role = role

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer
    server_role: Literal["hub", "storage"]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        address = urlsplit(self.path)
        self.hub.requests.append(
            Request(
                self.server_role,
                self.command,
                unquote(address.path),
                {name.lower(): value for name, value in self.headers.items()},
            )
        )
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        if self.server_role == "storage":
            owner, name, commit, file = parts
            self._send_file(self.hub.stored(f"{owner}/{name}", commit, file), file, {})
        elif parts[:2] == ["api", "models"]:
            self._api(parts[2:], parse_qs(address.query))
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._refuse(_Refusal(404, "", "no such page"))

    def _api(self, parts: list[str], query: dict[str, list[str]]) -> None:
        if self.hub.garbage is not None:
            self._send(200, self.hub.garbage.encode(), {"Content-Type": "text/html"})
            return
        repo, rest = "/".join(parts[:2]), parts[2:]
        found = self.hub.find(repo, rest[1] if len(rest) > 1 else "main", self._token())
        if isinstance(found, _Refusal):
            self._refuse(found)
            return
        entry, commit = found
        files = entry.commits[commit]
        if rest[:1] == ["tree"]:
            self._json([_tree_entry(name, data) for name, data in files.items()])
            return
        info: dict[str, Any] = {"_id": "0", "id": repo, "modelId": repo, "sha": commit, "private": False, "tags": []}
        if self.hub.listing != "tree":
            blobs = self.hub.listing == "full" and query.get("blobs", ["false"])[0].lower() == "true"
            info["siblings"] = [_sibling(name, data) if blobs else {"rfilename": name} for name, data in files.items()]
        self._json(info)

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        found = self.hub.find(repo, revision, self._token())
        if isinstance(found, _Refusal):
            self._refuse(found)
            return
        entry, commit = found
        if name not in entry.commits[commit]:
            self._refuse(_Refusal(404, "EntryNotFound", "Entry not found"), {"X-Repo-Commit": commit})
            return
        listed = entry.commits[commit][name]
        headers = {"X-Repo-Commit": commit}
        if not _is_large(name):
            self._send_file(self.hub.body(entry, commit, name), name, headers | {"ETag": f'"{_git_hash(listed)}"'})
            return
        headers["X-Linked-Etag"] = f'"{hashlib.sha256(listed).hexdigest()}"'
        headers["X-Linked-Size"] = str(len(listed))
        headers["Location"] = f"{self.hub.storage_endpoint}/{repo}/{commit}/{name}"
        self._send(302, b"", headers)

    def _send_file(self, data: bytes, name: str, headers: dict[str, str]) -> None:
        status, start = 200, 0
        wanted = self.headers.get("Range")
        if wanted and self.hub.ranges:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= len(data):
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            status = 206
            headers = headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        body = data[start:]
        fault = self.hub.faults.get(name)
        if fault is None or fault.times <= 0 or self.command == "HEAD":
            self._send(status, body, headers)
            return
        fault.times -= 1
        if fault.kind == "status":
            self._refuse(_Refusal(fault.n, "", "trouble"))
        elif fault.kind == "short":
            self._send(status, body[: fault.n], headers)
        else:
            self._send(status, body[: fault.n], headers, announced=len(body))
            self.close_connection = True

    def _refuse(self, refusal: _Refusal, headers: Mapping[str, str] | None = None) -> None:
        # The real hub never repeats a token. A proxy's error page may: the worst case is what is tested.
        echo = json.dumps({"error": refusal.message, "request": dict(self.headers.items())}).encode()
        about = {"X-Error-Message": f"{refusal.message}"} | ({"X-Error-Code": refusal.code} if refusal.code else {})
        self._send(refusal.status, echo, {"Content-Type": "application/json", **about, **(headers or {})})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], announced: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _token(self) -> str | None:
        value = self.headers.get("Authorization")
        return value.removeprefix("Bearer ") if value else None


def _is_large(name: str) -> bool:
    return name.endswith(LARGE_SUFFIXES)


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": _git_hash(data)}
    if _is_large(name):
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


def _tree_entry(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": _git_hash(data)}
    if _is_large(name):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry
