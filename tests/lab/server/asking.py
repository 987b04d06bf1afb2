"""Asks the lab's server: through the official client, and byte by byte."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

PRICES: dict[str, dict[str, float]] = {
    "lab-strong": {"input": 30, "output": 60},
    "lab-weak": {"input": 0.1, "output": 0.1},
    "lab-rater": {"input": 0.15, "output": 0.6},
}
FIRST = "give the first item\n\nc a b"


@dataclass
class Said:
    """A response as it came."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the server says
        return json.loads(self.content)

    @property
    def error(self) -> dict[str, Any]:
        """The error, which has the fields of OpenAI's and no others."""
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


@dataclass
class Lab:
    """A running server."""

    url: str
    key: str = "none"
    client: openai.OpenAI = field(init=False)

    def __post_init__(self) -> None:
        self.client = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, text: str, model: str = "lab-strong", **params: Any) -> ChatCompletion:  # noqa: ANN401 - the API's
        reply = self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], **params
        )
        assert isinstance(reply, ChatCompletion)
        return reply

    def answer(self, text: str, model: str = "lab-strong", **params: Any) -> str:  # noqa: ANN401 - the API's
        """The text of the only choice."""
        (choice,) = self.ask(text, model, **params).choices
        assert choice.message.content is not None
        return choice.message.content

    def post(self, path: str, body: object, **headers: str) -> Said:
        """Posts JSON, or bytes as they are; in a header's name ``_`` stands for ``-``."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._send("POST", path, content, named)

    def get(self, path: str, **headers: str) -> Said:
        return self._send("GET", path, None, headers)

    def chat(self, body: Mapping[str, Any] | None = None, **headers: str) -> Said:
        """A chat completion without the client; ``body`` adds to a plain one."""
        plain = {"model": "lab-strong", "messages": [{"role": "user", "content": FIRST}]}
        return self.post("/v1/chat/completions", {**plain, **(body or {})}, **headers)

    def bill(self, of: str = "") -> dict[str, Any]:
        """All sums, or the bill of one request."""
        found: dict[str, Any] = self.get(f"/lab/bill{of and '/'}{of}").json
        return found

    def _send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Said:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path, content, dict(headers))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Said(response.status, named, response.read())
        finally:
            connection.close()
