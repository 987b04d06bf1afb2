"""The tables of a ledger, and how requests, replies and failures become rows of them.

Every row ends with a checksum of what is in it, so a damaged row is told from a whole one whatever
happened to the file around it. Rows are added and never changed; triggers refuse the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.chat.requests import ChatRequest, Failure, Reply

VERSION = 1
PAGE_BYTES = 4096
Row = tuple[Any, ...]

_REQUEST = """
    id integer primary key,
    key text not null{unique},
    endpoint text not null,
    model text not null,
    params text not null,
    messages text not null,
    sample integer not null,
    row text not null,"""
_TABLES = {
    "replies": _REQUEST.format(unique=" unique")
    + """
    text text not null,
    finish_reason text not null,
    answered_by text not null,
    prompt_tokens integer,
    completion_tokens integer,
    cost_usd real,
    first_token text not null,
    request_id text not null,
    created text not null,
    checksum text not null""",
    "failures": _REQUEST.format(unique="")
    + """
    kind text not null,
    message text not null,
    status integer,
    attempts integer not null,
    cost_usd real,
    created text not null,
    checksum text not null""",
    "batches": """
    id integer primary key,
    input_file_id text not null,
    batch_id text not null,
    state text not null,
    keys text,
    note text not null,
    created text not null,
    checksum text not null""",
}
COLUMNS: Mapping[str, tuple[str, ...]] = {
    table: tuple(line.split()[0] for line in body.strip().splitlines())
    for table, body in _TABLES.items()
}


class Asked(Protocol):
    """What a row keeps of who was asked."""

    @property
    def endpoint(self) -> str:
        """What stands for the server in keys."""
        ...

    @property
    def model(self) -> str:
        """What the server is told to answer with."""
        ...

    def sent_params(self) -> Mapping[str, Any]:
        """What is sent beside model and messages."""
        ...


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch of requests at the provider, as far as it is known.

    Attributes:
        input_file_id: Of the file with the requests: a batch is known by it, so that it can be
            written down before the batch is made.
        batch_id: The provider's, "" before there is one.
        state: What the provider calls it, or "making" before there is one.
        keys: Of the requests, in the order of the file.
        note: Whatever else is needed to go on with it.
        created: When this was written down, in UTC; filled in by the ledger.
    """

    input_file_id: str
    batch_id: str = ""
    state: str = "making"
    keys: tuple[str, ...] = ()
    note: Mapping[str, Any] | None = None
    created: str = ""


def statements() -> list[str]:
    """What makes the tables of a new ledger; harmless where they are there."""
    made = ["create table if not exists meta (name text primary key, value text not null)"]
    for table, body in _TABLES.items():
        made.append(f"create table if not exists {table} ({body})")
        made += [
            f"create trigger if not exists {table}_no_{event} before {event} on {table} "
            f"begin select raise(abort, 'rows of a ledger are never changed'); end"
            for event in ("update", "delete")
        ]
    made.append("create index if not exists failures_by_key on failures (key)")
    made.append(f"insert or ignore into meta values ('schema_version', '{VERSION}')")
    return made


def insertion(table: str) -> str:
    """The statement that adds a row; a second reply to one request changes nothing."""
    columns = COLUMNS[table]
    places = ", ".join("?" * len(columns))
    known = " on conflict (key) do nothing" if table == "replies" else ""
    return f"insert into {table} ({', '.join(columns)}) values ({places}){known}"


def reply_row(request: ChatRequest, model: Asked, reply: Reply) -> Row:
    """The row of a reply, without its number."""
    return checked(
        (
            *_request_columns(reply.key, request, model),
            _storable(reply.text),
            reply.finish_reason,
            reply.model,
            reply.prompt_tokens,
            reply.completion_tokens,
            reply.cost_usd,
            _as_json(reply.first_token),
            reply.request_id,
            reply.created,
        )
    )


def failure_row(request: ChatRequest, model: Asked, failure: Failure) -> Row:
    """The row of a failure, without its number."""
    return checked(
        (
            *_request_columns(failure.key, request, model),
            failure.kind,
            _storable(failure.message),
            failure.status,
            failure.attempts,
            failure.cost_usd,
            failure.created,
        )
    )


def batch_row(batch: BatchState, created: str, *, with_keys: bool) -> Row:
    """The row of a batch, without its number; its keys are written once."""
    return checked(
        (
            batch.input_file_id,
            batch.batch_id,
            batch.state,
            _as_json(batch.keys) if with_keys else None,
            _as_json(batch.note or {}),
            created,
        )
    )


def reply_of(row: Row) -> Reply:
    """The reply of a whole row of ``replies``."""
    has = dict(zip(COLUMNS["replies"], row, strict=True))
    return Reply(
        key=has["key"],
        text=has["text"],
        finish_reason=has["finish_reason"],
        model=has["answered_by"],
        prompt_tokens=has["prompt_tokens"],
        completion_tokens=has["completion_tokens"],
        cost_usd=has["cost_usd"],
        first_token=tuple((token, logprob) for token, logprob in json.loads(has["first_token"])),
        request_id=has["request_id"],
        created=has["created"],
    )


def failure_of(row: Row) -> Failure:
    """The failure of a whole row of ``failures``."""
    has = dict(zip(COLUMNS["failures"], row, strict=True))
    return Failure(
        key=has["key"],
        kind=has["kind"],
        message=has["message"],
        status=has["status"],
        attempts=has["attempts"],
        cost_usd=has["cost_usd"],
        created=has["created"],
    )


def checked(values: Sequence[Any]) -> Row:
    """Values of a row, number left out, with their checksum after them."""
    return (*values, _checksum(values))


def is_whole(row: Row) -> bool:
    """Whether a row, its number first, is what was written."""
    return bool(row[-1] == _checksum(row[1:-1]))


def _checksum(values: Sequence[Any]) -> str:
    return hashlib.sha256(_as_json(values).encode("utf-8", "replace")).hexdigest()[:16]


def _request_columns(key: str, request: ChatRequest, model: Asked) -> Row:
    messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
    return (
        key,
        model.endpoint,
        model.model,
        json.dumps(dict(model.sent_params()), sort_keys=True, ensure_ascii=False),
        _storable(_as_json(messages)),
        request.sample,
        request.id,
    )


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _storable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")
