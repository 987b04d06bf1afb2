"""Published files over a real HTTP server on this machine: whole, wrong, missing, cut, cached."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from understudy.data.fetch import fetch, require_sha256
from understudy.data.sets import PublishedSet
from understudy.records import InputError, RunError

CONTENT = b'{"text": "Say a", "id": 1}\n{"text": "Say b", "id": 2}\n'
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """Serves /whole.jsonl, cuts /cut.jsonl in the middle, knows nothing else."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]  # a list of the fixture's
        if self.path not in ("/whole.jsonl", "/cut.jsonl"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole.jsonl" else CONTENT[:20])

    def log_message(self, *_: object) -> None:
        """Says nothing on stderr."""


class Server:
    """A running server, its address and what was asked of it."""

    def __init__(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self._http.asked = self.asked  # type: ignore[attr-defined]  # where the handler finds it
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.close()


def test_a_file_is_fetched_once_and_then_needs_no_server(server: Server, tmp_path: Path) -> None:
    url, folder = f"{server.url}/whole.jsonl", tmp_path / "new" / "cache"
    first = fetch("two", url, sha256=SHA256, folder=folder)
    assert first.read_bytes() == CONTENT
    assert first == folder / f"two-{SHA256[:12]}.jsonl"
    server.close()
    assert fetch("two", url, sha256=SHA256, folder=folder) == first
    assert server.asked == ["/whole.jsonl"]


def test_a_changed_file_in_the_cache_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/whole.jsonl"
    fetch("two", url, sha256=SHA256, folder=tmp_path).write_bytes(b"else")
    assert fetch("two", url, sha256=SHA256.upper(), folder=tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_without_a_hash_whatever_comes_is_kept_for_its_address(
    server: Server, tmp_path: Path
) -> None:
    url = f"{server.url}/whole.jsonl"
    first = fetch("two", url, sha256=None, folder=tmp_path)
    assert fetch("two", url, sha256=None, folder=tmp_path) == first
    assert len(server.asked) == 1
    assert fetch("two", url, sha256=SHA256, folder=tmp_path) != first


@pytest.mark.parametrize(
    ("file", "sha256", "said"),
    [
        ("whole.jsonl", "0" * 64, rf"published \(expected sha256:0{{64}} but got {SHA256}\)$"),
        ("missing.jsonl", SHA256, r"could not be fetched \(HTTP 404 Not Found\)$"),
        ("cut.jsonl", SHA256, r"could not be fetched \(IncompleteRead\(20 bytes read, 34 more"),
        ("cut.jsonl", None, r"could not be fetched \(IncompleteRead"),
    ],
)
def test_what_cannot_be_had_leaves_nothing_behind(
    file: str, sha256: str | None, said: str, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=said) as caught:
        fetch("two", f"{server.url}/{file}", sha256=sha256, folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_is_one_line_with_the_way_out(server: Server, tmp_path: Path) -> None:
    server.close()
    url = f"{server.url}/whole.jsonl"
    source = PublishedSet("two", url, SHA256, cache_dir=str(tmp_path), key="questions.sets.two")
    with pytest.raises(RunError) as caught:
        source.questions()
    assert str(caught.value) == (
        f"question set two: {url} could not be fetched (Connection refused); "
        "give a copy with questions.sets.two.path=FILE"
    )


def test_a_cache_that_cannot_be_written_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(RunError, match=r"could not be fetched \(.*\)"):
        fetch("two", f"{server.url}/whole.jsonl", sha256=SHA256, folder=tmp_path / "cache")


def test_a_published_set_is_asked_from_the_cache(server: Server, tmp_path: Path) -> None:
    source = PublishedSet(
        "two",
        f"{server.url}/whole.jsonl",
        SHA256,
        cache_dir=str(tmp_path),
        fields={"instruction": "text"},
    )
    assert [question.prompt.instruction for question in source.questions()] == ["Say a", "Say b"]
    (file,) = source.inputs()
    assert (Path(file.path).parent, file.sha256, file.rows) == (tmp_path, SHA256, 2)
    assert len(server.asked) == 1


def test_only_the_published_bytes_pass(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(CONTENT)
    require_sha256(path, SHA256.upper(), way_out="")
    path.write_bytes(CONTENT + b" ")
    with pytest.raises(InputError, match=rf"q\.jsonl: not the published file .*{SHA256[:12]}.*; x"):
        require_sha256(path, SHA256, way_out="x")
