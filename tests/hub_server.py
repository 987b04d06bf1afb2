"""A Hub on loopback: repositories are made, files uploaded and committed, over real HTTP.

It speaks what ``huggingface_hub`` asks of the Hub to push a folder without xet: creation, facts and
tree of a repository, check of the card's YAML, upload modes, LFS and commits.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_this-is-a-secret"
_LARGE = (".safetensors", ".parquet")


@dataclass
class Repo:
    """What the Hub keeps of a repository: ``files`` by path."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b""})
    messages: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """The state of the server; ``repos`` by "models/OWNER/NAME" or "datasets/OWNER/NAME"."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A Hub that runs while the block does."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: Hub

    def log_message(self, format: str, *arguments: object) -> None:
        del format, arguments

    def do_GET(self) -> None:
        path = self._path()
        if found := re.fullmatch(r"/api/((?:models|datasets)/[^/]+/[^/]+)/tree/main", path):
            files = self.state.repos[found[1]].files
            return self._say([_entry(name, content) for name, content in files.items()])
        name = path.removeprefix("/api/")
        if name not in self.state.repos:
            return self._say({"error": "Repository not found"}, 404)
        repo = self.state.repos[name]
        siblings = [{"rfilename": each} for each in repo.files]
        return self._say(
            {"id": name.partition("/")[2], "sha": "0" * 40, "private": repo.private,
             "siblings": siblings, "tags": [], "downloads": 0, "likes": 0}
        )  # fmt: skip

    def do_PUT(self) -> None:
        self.state.large[self._path().rpartition("/")[2]] = self._body()
        self._say({})

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._say({"error": "Invalid credentials in Authorization header"}, 401)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            return self._say({"warnings": [], "errors": []})
        if path.endswith("/preupload/main"):
            files = [each["path"] for each in json.loads(body)["files"]]
            return self._say({"files": [_mode(name) for name in files]})
        if path.endswith("/info/lfs/objects/batch"):
            return self._say({"transfer": "basic", "objects": [
                {**each, "actions": {"upload": {"href": f"{self.state.url}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]})  # fmt: skip
        found = re.fullmatch(r"/api/((?:models|datasets)/[^/]+/[^/]+)/commit/main", path)
        assert found, path
        return self._commit(found[1], [json.loads(line) for line in body.splitlines()])

    def _create(self, wish: dict[str, Any]) -> None:
        kind = wish.get("type") or "model"
        name = f"{wish['organization']}/{wish['name']}" if "organization" in wish else wish["name"]
        key = f"{kind}s/{name}"
        url = f"{self.state.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if key in self.state.repos:
            return self._say({"error": "You already created this repo", "url": url}, 409)
        is_private = bool(wish.get("private", wish.get("visibility") == "private"))
        self.state.repos[key] = Repo(is_private)
        return self._say({"url": url, "name": name, "id": name})

    def _commit(self, key: str, lines: list[dict[str, Any]]) -> None:
        repo = self.state.repos[key]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repo.messages.append(value["summary"])
            elif line["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.state.large[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                repo.files[value["path"]] = content
            else:
                assert line["key"] == "deletedFile", line
                del repo.files[value["path"]]
        name = key.removeprefix("models/")
        oid = f"{len(repo.messages):040x}"
        self._say(
            {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{self.state.url}/{name}/commit/{oid}",
            }
        )

    def _path(self) -> str:
        path = self.path.partition("?")[0]
        self.state.asked.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _say(self, value: object, code: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}


def _mode(name: str) -> dict[str, Any]:
    mode = "lfs" if name.endswith(_LARGE) else "regular"
    return {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": None}
