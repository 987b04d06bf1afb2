"""What came of each row that was asked, in the rows' order, whatever order the replies came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from understudy.chat.requests import ChatRequest, Failure, Reply

if TYPE_CHECKING:
    from understudy.chat.asking.asker import Answers
    from understudy.tracking.run import Run

FAILURES = "failures.jsonl"
"""Rows without an answer: ``kind`` is "empty", which was paid for, or that of a failure."""

EMPTY = "empty"
NOT_ASKED = "not_asked"
_NUM_SHOWN = 50

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Row]):
    """A row, what was asked for it, and what came: a reply, a failure, or neither so far."""

    row: Row
    request: ChatRequest
    reply: Reply | None = None
    failure: Failure | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the model answered, and wrote nothing."""
        return self.reply is not None and not self.reply.text.strip()

    @property
    def is_answered(self) -> bool:
        """Whether there is a text."""
        return self.reply is not None and not self.is_empty

    @property
    def missing(self) -> str | None:
        """Why there is no text: "empty", a failure's kind, "not_asked"; null where there is one."""
        if self.is_empty:
            return EMPTY
        if self.reply is not None:
            return None
        return NOT_ASKED if self.failure is None else self.failure.kind


def outcomes(asked: Iterable[tuple[Row, ChatRequest]], answers: Answers) -> Iterator[Outcome[Row]]:
    """What came of each row, read from the ledger one by one."""
    for row, request in asked:
        reply = answers.reply(request)
        failure = answers.failure(request) if reply is None else None
        yield Outcome(row, request, reply, failure)


def keeping_first(
    rows: Iterable[dict[str, Any]], shown: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The rows as they are; the first of them are put into ``shown``, for a table on W&B."""
    for row in rows:
        if len(shown) < _NUM_SHOWN:
            shown.append(row)
        yield row


def write_failures(run: Run, failed: Iterable[Mapping[str, Any]]) -> None:
    """Writes ``failures.jsonl``, empty where every row has an answer."""
    run.write_rows(FAILURES, failed)


def failure_row(outcome: Outcome[Any], *, id: str = "") -> dict[str, Any]:
    """A row of ``failures.jsonl``; ``id`` is that of the row, else the request's."""
    failure = outcome.failure
    return {
        "id": id or outcome.request.id,
        "kind": outcome.missing,
        "status": None if failure is None else failure.status,
        "attempts": None if failure is None else failure.attempts,
        "message": "" if failure is None else failure.message,
    }


def in_order_of(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """The counts in the order of ``names``, zeros too, then those of other names."""
    ordered = {name: counts.get(name, 0) for name in names}
    return {**ordered, **{name: counts[name] for name in sorted(counts.keys() - ordered.keys())}}
