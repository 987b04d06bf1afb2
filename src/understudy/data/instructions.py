"""Instructions that nobody answered yet: a file of them, or what a run left to be answered.

JSON, JSONL, Parquet and CSV files hold rows with a field ``instruction`` and perhaps ``input``,
``lang`` and ``task``; answers in them are not read. A ``.txt`` file holds an instruction a line.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.answers import AnswerRows
from understudy.data.rows import SUFFIXES, RowFile, decoded, read_bytes, read_rows
from understudy.records import InputError, SourceRows

INSTRUCTIONS = "instructions.jsonl"
"""What a run leaves whose rows are to be answered: ``stage=translate``, ``stage=selfinstruct``."""

ANSWERS = "answers.jsonl"
"""What ``stage=collect`` leaves; another teacher may answer the same instructions."""


@dataclass(frozen=True)
class InstructionFile(AnswerRows):
    """Instructions in a file, or in the folder of a run. The path is read when it is needed.

    Args:
        path: A JSON list, JSONL, Parquet or CSV file, a text file, or a run folder.
    """

    path: str

    def read(self) -> SourceRows:
        """There are no answers.

        Raises:
            InputError: Always; says how to get answers.
        """
        raise InputError(
            f"{self.path} holds instructions and no answers; let a teacher answer them first: "
            f"python run.py stage=collect data=instructions data.path={self.path}"
        )

    def load(self) -> RowFile:
        """The rows as they stand in the file.

        Raises:
            InputError: There is no such file, or it is no list of rows.
        """
        path = self._file()
        read = {".txt": _lines, ".csv": _table}
        suffix = path.suffix.lower()
        if path.is_file() and suffix not in (*SUFFIXES, *read):
            raise InputError(
                f"{path}: the format is told by the ending; give one of "
                f"{', '.join((*SUFFIXES, *read))}"
            )
        return read[suffix](path) if suffix in read else read_rows(path)

    def _file(self) -> Path:
        path = Path(self.path).expanduser()
        if not path.is_dir():
            return path
        for name in (INSTRUCTIONS, ANSWERS):
            if (path / name).is_file():
                return path / name
        raise InputError(
            f"{self.path} holds neither {INSTRUCTIONS} nor {ANSWERS}; give the folder of a run of "
            "stage=translate, stage=selfinstruct or stage=collect that has ended, or a file"
        )


def _lines(path: Path) -> RowFile:
    """An instruction a line; empty lines are none. A row's place is its line."""
    content = read_bytes(path)
    lines = enumerate(decoded(str(path), content).split("\n"), start=1)
    kept = [(str(number), line.strip()) for number, line in lines if line.strip()]
    rows = [{"instruction": line} for _, line in kept]
    return _checked(path, content, rows, [number for number, _ in kept])


def _table(path: Path) -> RowFile:
    """The rows of a CSV file by the names in its first line; a row's place counts from 1 after it.

    Raises:
        InputError: A row has more or fewer fields than the first line.
    """
    content = read_bytes(path)
    text = io.StringIO(decoded(str(path), content), newline="")
    rows: list[dict[str, Any]] = []
    try:
        reader = csv.reader(text, strict=True)
        names = next(reader, [])
        for number, values in enumerate((row for row in reader if row), start=1):
            if len(values) != len(names):
                raise InputError(
                    f"{path} row {number}: {len(values)} fields, where the first line names "
                    f'{len(names)}; put texts with commas between double quotes (")'
                )
            rows.append(dict(zip(names, values, strict=True)))
    except csv.Error as error:
        raise InputError(f"{path} near line {reader.line_num}: no CSV ({error})") from error
    return _checked(path, content, rows, None)


def _checked(
    path: Path, content: bytes, rows: list[dict[str, Any]], places: list[str] | None
) -> RowFile:
    if not rows:
        raise InputError(f"{path}: 0 rows; give a file with at least one")
    return RowFile(str(path), hashlib.sha256(content).hexdigest(), rows, places)
