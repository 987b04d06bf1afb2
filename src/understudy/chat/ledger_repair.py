"""What is done about a ledger's file that a crash, a full disk or a bad copy has left broken."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from understudy.chat.ledger_schema import VERSION
from understudy.records import InputError


def repair(path: Path) -> None:
    """Leaves a file that is whole as it is."""


def require_version(path: Path, connection: sqlite3.Connection) -> None:
    """Refuses a file that is no ledger, or one that a later version wrote."""
    tables = {row[0] for row in connection.execute("select name from sqlite_master")}
    if not {"meta", "replies"} <= tables:
        raise InputError(f"{path} is no ledger; type ledger=FILE for another file")
    found = connection.execute("select value from meta where name = 'schema_version'").fetchone()
    if found is None or int(found[0]) > VERSION:
        raise InputError(
            f"{path} was written by a later version (schema {found and found[0]}, this one knows "
            f"{VERSION}); update understudy, or type ledger=FILE for another file"
        )
