"""What is done about a ledger's file that a crash, a full disk or a bad copy has left broken.

All whole rows go to a new file; the broken one is kept beside it. Both are said in the log and in
the new file's table ``meta``. Renames come last and in an order that a crash between them is
recovered from.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from understudy.chat.ledger.pages import Frames, frames_of, rows_found
from understudy.chat.ledger.schema import (
    COLUMNS,
    PAGE_BYTES,
    VERSION,
    insertion,
    is_whole,
    statements,
)
from understudy.durable import sync
from understudy.records import InputError, RunError

_MAGIC = b"SQLite format 3\0"
_NOT_BROKEN = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_AUTH,
)
_MAX_SAID = 100
_log = logging.getLogger(__name__)


def repair(path: Path) -> None:
    """Makes a broken ledger whole as far as its rows are; a whole one stays as it is.

    The caller holds the ledger's lock.

    Raises:
        InputError: The file is no ledger, or one of a later version; it is left alone.
        RunError: It cannot be read at all.
    """
    _finish(path)
    frames = frames_of(_wal(path))
    if not path.exists() or not path.stat().st_size:
        if not frames.pages:
            if path.exists():
                _log.warning("%s was empty: there is no reply in it", path)
            return
        problem: str | None = "the file is empty, but not its -wal"
    else:
        problem = "its -wal is damaged" if frames.is_damaged else _problem(path)
    if problem is not None:
        _salvage(path, frames, problem)
    elif frames.unfinished:
        _log.warning(
            "%s: a write was cut short, %s bytes of an unfinished commit are left out; all %s "
            "replies before it are whole",
            path,
            f"{frames.unfinished:,}",
            f"{_num_replies(path):,}",
        )


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing and blocks nobody."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


def has_tables(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether a ledger has its tables; where its writer was killed before the first row it has not.

    Raises:
        InputError: It is such a file.
    """
    tables = {row[0] for row in connection.execute("select name from sqlite_master")}
    if not tables:
        return False
    if not {"meta", *COLUMNS} <= tables:
        raise InputError(f"{path} is no ledger; type ledger=FILE for another file")
    found = connection.execute("select value from meta where name = 'schema_version'").fetchone()
    if found is None or int(found[0]) > VERSION:
        said = "none" if found is None else found[0]
        raise InputError(
            f"{path} was written by a later version (schema {said}, this one knows {VERSION}); "
            "update understudy, or type ledger=FILE for another file"
        )
    return True


def _problem(path: Path) -> str | None:
    """What is wrong with a file; null where every row in it is whole."""
    try:
        with closing(connect_to_read(path)) as connection:
            has_tables(path, connection)
            found = connection.execute("pragma integrity_check(1)").fetchone()[0]
            return _damaged_rows(connection) if found == "ok" else " ".join(str(found).split())
    except InputError:
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _NOT_BROKEN:
            raise RunError(
                f"{path} cannot be read ({error}); who may read and write it?"
            ) from error
        return str(error)
    except ValueError as error:  # a number or a text in it is none
        return str(error)


def _damaged_rows(connection: sqlite3.Connection) -> str | None:
    for (table,) in connection.execute("select name from sqlite_master where name in "
                                       "('replies', 'failures', 'batches')"):  # fmt: skip
        for row in connection.execute(f"select * from {table}"):
            if not is_whole(row):
                return f"row {row[0]} of {table} is damaged"
    return None


def _salvage(path: Path, frames: Frames, problem: str) -> None:
    """Puts the whole rows of a broken file into a new one in its place."""
    new = path.with_name(f".{path.name}.new")
    for each in (new, _wal(new)):
        each.unlink(missing_ok=True)
    broken = path.with_name(f"{path.name}.broken-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    with closing(sqlite3.connect(new, isolation_level=None)) as connection:
        kept, lost = _copied(path, frames, connection)
        if not sum(kept.values()) and _is_another_file(path):
            new.unlink()
            raise InputError(f"{path} is no ledger; type ledger=FILE for another file")
        said = (
            f"{path} was broken ({problem[:_MAX_SAID]}): {_in_words(kept, lost)} are whole and "
            f"kept; what is lost will be asked again; the broken file is kept as {broken.name}"
        )
        connection.execute(
            "insert or replace into meta values (?, ?)", (f"repaired {broken.name[-15:]}", said)
        )
        connection.execute("commit")
    sync(new)
    new.rename(_repaired(path))
    _finish(path, broken)
    _log.warning("%s", said)


def _copied(
    path: Path, frames: Frames, connection: sqlite3.Connection
) -> tuple[Counter[str], Counter[str]]:
    """Rows kept and lost, by table; the transaction is left open."""
    connection.execute(f"pragma page_size={PAGE_BYTES}")
    connection.execute("begin")
    for statement in statements():
        connection.execute(statement)
    insertions = {table: insertion(table) for table in COLUMNS}
    whole: dict[str, set[int]] = {table: set() for table in COLUMNS}
    last: Counter[str] = Counter()
    for found in rows_found(path, frames):
        number = int(found.row[0])
        if found.is_whole and number not in whole[found.table]:
            connection.execute(insertions[found.table], found.row)
            whole[found.table].add(number)
            last[found.table] = max(last[found.table], number)
    kept = Counter({table: len(numbers) for table, numbers in whole.items()})
    return kept, Counter({table: last[table] - kept[table] for table in COLUMNS})


def _finish(path: Path, broken: Path | None = None) -> None:
    """Puts a repaired file in its place, also where a crash came before that."""
    repaired = _repaired(path)
    if not repaired.exists():
        return
    broken = broken or path.with_name(f"{path.name}.broken-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    for old, kept in ((_wal(path), _wal(broken)), (path, broken)):
        if old.exists() and old.stat().st_size:
            old.rename(kept)
    for beside in (_wal(path), path.with_name(f"{path.name}-shm")):
        beside.unlink(missing_ok=True)
    repaired.rename(path)
    sync(path.parent)


def _num_replies(path: Path) -> int:
    with closing(connect_to_read(path)) as connection:
        return int(connection.execute("select count(*) from replies").fetchone()[0])


def _in_words(kept: Counter[str], lost: Counter[str]) -> str:
    """Rows by table; of those after the last whole one nobody knows."""
    said = [
        f"{kept[table]:,} of {kept[table] + lost[table]:,} {table}"
        for table in COLUMNS
        if kept[table]
    ]
    return ", ".join(said) or "no rows"


def _is_another_file(path: Path) -> bool:
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) != _MAGIC


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _repaired(path: Path) -> Path:
    return path.with_name(f"{path.name}.repaired")
