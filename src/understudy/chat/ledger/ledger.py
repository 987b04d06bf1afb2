"""The ledger: every reply that was paid for, on disk before anything else happens with it.

One SQLite file in WAL mode, readable with any tool while it is written. Rows are only ever added. A
request that failed has a row of its own, which is never served as an answer. docs/ledger.md says
what is guaranteed.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from understudy.chat.ledger.group_commit import GroupCommit
from understudy.chat.ledger.lock import LedgerLock
from understudy.chat.ledger.repair import connect_to_read, has_tables, repair
from understudy.chat.ledger.schema import (
    COLUMNS,
    Asked,
    BatchState,
    batch_row,
    failure_of,
    failure_row,
    insertion,
    is_whole,
    reply_of,
    reply_row,
)
from understudy.chat.requests import ChatRequest, Failure, Reply
from understudy.records import InputError, RunError
from understudy.tracking.manifest import now

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in a ledger.

    ``unpriced`` are replies whose cost is not known; ``perhaps_usd`` is what failed requests may
    have cost at most.
    """

    replies: int = 0
    failures: int = 0
    unpriced: int = 0
    spent_usd: float = 0.0
    perhaps_usd: float = 0.0


class Ledger:
    """A ledger's file, which is there from the first reply on.

    Anyone may read it. Who writes holds it: by :meth:`hold`, or with the first row.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens nothing yet."""
        self.path = Path(path).expanduser()
        self._lock = LedgerLock(self.path)
        self._writer: GroupCommit | None = None
        self._reader: sqlite3.Connection | None = None
        self._known: set[bytes] | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The ledger at ``path``, be it there or not.

        Raises:
            InputError: The path is a folder, or the file is that of a later version or no ledger.
        """
        ledger = cls(path)
        if ledger.path.is_dir():
            raise InputError(f"{path} is a folder; a ledger is a file: type ledger=FILE.sqlite")
        return ledger

    def hold(self) -> None:
        """Becomes the writer; repairs what an earlier end has left broken, and says so.

        Raises:
            RunError: Another process writes it.
            InputError: The file is no ledger, or one of a later version.
        """
        if self._lock.is_held:
            return
        self._lock.take()
        try:
            repair(self.path)
            self._known = set(map(bytes.fromhex, self._keys()))
            self._writer = GroupCommit(self.path)
            self._writer.reserve()
        except BaseException:
            self.close()
            raise

    def add(self, request: ChatRequest, model: Asked, reply: Reply) -> Future[bool]:
        """Adds a reply; the future is done when it is on disk."""
        return self._add("replies", reply_row(request, model, reply), reply.key)

    def fail(self, request: ChatRequest, model: Asked, failure: Failure) -> Future[bool]:
        """Adds a failure; the future is done when it is on disk."""
        return self._add("failures", failure_row(request, model, failure))

    def note_batch(self, batch: BatchState) -> Future[bool]:
        """Writes down how a batch stands; the first time with the keys of its requests."""
        earlier = {each.input_file_id for each in self.batches()}
        is_new = batch.input_file_id not in earlier
        return self._add("batches", batch_row(batch, now(), with_keys=is_new))

    def has(self, key: str) -> bool:
        """Whether there is a reply to the request of this key."""
        if self._known is not None:
            return bytes.fromhex(key) in self._known
        return self._first("select 1 from replies where key = ?", key) is not None

    def reply(self, key: str) -> Reply | None:
        """The reply to the request of this key."""
        row = self._first("select * from replies where key = ?", key)
        if row is not None and not is_whole(row):
            raise RunError(
                f"{self.path}: row {row[0]} is damaged; the next run that writes it repairs it"
            )
        return None if row is None else reply_of(row)

    def failure(self, key: str) -> Failure | None:
        """The latest failure of the request of this key; null where it was answered."""
        if self.has(key):
            return None
        row = self._first("select * from failures where key = ? order by id desc limit 1", key)
        return None if row is None else failure_of(row)

    def replies(self) -> Iterator[Reply]:
        """All replies in the order in which they came."""
        for row in self._all("select * from replies order by id"):
            yield reply_of(row)

    def batches(self) -> list[BatchState]:
        """How each batch stood last, in the order in which they were made."""
        found: dict[str, BatchState] = {}
        for row in self._all("select * from batches order by id"):
            has = dict(zip(COLUMNS["batches"], row, strict=True))
            id = has["input_file_id"]
            keys = found[id].keys if id in found else tuple(json.loads(has["keys"] or "[]"))
            found[id] = BatchState(
                id, has["batch_id"], has["state"], keys, json.loads(has["note"]), has["created"]
            )
        return list(found.values())

    def counts(self) -> Counts:
        """How many rows there are and what they cost."""
        row = self._first(
            "select count(*), (select count(*) from failures), count(*) - count(cost_usd), "
            "total(cost_usd), (select total(cost_usd) from failures) from replies"
        )
        return Counts(*row) if row else Counts()

    def spent_usd(self) -> float:
        """What all replies cost, by the prices of their days; those without a price not counted."""
        return self.counts().spent_usd

    def mean_completion_tokens(self, model: str) -> tuple[int, float | None]:
        """Of so many replies asked of ``model``; null where none was counted."""
        row = self._first(
            "select count(completion_tokens), avg(completion_tokens) from replies where model = ?",
            model,
        )
        return (row[0], row[1]) if row else (0, None)

    @property
    def trouble(self) -> str | None:
        """Why no more can be written, all rows so far being on disk; null where all is well."""
        return None if self._writer is None else self._writer.trouble

    def close(self) -> None:
        """Commits what waits and gives the file back."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._known = None
        self._lock.free()

    def __enter__(self) -> Self:
        """The ledger."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()

    def _add(self, table: str, row: tuple[Any, ...], key: str | None = None) -> Future[bool]:
        self.hold()
        assert self._writer is not None
        done = self._writer.add(insertion(table), row)
        if key is not None:
            done.add_done_callback(self._knowing(bytes.fromhex(key)))
        return done

    def _knowing(self, key: bytes) -> Callable[[Future[bool]], None]:
        """Remembers a key once its reply is on disk."""
        known = self._known

        def remember(done: Future[bool]) -> None:
            if known is not None and not done.cancelled() and done.exception() is None:
                known.add(key)

        return remember

    def _keys(self) -> Iterator[str]:
        return (row[0] for row in self._all("select key from replies"))

    def _first(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return next(self._all(query, *values), None)

    def _all(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a query; none where there is no file yet."""
        with self._in_one_line():
            connection = self._connected()
            if connection is None:
                return
            with closing(connection.execute(query, values)) as cursor:
                yield from cursor

    def _connected(self) -> sqlite3.Connection | None:
        if self._reader is None and self.path.exists() and self.path.stat().st_size:
            connection = connect_to_read(self.path)
            if not has_tables(self.path, connection):
                connection.close()
                return None
            self._reader = connection
        return self._reader

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(
                f"{self.path} cannot be read ({error}); the next run that writes it repairs it"
            ) from error
