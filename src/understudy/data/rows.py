"""Files of rows (JSON lists, JSONL, Parquet) and their text fields, checked where they enter.

Whatever is wrong with a file ends in one :class:`InputError` line that names file, row and field.
Rows count from 1; in JSONL a row's number is its line. Rows of a data set that is no single file
go through the same checks, under the data set's name.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.records import InputError, InputFile

_MAX_KEYS_SHOWN = 8
_TYPE_NAMES = {
    "NoneType": "null",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "dict": "an object",
    "bytes": "bytes",
}


@dataclass(frozen=True, slots=True)
class RowFile:
    """The objects of a file, with what a manifest says about it.

    ``places`` says where the rows stand when they are not the file's own rows in their order,
    ``fields_key`` where a config gives the file's names for ours.
    """

    path: str
    sha256: str
    rows: Sequence[Mapping[str, Any]]
    places: Sequence[str] | None = None
    fields_key: str = "data.fields"

    @property
    def input_file(self) -> InputFile:
        """The file as a run's manifest names it."""
        return InputFile(self.path, self.sha256, len(self.rows))

    def text(self, number: int, name: str, *, max_chars: int) -> str:
        """The text of field ``name`` in row ``number`` (from 1), normalised to NFC.

        Raises:
            InputError: It is missing, no text, longer than ``max_chars``, or not valid Unicode.
        """
        value = self.rows[number - 1].get(name)
        if not isinstance(value, str):
            raise self._no_text(number, name)
        return self.checked(value, number, name, max_chars=max_chars)

    def checked(self, value: str, number: int, name: str, *, max_chars: int) -> str:
        """A text that stands in field ``name`` of row ``number``, normalised to NFC.

        Raises:
            InputError: It is longer than ``max_chars``, or not valid Unicode.
        """
        if len(value) > max_chars:
            raise self.error(
                number,
                f"{len(value):,} characters, more than {max_chars:,}; shorten or remove it, or "
                f"raise data.max_field_chars",
                field=name,
            )
        if value.isascii():
            return value
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.error(
                number,
                f"half a surrogate pair at character {error.start + 1}; write the file anew "
                "as UTF-8",
                field=name,
            ) from error
        return unicodedata.normalize("NFC", value)

    def error(self, number: int, problem: str, *, field: str | None = None) -> InputError:
        """The one-line error for row ``number`` (from 1)."""
        named = "" if field is None else f" field {field!r}"
        place = number if self.places is None else self.places[number - 1]
        return InputError(f"{self.path} row {place}{named}: {problem}")

    def expanded(self, name: str) -> RowFile:
        """A row for each object in the list ``name`` of each row, with the row's other fields.

        Raises:
            InputError: A row has no such list, or something in it is no object.
        """
        rows: list[Mapping[str, Any]] = []
        places = []
        for number, row in enumerate(self.rows, start=1):
            elements = row.get(name)
            if not isinstance(elements, list):
                found = kind_of(elements) if name in row else "missing"
                raise self.error(number, f"{found}, not a list of objects to expand", field=name)
            shared = {key: value for key, value in row.items() if key != name}
            for index, element in enumerate(elements):
                if not isinstance(element, dict):
                    problem = f"is {kind_of(element)}, not an object"
                    raise self.error(number, problem, field=f"{name}[{index}]")
                rows.append({**shared, **element})
                places.append(f"{number} {name}[{index}]")
        if not rows:
            raise InputError(f"{self.path}: every {name!r} is empty; there is no row to expand")
        return RowFile(self.path, self.sha256, rows, places, self.fields_key)

    def _no_text(self, number: int, name: str) -> InputError:
        row = self.rows[number - 1]
        if name in row:
            return self.error(number, f"is {kind_of(row[name])}, not text; quote it", field=name)
        keys = ", ".join(repr(str(key)[:40]) for key in list(row)[:_MAX_KEYS_SHOWN])
        return self.error(
            number,
            f"missing; the row has {keys or 'no fields'}; give the file's own name for it, as in "
            f"{self.fields_key}.output=answer",
            field=name,
        )


