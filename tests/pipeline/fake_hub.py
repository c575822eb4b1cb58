"""A Hugging Face hub on this machine, over a folder of repositories: enough of it for listing and downloading."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    root: Path
    url: str = ""
    fetched: list[str] = field(default_factory=list)
    """Paths of the files sent, with the range asked for, if any."""
    break_after: int | None = None
    """Close the connection after so many bytes of a file, once."""
    entity_tags: bool = True
    """Whether a file's tag is its checksum."""


@contextmanager
def serve(root: Path) -> Iterator[FakeHub]:
    hub = FakeHub(root)

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            self._api(*match.groups())
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*match.groups())
        else:
            self._json({"error": "no such page"}, 404)

    def _api(self, repo: str, kind: str | None, revision: str | None):
        folder = self.hub.root / repo
        if not folder.is_dir():
            return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if revision not in (None, "main", "v2", COMMIT):
            return self._json({"error": "Invalid rev"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if kind == "tree":
            return self._json([{"type": "file", **_entry(p, folder, "path", "oid")} for p in files])
        return self._json(
            {"id": repo, "sha": COMMIT, "siblings": [_entry(p, folder, "rfilename", "sha256") for p in files]}
        )

    def _file(self, repo: str, revision: str, name: str):
        path = self.hub.root / repo / name
        if not path.is_file():
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        content, start = path.read_bytes(), 0
        if asked := re.match(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(asked[1])
        if self.command == "GET":
            self.hub.fetched.append(f"{repo}/{name}" + (f"@{start}" if start else ""))
        self.send_response(206 if start else 200)
        for key, value in {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{_sha256(path)}"' if self.hub.entity_tags else f'"{len(content)}-mirror"',
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(content) - start),
            **({"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self._send(content[start:])
        return None

    def _send(self, content: bytes):
        limit = self.hub.break_after
        if limit is not None and len(content) > limit:
            self.hub.break_after = None
            self.wfile.write(content[:limit])
            self.close_connection = True
            return
        self.wfile.write(content)

    def _json(self, content: object, status: int = 200, headers: dict[str, str] | None = None):
        body = json.dumps(content).encode()
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _entry(path: Path, folder: Path, name: str, checksum: str) -> dict:
    entry = {name: str(path.relative_to(folder)), "size": path.stat().st_size, "blobId": "0" * 40, "oid": "0" * 40}
    if path.suffix == ".safetensors":
        entry["lfs"] = {checksum: _sha256(path), "size": path.stat().st_size, "pointerSize": 134}
    return entry


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
