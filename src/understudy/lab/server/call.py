"""A call of the API as it was made, read once: what is asked of which model, and in which form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.lab.server.errors import bad_json, missing, unsupported, wrong
from understudy.lab.server.reading import num_tokens

_NO_CONTENT = ("stream", "stream_options", "user", "metadata", "store", "service_tier")
"""What does not decide an answer, so two calls that differ in it alone have the same content."""

_MOST_CHOICES = 128


@dataclass(frozen=True, slots=True)
class Call:
    """A valid call.

    Attributes:
        model: The name that was asked for.
        prompts: What is to be answered; a chat has one.
        prompt_tokens: Of all messages, or of all prompts.
        n: Choices for each prompt.
        draw: Of the first choice; 0 without a seed, or at temperature 0.
        varies: Whether choices differ: they do not at temperature 0.
        max_tokens: Where an answer is cut.
        stop: Texts before which an answer ends.
        top_logprobs: How many likeliest tokens are listed; null: no log-probabilities.
        is_chat: Whether it has messages.
        streams: Whether the reply comes in pieces, and then whether the last one says the usage.
    """

    model: str
    prompts: tuple[str, ...]
    prompt_tokens: int
    n: int = 1
    draw: int = 0
    varies: bool = True
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    is_chat: bool = True
    streams: bool = False
    streams_usage: bool = False


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
        ApiError: It is none.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise bad_json() from None
    if not isinstance(values, dict):
        raise bad_json()
    return values


def content_of(values: Mapping[str, Any]) -> str:
    """Hash of all that decides an answer.

    Raises:
        ApiError: A text is none: it holds half of a surrogate pair.
    """
    content = {key: value for key, value in values.items() if key not in _NO_CONTENT}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    try:
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    except UnicodeEncodeError:
        raise bad_json() from None


def read_call(values: Mapping[str, Any], *, is_chat: bool, refuses: Collection[str]) -> Call:
    """The call that a body makes.

    Raises:
        ApiError: Something is missing, has no meaning, or is refused by this server.
    """
    for param in refuses:
        if values.get(param) is not None:
            raise unsupported(param)
    prompts, tokens = _chat(values) if is_chat else _prompts(values)
    seed = _integer(values, "seed", lowest=None)
    varies = values.get("temperature") not in (0, 0.0)
    options = values.get("stream_options") or {}
    return Call(
        model=_model(values),
        prompts=prompts,
        prompt_tokens=tokens,
        n=_integer(values, "n", highest=_MOST_CHOICES) or 1,
        draw=(seed or 0) if varies else 0,
        varies=varies,
        max_tokens=_integer(values, "max_completion_tokens") or _integer(values, "max_tokens"),
        stop=_stop(values.get("stop")),
        top_logprobs=_top_logprobs(values, is_chat=is_chat),
        is_chat=is_chat,
        streams=values.get("stream") is True,
        streams_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _model(values: Mapping[str, Any]) -> str:
    model = values.get("model")
    if model is None:
        raise missing("model")
    if not isinstance(model, str):
        raise wrong("model", "it must be a string")
    return model


def _chat(values: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """The last message of the user, and the tokens of all messages."""
    messages = values.get("messages")
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "it must be a list with a message or more")
    texts = [_said(number, message) for number, message in enumerate(messages)]
    asked = [text for role, text in texts if role == "user"] or [texts[-1][1]]
    return (asked[-1],), sum(num_tokens(text) for _, text in texts)


def _said(number: int, message: object) -> tuple[str, str]:
    where = f"messages[{number}]"
    if not isinstance(message, dict):
        raise wrong(where, "it must be an object with role and content")
    if "role" not in message:
        raise missing(f"{where}.role")
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if content is None and message["role"] == "assistant":
        content = ""
    if not isinstance(content, str):
        raise wrong(f"{where}.content", "it must be a string, or a list of text parts")
    return str(message["role"]), content


def _prompts(values: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    given = values.get("prompt")
    if given is None:
        raise missing("prompt")
    prompts = [given] if isinstance(given, str) else given
    if not isinstance(prompts, list) or not all(isinstance(each, str) for each in prompts):
        raise wrong("prompt", "it must be a string or a list of strings")
    if not prompts:
        raise wrong("prompt", "the list is empty")
    return tuple(prompts), sum(map(num_tokens, prompts))


def _stop(given: object) -> tuple[str, ...]:
    stops = [given] if isinstance(given, str) else (given or [])
    if not isinstance(stops, list) or not all(isinstance(each, str) and each for each in stops):
        raise wrong("stop", "it must be a string, or a list of strings that are not empty")
    return tuple(stops)


def _top_logprobs(values: Mapping[str, Any], *, is_chat: bool) -> int | None:
    """How many; a chat says so beside ``logprobs``, a completion in it."""
    if not is_chat:
        return _integer(values, "logprobs", lowest=0, highest=5)
    wanted = values.get("logprobs")
    if wanted not in (None, True, False):
        raise wrong("logprobs", "it must be true or false")
    top = _integer(values, "top_logprobs", lowest=0, highest=20)
    if top is not None and not wanted:
        raise wrong("top_logprobs", "it needs logprobs: true beside it")
    return (top or 0) if wanted else None


def _integer(
    values: Mapping[str, Any], param: str, lowest: int | None = 1, highest: int | None = None
) -> int | None:
    value = values.get(param)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(param, "it must be an integer")
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        raise wrong(param, f"{value} is not from {lowest} to {highest or 'anything above'}")
    return value
