"""The reply that the body of an answer holds; a body without one is a fault that may pass."""

from __future__ import annotations

import json
from typing import Any

from understudy.chat.requests import Reply
from understudy.chat.wire.errors import Fault, Then, one_line, without_key
from understudy.tracking.manifest import now


def reply_of(body: bytes, request_key: str, key: str | None) -> Reply:
    """The reply to one request.

    Args:
        body: As received.
        request_key: The request's key in the ledger.
        key: The API's key, which a server may echo; it is in no reply.

    Raises:
        Fault: The body cannot be read, holds no answer, or the provider's filter held it back.
    """
    answer = _object_of(body, key)
    choice = _choice_of(answer, key)
    message = choice["message"]
    finish = str(choice.get("finish_reason") or "unknown")
    if finish == "content_filter":
        raise Fault(Then.GIVE_UP, "content_filter", "finish_reason=content_filter")
    text = message.get("content")
    text = message.get("refusal") if text is None else text
    if text is not None and not isinstance(text, str):
        raise _unreadable(f"content is {type(text).__name__}, not text")
    if not text and finish not in ("stop", "length"):
        raise Fault(Then.RETRY, "no_text", f"no text (finish_reason={finish})")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        key=request_key,
        text=_whole(without_key(text or "", key)),
        finish_reason=finish,
        model=_whole(without_key(str(answer.get("model") or ""), key)),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        first_token=_first_token(choice.get("logprobs")),
        request_id=_whole(without_key(str(answer.get("id") or ""), key)),
        created=now(),
    )


def _object_of(body: bytes, key: str | None) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        start = one_line(body[:60].decode(errors="replace"), key)
        raise _unreadable(f"not JSON ({error}): {start!r}") from None
    if not isinstance(answer, dict):
        raise _unreadable(f"a JSON {type(answer).__name__}, not an object")
    return answer


def _choice_of(answer: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The only choice, with its message."""
    choices = answer.get("choices")
    if not choices:
        said = f": {one_line(answer['error'], key)}" if answer.get("error") else ""
        raise _unreadable(f"no choices{said}")
    choice = choices[0] if isinstance(choices, list) else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        raise _unreadable("a choice without a message")
    return choice


def _first_token(logprobs: object) -> tuple[tuple[str, float], ...]:
    """The likeliest first tokens, in the server's order; none where they were not asked for."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not content:
        return ()
    try:
        first = content[0]
        likeliest = first.get("top_logprobs") or [first]
        return tuple((_whole(str(each["token"])), float(each["logprob"])) for each in likeliest)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _unreadable("logprobs in a form of its own") from None


def _count(tokens: object) -> int | None:
    return tokens if isinstance(tokens, int) and tokens >= 0 else None


def _whole(text: str) -> str:
    """The text with half characters, which no file can hold, shown as such."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unreadable(said: str) -> Fault:
    return Fault(Then.RETRY, "unreadable", said)
