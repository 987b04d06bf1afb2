"""Rows as a folder that ``datasets`` loads: a Parquet file for each split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.durable import saying_what
from understudy.records import InputError

TRAIN = "train"
_FOLDER = "data"
_SPLIT = re.compile(r"\w+(\.\w+)*")
Row = Mapping[str, Any]


def by_split(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows by their field ``split``; all are ``train`` where one of them does not say.

    >>> by_split([{"split": "test", "n": 1}, {"split": "test", "n": 2}]).keys()
    dict_keys(['test'])
    >>> by_split([{"split": "", "n": 1}]).keys()
    dict_keys(['train'])
    """
    all_rows = list(rows)
    names = [str(row.get("split") or "") for row in all_rows]
    if not all(_SPLIT.fullmatch(name) for name in names):
        return {TRAIN: all_rows}
    found: dict[str, list[Row]] = {}
    for name, row in zip(names, all_rows, strict=True):
        found.setdefault(name, []).append(row)
    return found


def path_of(split: str) -> str:
    """Where the rows of a split lie in the folder."""
    return f"{_FOLDER}/{split}.parquet"


def write_splits(splits: Mapping[str, Sequence[Row]], folder: Path) -> dict[str, str]:
    """Writes the splits into ``folder``; returns the type of each field, those of all splits.

    A field that says nothing in any row is left out: a table has no type for it.

    Raises:
        InputError: A field holds values of several types.
        RunError: A file cannot be written.
    """
    names = [name for name in _names(splits) if _says_something(name, splits)]
    tables = {split: _table(rows, names) for split, rows in splits.items()}
    schema = pa.unify_schemas([each.schema for each in tables.values()])
    for split, table in tables.items():
        target = folder / path_of(split)
        target.parent.mkdir(parents=True, exist_ok=True)
        with saying_what(str(target)):
            pq.write_table(table.cast(schema), target, compression="zstd")
    return {each.name: str(each.type) for each in schema}


def _names(splits: Mapping[str, Sequence[Row]]) -> list[str]:
    return list(dict.fromkeys(name for rows in splits.values() for row in rows for name in row))


def _says_something(name: str, splits: Mapping[str, Sequence[Row]]) -> bool:
    return any(row.get(name) not in (None, {}, []) for rows in splits.values() for row in rows)


def _table(rows: Sequence[Row], names: Sequence[str]) -> Any:  # noqa: ANN401 - pyarrow has no types
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"field {name!r} holds values of several types ({reason})") from error
    return pa.table(columns)
