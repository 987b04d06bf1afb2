"""What is sent back: choices with their finish, log-probabilities and usage, whole or in pieces.

A token is a word with the white space before it, or a Chinese character. The models know what they
say, so a token's probability is 1, but for the first token of a rating or review: its distribution
is that of the known noise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.lab.server.answers import Answer, Asked, Model
from understudy.lab.server.call import Call
from understudy.lab.server.faults import Fault
from understudy.lab.server.reading import num_tokens, tokens_of

_NEVER = -9999.0  # what OpenAI's API says of a token that was as good as impossible


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer as it is sent; ``text`` is null where the reply has none."""

    text: str | None
    finish: str
    num_tokens: int
    first: Sequence[tuple[str, float]] = ()

    @property
    def is_full(self) -> bool:
        """Whether a client has what it asked for, and will not ask again."""
        return bool(self.text) and self.finish in ("stop", "length")


@dataclass(frozen=True, slots=True)
class Names:
    """What a reply is called: its id, when it was made, by which model."""

    id: str
    created: int
    model: str

    def beginning(self, kind: str) -> dict[str, Any]:
        """The fields that every reply and every piece of one begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model,
                "system_fingerprint": "fp_lab"}  # fmt: skip


def choices_of(call: Call, model: Model, fault: Fault | None) -> list[Choice]:
    """All choices of a call: those of the first prompt, then those of the next."""
    name = None if fault is None else fault.name
    choices = []
    for prompt in call.prompts:
        for number in range(call.n):
            draw = call.draw + (number if call.varies else 0)
            asked = Asked(prompt, draw, is_malformed=name == "malformed")
            choices.append(_faulty(_choice(model(asked), call), name))
    return choices


def usage_of(call: Call, choices: Sequence[Choice]) -> dict[str, int]:
    """The tokens that are billed: the prompt's once, those of all choices."""
    completion = sum(choice.num_tokens for choice in choices)
    return {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": call.prompt_tokens + completion,
    }


def reply_of(
    call: Call, choices: Sequence[Choice], names: Names, usage: Mapping[str, int]
) -> dict[str, Any]:
    """The whole reply."""
    kind = "chat.completion" if call.is_chat else "text_completion"
    listed = [_listed(call, number, choice) for number, choice in enumerate(choices)]
    return {**names.beginning(kind), "choices": listed, "usage": usage}


def pieces_of(
    call: Call, choices: Sequence[Choice], names: Names, usage: Mapping[str, int]
) -> Iterator[bytes]:
    """The reply as server-sent events, a token each."""
    start = names.beginning("chat.completion.chunk" if call.is_chat else "text_completion")
    for number, choice in enumerate(choices):
        for place, token in enumerate(tokens_of(choice.text or "")):
            yield _event(start, [_piece(call, number, token, is_first=place == 0)])
        last = {"index": number, "finish_reason": choice.finish, "logprobs": None}
        yield _event(start, [{**last, **({"delta": {}} if call.is_chat else {"text": ""})}])
    if call.streams_usage:
        yield _event({**start, "usage": usage}, [])
    yield b"data: [DONE]\n\n"


def _event(start: Mapping[str, Any], choices: list[dict[str, Any]]) -> bytes:
    text = json.dumps({**start, "choices": choices}, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def _piece(call: Call, number: int, token: str, *, is_first: bool) -> dict[str, Any]:
    same = {"index": number, "finish_reason": None, "logprobs": None}
    if not call.is_chat:
        return {**same, "text": token}
    delta = {"role": "assistant"} if is_first else {}
    return {**same, "delta": {**delta, "content": token}}


def _choice(answer: Answer, call: Call) -> Choice:
    text, finish = answer.text, "stop"
    for stop in call.stop:
        text = text.partition(stop)[0]
    count = num_tokens(text)
    if call.max_tokens is not None and count > call.max_tokens:
        text, finish, count = _cut(text, call.max_tokens), "length", call.max_tokens
    return Choice(text, finish, count, answer.first)


def _cut(text: str, count: int) -> str:
    return "".join(tokens_of(text)[:count])


def _faulty(choice: Choice, fault: str | None) -> Choice:
    """The choice as a fault leaves it."""
    if fault == "empty":
        return Choice("", "stop", 0)
    if fault == "null":
        return Choice(None, "stop", 0)
    if fault == "content_filter":
        return Choice(None, "content_filter", 0)
    if fault == "length":
        count = max(choice.num_tokens // 2, 1)
        return Choice(_cut(choice.text or "", count), "length", count, choice.first)
    return choice


def _listed(call: Call, number: int, choice: Choice) -> dict[str, Any]:
    wants = call.top_logprobs is not None and choice.text is not None
    if call.is_chat:
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        logprobs = {"content": _chat_logprobs(call, choice)} if wants else None
        return {"index": number, "message": message, "logprobs": logprobs,
                "finish_reason": choice.finish}  # fmt: skip
    logprobs = _text_logprobs(call, choice) if wants else None
    return {"index": number, "text": choice.text, "logprobs": logprobs,
            "finish_reason": choice.finish}  # fmt: skip


def _token_logprobs(call: Call, choice: Choice) -> list[tuple[str, float, list[tuple[str, float]]]]:
    """Each token with its log-probability, and the likeliest in its place."""
    rows = []
    for place, token in enumerate(tokens_of(choice.text or "")):
        chances = dict(choice.first) if place == 0 and choice.first else {token: 1.0}
        ranked = sorted(chances.items(), key=lambda pair: -pair[1])
        listed = [(each, _log(chance)) for each, chance in ranked[: call.top_logprobs]]
        rows.append((token, _log(chances.get(token, 0.0)), listed))
    return rows


def _log(chance: float) -> float:
    return math.log(chance) if chance > 0 else _NEVER


def _chat_logprobs(call: Call, choice: Choice) -> list[dict[str, Any]]:
    return [
        {**_entry(token, value), "top_logprobs": [_entry(*each) for each in listed]}
        for token, value, listed in _token_logprobs(call, choice)
    ]


def _entry(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def _text_logprobs(call: Call, choice: Choice) -> dict[str, Any]:
    rows = _token_logprobs(call, choice)
    offsets, end = [], 0
    for token, _, _ in rows:
        offsets.append(end)
        end += len(token)
    return {
        "tokens": [token for token, _, _ in rows],
        "token_logprobs": [value for _, value, _ in rows],
        "top_logprobs": [dict(listed) for _, _, listed in rows],
        "text_offset": offsets,
    }
