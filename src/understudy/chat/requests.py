"""What is asked of a model behind an API, and what came back: the rows of the ledger.

A request is known by its content alone: endpoint, model, parameters, messages and the number of the
sample. So a request that was answered once is never paid for again, whoever makes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.records import Turn


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation that is to be answered.

    Attributes:
        messages: What is sent.
        sample: Its number among the requests of the same content, from 0.
        id: The row that it is for, in messages to the user; it is not part of the key.
    """

    messages: tuple[Turn, ...]
    sample: int = 0
    id: str = ""

    @classmethod
    def of_user(cls, text: str, *, sample: int = 0, id: str = "") -> ChatRequest:
        """A request of one message of the user."""
        return cls((Turn("user", text),), sample, id)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was paid for.

    Attributes:
        key: Of the request: :func:`request_key`.
        text: What the model wrote; "" where it wrote nothing.
        finish_reason: "stop", "length", or what the server says.
        model: What the server calls the model that answered.
        prompt_tokens: As billed; null where the server counts none.
        completion_tokens: The same.
        cost_usd: By the prices of the day; null where the model has none.
        first_token: The likeliest first tokens with their log-probabilities, where asked for.
        request_id: The server's own number of the reply.
        created: When it was received, in UTC.
    """

    key: str
    text: str
    finish_reason: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    first_token: tuple[tuple[str, float], ...] = ()
    request_id: str = ""
    created: str = ""


NO_SERVER = ("connection", "timeout", "server")
"""The kinds of failures that say that nobody answers, whatever was asked."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was given up, for now: the same line asks again.

    Attributes:
        key: Of the request.
        kind: "content_filter", "bad_request", "rate_limit", "server", "connection", "timeout",
            "unreadable", "no_text".
        message: What was said, without keys.
        status: Of HTTP, where there was one.
        attempts: How often it was asked.
        cost_usd: What it may have cost at most, where an answer may have been written; else null.
        created: When it was given up, in UTC.
    """

    key: str
    kind: str
    message: str
    status: int | None = None
    attempts: int = 1
    cost_usd: float | None = None
    created: str = ""


def request_key(
    endpoint: str, model: str, params: Mapping[str, Any], request: ChatRequest
) -> str:  # fmt: skip
    """The hash of all that decides an answer: sha256 of its canonical JSON, 64 hex digits.

    Equal numbers are one: a temperature of 1 is one of 1.0. ``endpoint`` is the server's address or
    the name that stands for it; ``params`` is what is sent beside model and messages, without a
    seed that follows from the sample's number.
    """
    content = {
        "endpoint": endpoint,
        "model": model,
        "params": _plain(dict(params)),
        "messages": [[turn.role, turn.content] for turn in request.messages],
        "sample": request.sample,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - anything that JSON holds
    """The value with whole floats as integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
