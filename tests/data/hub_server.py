"""A Hub on this machine with one data set, as far as ``datasets`` asks for it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "c0ff"


@contextmanager
def hub(repo: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serves ``files`` as the data set ``repo`` at one commit.

    Gives the Hub's address and the list of paths that were asked for so far.
    """
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"repo": repo, "files": files, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    repo: str
    files: Mapping[str, bytes]
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0].replace("%2F", "/")
        api, _, folder = path.partition(f"/api/datasets/{self.repo}/tree/{COMMIT}")
        if not api and path.startswith(f"/api/datasets/{self.repo}/tree/"):
            self._say(json.dumps(self._listing(folder.strip("/"))).encode())
        elif path.startswith(f"/api/datasets/{self.repo}"):
            self._say(json.dumps({"id": self.repo, "sha": COMMIT}).encode())
        else:
            self._file(path.removeprefix(f"/datasets/{self.repo}/resolve/{COMMIT}/"))

    def _listing(self, folder: str) -> list[dict[str, object]]:
        prefix = f"{folder}/" if folder else ""
        inside = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        folders = sorted({name.partition("/")[0] for name in inside if "/" in name})
        listed: list[dict[str, object]] = [
            {"type": "directory", "path": prefix + name, "oid": ""} for name in folders
        ]
        for name in (prefix + name for name in inside if "/" not in name):
            size = len(self.files[name])
            listed.append({"type": "file", "path": name, "oid": "", "size": size})
        return listed

    def _file(self, name: str) -> None:
        content = self.files.get(name)
        if content is None:
            self._say(b"{}", status=404, headers={"X-Error-Code": "EntryNotFound"})
        else:
            self._say(content, headers={"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def _say(
        self, content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        sent = {"X-Repo-Commit": COMMIT, "Content-Length": str(len(content)), **(headers or {})}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