def content_sha256(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """Hash of what the rows say in the fields that are read, wherever and however they are stored.

    ``names`` gives the rows' own names by ours. A field that is absent, null or empty is the same.
    """
    digest = hashlib.sha256()
    to_text = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str).encode
    for row in rows:
        said = {ours: row.get(theirs) for ours, theirs in names.items()}
        text = to_text(_without_nothing(said))
        digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _without_nothing(value: object) -> object:
    """A JSON value without the fields that say nothing, which a table's columns must spell out."""
    if isinstance(value, dict):
        return {k: _without_nothing(v) for k, v in value.items() if v is not None and v != ""}
    return [_without_nothing(each) for each in value] if isinstance(value, list) else value


def kind_of(value: object) -> str:
    """What a reader of JSON calls the type of ``value``."""
    name = type(value).__name__
    return _TYPE_NAMES.get(name, f"a {name}")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuses a ``value`` of setting ``name`` that is none of ``choices``.

    Raises:
        InputError: It is none of them.
    """
    if value not in choices:
        raise InputError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")


def read_rows(path: str | Path) -> RowFile:
    """All rows of a JSON list, a JSONL or a Parquet file, each one an object.

    Raises:
        InputError: There is no such file, its format is unknown or broken, it has no rows, or a
            row is not an object.
    """
    location = Path(path).expanduser()
    parse = _PARSERS.get(location.suffix.lower())
    if parse is None:
        raise InputError(
            f"{path}: the format is told by the ending; give one of {', '.join(_PARSERS)}"
        )
    content = read_bytes(location)
    rows = parse(str(path), content)
    if not rows:
        raise InputError(f"{path}: 0 rows; give a file with at least one")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(
                f"{path} row {number}: is {kind_of(row)}, not an object; every row is an object "
                "with its fields by name"
            )
    return RowFile(str(path), hashlib.sha256(content).hexdigest(), rows)


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; {_nearby(path)}") from error
    except IsADirectoryError as error:
        raise InputError(
            f"{path}: is a folder; give a file in it; {_nearby(path / '_')}"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({reason}); check the path") from error


def _nearby(path: Path) -> str:
    """What the folder holds that the user may have meant."""
    try:
        names = sorted(each.name for each in path.parent.iterdir() if each.suffix in _PARSERS)
    except OSError:
        return f"there is no folder {path.parent} to look in either"
    close = difflib.get_close_matches(path.name, names, n=3) or names[:3]
    if not close:
        return f"{path.parent} holds no {', '.join(_PARSERS)} file"
    return f"did you mean {' or '.join(close)}?"


def decoded(path: str, content: bytes) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: It is no UTF-8; names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} line {line}: not UTF-8 (byte {error.start + 1} is "
            f"0x{content[error.start]:02x}); save the file as UTF-8"
        ) from error


def _load_json(path: str, text: str, *, first_line: int, hint: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(
            f"{path} line {line} column {error.colno}: not JSON ({error.msg}); {hint}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"{path} from line {first_line}: not JSON that can be read ({error}); {hint}"
        ) from error


def _parse_json(path: str, content: bytes) -> list[Any]:
    text = decoded(path, content)
    if not text.strip():
        return []
    hint = "mend it there; a file with one object a line is named .jsonl"
    rows = _load_json(path, text, first_line=1, hint=hint)
    if not isinstance(rows, list):
        raise InputError(f"{path}: holds {kind_of(rows)}, not a list of rows; {hint}")
    return rows


def _parse_jsonl(path: str, content: bytes) -> list[Any]:
    lines = decoded(path, content).rstrip().split("\n") if content.strip() else []
    hint = "every line is one object; a file with one list of rows is named .json"
    return [
        _load_json(path, line, first_line=number, hint=hint)
        for number, line in enumerate(lines, start=1)
    ]


def _parse_parquet(path: str, content: bytes) -> list[Any]:
    try:
        rows: list[Any] = pq.ParquetFile(io.BytesIO(content)).read().to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: not a Parquet file that can be read ({reason})") from error
    return rows


_PARSERS: Mapping[str, Callable[[str, bytes], list[Any]]] = {
    ".json": _parse_json,
    ".jsonl": _parse_jsonl,
    ".parquet": _parse_parquet,
}
SUFFIXES = tuple(_PARSERS)
"""The endings of files that can be read."""
