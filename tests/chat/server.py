"""A server that speaks as OpenAI's does, on this machine; what it says is the test's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any]]
Body = dict[str, Any]


class Server:
    """Answers by ``reply``; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Body]] = []
        self.keys: list[str | None] = []
        self.reply: Callable[[int, Body], Answer] = lambda _, body: text(f"to {body['seed']}")
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(length))
                with server._lock:
                    server.asked.append((self.path, body))
                    server.keys.append(self.headers["authorization"])
                    number = len(server.asked)
                code, content = server.reply(number, body)
                sent = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        """Stops serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def text(content: str | None, finish: str = "stop") -> Answer:
    """A reply to a completion."""
    choice = {"index": 0, "text": content, "finish_reason": finish, "logprobs": None}
    usage = {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
    reply = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    return 200, {**reply, "choices": [choice], "usage": usage}


def message(content: str | None, finish: str = "stop") -> Answer:
    """A reply to a chat."""
    said = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": said, "finish_reason": finish, "logprobs": None}
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return 200, {**reply, "choices": [choice], "usage": None}


def error(code: int, said: str) -> Answer:
    """A refusal in OpenAI's form."""
    return code, {"error": {"message": said, "type": "t", "param": None, "code": None}}
