"""A server on this machine that says whatever a test wants, also what no server should.

Unlike :mod:`chat.server` it keeps connections open, counts time, and can close a connection in the
middle of its answer, or never answer at all.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = ("gpt-4.1", "gpt-6-luna", "strong")


@dataclass(frozen=True)
class Said:
    """An answer; ``cut`` closes the connection after so many bytes of the body, 0 before any."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    is_dropped: bool = False
    hangs: bool = False
    byte_seconds: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    time: float

    @property
    def text(self) -> str:
        """Of the last message."""
        return str(self.body["messages"][-1]["content"])


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for a :class:`Wire`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wire: Wire

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._say(self.wire.take(Asked(self.path, headers, body, time.monotonic())))

    def do_GET(self) -> None:
        if self.wire.models is None or not self.path.endswith("/models"):
            self._say(Said(404, b"<html><title>Nothing here</title></html>"))
            return
        listed = [{"id": each, "object": "model"} for each in self.wire.models]
        self._say(Said(body={"object": "list", "data": listed}))

    def _say(self, said: Said) -> None:
        if said.hangs:
            self.wire.ended.wait(30)
        if said.hangs or said.is_dropped:
            self.close_connection = True
            return
        sent = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        self.send_response(said.status)
        for name, value in {"content-type": "application/json", **said.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        if said.cut is not None:
            self.close_connection = True
        self._send(sent[: said.cut], said.byte_seconds)

    def _send(self, sent: bytes, byte_seconds: float) -> None:
        try:
            for part in [bytes([each]) for each in sent] if byte_seconds else [sent]:
                self.wfile.write(part)
                self.wfile.flush()
                if self.wire.ended.wait(byte_seconds):
                    return
        except OSError:  # who asked has gone, which is what the test is about
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


class Wire:
    """Answers by ``reply``, which is given the number of the request, from 1, and the request."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.reply: Callable[[int, Asked], Said] = lambda _, asked: answered(f"to {asked.text}")
        self.models: tuple[str, ...] | None = MODELS
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"wire": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def take(self, asked: Asked) -> Said:
        """Keeps the request and answers it."""
        with self._lock:
            self.asked.append(asked)
            number = len(self.asked)
        return self.reply(number, asked)

    def close(self) -> None:
        """Stops serving, and lets go of who hangs."""
        self.ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def answered(content: Any, finish: str | None = "stop", **more: Any) -> Said:  # noqa: ANN401 - as sent
    """A reply; ``headers`` go to the answer, other keywords into the choice."""
    headers = more.pop("headers", {})
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None, **more}
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    reply = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "strong-0613"}
    return Said(body={**reply, "choices": [choice], "usage": usage}, headers=headers)


def refused(status: int, said: str, headers: Mapping[str, str] | None = None, **more: Any) -> Said:  # noqa: ANN401 - as sent
    """An error in OpenAI's form; keywords such as ``code`` and ``param`` go into it."""
    error = {"message": said, "type": "invalid_request_error", "param": None, "code": None}
    return Said(status, {"error": {**error, **more}}, headers or {})
