"""One thread that writes: it commits all that waits in one transaction, and says so afterwards.

Forcing a commit to disk takes milliseconds, whether it holds one row or a hundred. So rows that
come while one commit is under way share the next: nobody waits for more than two, and hundreds of
replies a second are durable before anyone goes on with them.
"""

from __future__ import annotations

import errno
import os
import queue
import sqlite3
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from understudy.chat.ledger.schema import PAGE_BYTES, Row, statements
from understudy.records import RunError

_RESERVE_BYTES = 4 << 20
_MAX_GROUP = 1000
_BUSY_SECONDS = 30.0
_THE_ROWS_FAULT = (
    ValueError,
    OverflowError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
_Waiting = tuple[str, Row, "Future[bool]"]


class GroupCommit:
    """Adds rows to a ledger's file, which is made with the first."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet."""
        self._path = path
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._reserve = path.with_name(f"{path.name}.reserve")
        self.trouble: str | None = None

    def reserve(self) -> None:
        """Sets room aside for the replies that are under way when the disk gets full.

        Raises:
            RunError: There is no room.
        """
        try:
            with self._reserve.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, _RESERVE_BYTES)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise RunError(self._in_words(error)) from error

    def add(self, statement: str, row: Row) -> Future[bool]:
        """Has a row added; the future is done when it is on disk: False if it was there before."""
        done: Future[bool] = Future()
        done.set_running_or_notify_cancel()  # what waits is written, whoever still wants to know
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
            self._thread.start()
        self._waiting.put((statement, row, done))
        return done

    def close(self) -> None:
        """Commits what waits, then ends the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        self._reserve.unlink(missing_ok=True)

    def _work(self) -> None:
        try:
            connection = self._connected()
        except (sqlite3.Error, OSError) as error:
            self.trouble = self._in_words(error)
            self._refuse()
            return
        try:
            self._commit_groups(connection)
        finally:
            with suppress(sqlite3.Error):  # a full disk: what is committed stays in the -wal file
                connection.close()

    def _commit_groups(self, connection: sqlite3.Connection) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._commit(connection, group)

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """All that waits, at least one; and whether more may come."""
        group: list[_Waiting] = []
        while len(group) < _MAX_GROUP:
            try:
                each = self._waiting.get(block=not group)
            except queue.Empty:
                break
            if each is None:
                return group, False
            group.append(each)
        return group, True

    def _commit(self, connection: sqlite3.Connection, group: list[_Waiting]) -> None:
        try:
            results = self._written(connection, group)
        except Exception as error:  # nobody else would learn of it
            self.trouble = self._in_words(error)
            for _, _, done in group:
                done.set_exception(RunError(self.trouble))
            return
        for (_, _, done), result in zip(group, results, strict=True):
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)

    def _written(
        self, connection: sqlite3.Connection, group: list[_Waiting]
    ) -> list[bool | Exception]:
        """What came of each row; where the disk is full, the reserve makes room for those at hand.

        Raises:
            sqlite3.Error: Nothing of the group was written.
        """
        try:
            return _in_one_transaction(connection, group)
        except sqlite3.OperationalError as error:
            if not self._reserve.exists():
                raise
            self.trouble = self._in_words(error)
            self._reserve.unlink()
            return _in_one_transaction(connection, group)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute(f"pragma page_size={PAGE_BYTES}")
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=full")
            connection.execute("begin immediate")
            for statement in statements():
                connection.execute(statement)
            connection.execute("commit")
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            for _, _, done in group:
                done.set_exception(RunError(self.trouble or ""))

    def _in_words(self, error: Exception) -> str:
        said = " ".join(str(error).split())
        return f"{self._path} cannot be written ({said}); all rows in it are safe: make room"


def _in_one_transaction(
    connection: sqlite3.Connection, group: list[_Waiting]
) -> list[bool | Exception]:
    """Adds rows and commits; a row that cannot be stored fails alone."""
    connection.execute("begin immediate")
    try:
        results = [_added(connection, statement, row) for statement, row, _ in group]
        connection.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):  # it may have been undone already
            connection.execute("rollback")
        raise
    return results


def _added(connection: sqlite3.Connection, statement: str, row: Row) -> bool | Exception:
    try:
        return connection.execute(statement, (None, *row)).rowcount > 0
    except _THE_ROWS_FAULT as error:
        return RunError(f"a row cannot be kept: {error}")
