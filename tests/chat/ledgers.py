"""Ledgers and what is in them, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.chat.ledger.ledger import Ledger
from understudy.chat.requests import ChatRequest, Failure, Reply, request_key


class Teacher:
    """Who was asked, as a ledger's rows have it."""

    endpoint = "lab"
    model = "lab-strong"

    def __init__(self, **params: Any) -> None:  # noqa: ANN401 - any of the API's
        self.params = params or {"temperature": 1.0, "max_tokens": 512}

    def sent_params(self) -> dict[str, Any]:
        return dict(self.params)

    def key_of(self, request: ChatRequest) -> str:
        return request_key(self.endpoint, self.model, self.params, request)


TEACHER = Teacher()


def request(number: int, words: int = 3) -> ChatRequest:
    """The request of this number; with many words it fills several pages of the file."""
    return ChatRequest.of_user(f"frage {number} " * words, id=f"row{number}")


def reply(number: int, words: int = 3, **more: Any) -> Reply:  # noqa: ANN401 - any field
    """Its answer."""
    plain = Reply(
        key=TEACHER.key_of(request(number, words)),
        text=f"antwort {number} 你好 " * words,
        finish_reason="stop",
        model="lab-strong-1",
        prompt_tokens=7,
        completion_tokens=5 + number,
        cost_usd=number / 8,
        first_token=(("ja", -0.25), ("nein", -1.5)),
        request_id=f"id{number}",
        created="2026-01-01T00:00:00+00:00",
    )
    return replace(plain, **more)


def failure(number: int, kind: str = "server") -> Failure:
    """Why it was not answered."""
    return Failure(
        TEACHER.key_of(request(number)), kind, f"kaputt {number}", 500, 5, created="2026"
    )


def filled(path: Path, num_replies: int, words: int = 3) -> list[Reply]:
    """Puts so many replies into a ledger, a commit each where there are few."""
    replies = [reply(number, words) for number in range(num_replies)]
    with Ledger.open(path) as ledger:
        for number, each in enumerate(replies):
            done = ledger.add(request(number, words), TEACHER, each)
            if num_replies < 100:
                assert done.result(10)
    return replies
