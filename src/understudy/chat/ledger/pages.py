"""Rows out of a ledger's pages, read without SQLite, which reads nothing of a file it finds broken.

Pages and records are as https://www.sqlite.org/fileformat2.html has them. Each page is looked at on
its own, in the file and in its -wal, so one broken page costs the rows in it and no others; whether
a row is whole is told by its checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.chat.ledger.schema import COLUMNS, PAGE_BYTES, Row, is_whole

WAL_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES
_WAL_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_FILE_HEADER_BYTES = 100
_TABLE_LEAF = 0x0D
_LONGEST_ROW = 1 << 30
_NUMBERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # serial type of an integer to its bytes
_TABLE_OF = {len(columns): table for table, columns in COLUMNS.items()}
_REALS = {table: columns.index("cost_usd") for table, columns in COLUMNS.items()
          if "cost_usd" in columns}  # fmt: skip
_BAD = (IndexError, ValueError, OverflowError, struct.error)


@dataclass(frozen=True, slots=True)
class Frames:
    """The pages of a -wal.

    Attributes:
        pages: Those of this -wal, not of one before it, as numbers and contents.
        unfinished: How many bytes follow the last commit: a write that was cut short.
        is_damaged: Whether SQLite stops reading before a commit that is there.
    """

    pages: tuple[tuple[int, bytes], ...] = ()
    unfinished: int = 0
    is_damaged: bool = False


def frames_of(wal: Path) -> Frames:
    """What a -wal holds; nothing where there is none."""
    content = wal.read_bytes() if wal.exists() else b""
    if not content:
        return Frames()
    if len(content) < WAL_HEADER_BYTES:
        return Frames(unfinished=len(content))
    magic, _, _, _, *salts, _, _ = struct.unpack(">8I", content[:WAL_HEADER_BYTES])
    order = _WAL_MAGIC.get(magic)
    sums = _sums((0, 0), content[:24], order or "<")
    is_whole = order is not None and sums == struct.unpack(">2I", content[24:32])
    pages, last_commit, end = [], WAL_HEADER_BYTES, WAL_HEADER_BYTES
    is_damaged = False
    for at in range(WAL_HEADER_BYTES, len(content), _FRAME_BYTES):
        frame = content[at : at + _FRAME_BYTES]
        if len(frame) < _FRAME_BYTES:
            end = len(content)
            break
        number, size, *found = struct.unpack(">6I", frame[:FRAME_HEADER_BYTES])
        if is_whole and found[:2] != salts:
            continue  # of an earlier -wal, or of no use
        sums = _sums(_sums(sums, frame[:8], order or "<"), frame[FRAME_HEADER_BYTES:], order or "<")
        is_whole = is_whole and sums == tuple(found[2:])
        pages.append((number, frame[FRAME_HEADER_BYTES:]))
        end = at + _FRAME_BYTES
        if size and is_whole:
            last_commit = end
        is_damaged = is_damaged or bool(size and not is_whole)
    return Frames(tuple(pages), end - last_commit, is_damaged)


def _sums(sums: tuple[int, int], content: bytes, order: str) -> tuple[int, int]:
    """The running checksum of a -wal."""
    first, second = sums
    for one, other in struct.iter_unpack(f"{order}2I", content):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


@dataclass(frozen=True, slots=True)
class Found:
    """A row of a table; ``is_whole`` says whether it is what was once written."""

    table: str
    row: Row
    is_whole: bool


def rows_found(file: Path, frames: Frames) -> Iterator[Found]:
    """All rows on any page, some of them several times."""
    latest = dict(frames.pages)
    content = file.read_bytes() if file.exists() else b""
    pages = _Pages(content, latest)
    for at in range(0, len(content), PAGE_BYTES):
        start = _FILE_HEADER_BYTES if at == 0 else 0
        yield from pages.rows(content[at : at + PAGE_BYTES], start)
    for number, page in frames.pages:
        yield from pages.rows(page, _FILE_HEADER_BYTES if number == 1 else 0)


class _Pages:
    """Pages by number, for rows that go on from one to the next."""

    def __init__(self, content: bytes, latest: Mapping[int, bytes]) -> None:
        self._content, self._latest = content, latest

    def rows(self, page: bytes, start: int) -> Iterator[Found]:
        """The rows of a page, where it is one of a table's."""
        if len(page) <= start + 8 or page[start] != _TABLE_LEAF:
            return
        for place in range(int.from_bytes(page[start + 3 : start + 5], "big")):
            at = start + 8 + 2 * place
            try:
                found = self._row(page, int.from_bytes(page[at : at + 2], "big"))
            except _BAD:
                continue
            if found is not None:
                yield found

    def _row(self, page: bytes, at: int) -> Found | None:
        length, at = _varint(page, at)
        number, at = _varint(page, at)
        if length > _LONGEST_ROW:
            return None
        values = _values(self._payload(page, at, length))
        table = _TABLE_OF.get(len(values))
        if table is None:
            return None
        values[0] = number
        real = _REALS.get(table)
        if real is not None and isinstance(whole := values[real], int):
            values[real] = float(whole)  # SQLite writes whole numbers as integers
        row = tuple(values)
        return Found(table, row, is_whole(row))

    def _payload(self, page: bytes, at: int, length: int) -> bytes:
        """The record at a place of a page, with what lies on further pages."""
        most = PAGE_BYTES - 35
        if length <= most:
            return page[at : at + length]
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        here = least + (length - least) % (PAGE_BYTES - 4)
        here = here if here <= most else least
        parts = [page[at : at + here]]
        following = int.from_bytes(page[at + here : at + here + 4], "big")
        left = length - here
        while left > 0:
            further = self._page(following)
            parts.append(further[4 : 4 + left])
            following = int.from_bytes(further[:4], "big")
            left -= PAGE_BYTES - 4
        return b"".join(parts)

    def _page(self, number: int) -> bytes:
        if number in self._latest:
            return self._latest[number]
        page = self._content[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]
        if number < 1 or len(page) < PAGE_BYTES:
            raise ValueError(f"no page {number}")
        return page


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and the place after it."""
    value = 0
    for count in range(8):
        byte = content[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    return value << 8 | content[at + 8], at + 9


def _values(record: bytes) -> list[object]:
    """The values of a record."""
    end, at = _varint(record, 0)
    types = []
    while at < end:
        type_, at = _varint(record, at)
        types.append(type_)
    if at != end or len(types) not in _TABLE_OF:
        return []
    values: list[object] = []
    for type_ in types:
        value, at = _value(record, at, type_)
        values.append(value)
    return values


def _value(record: bytes, at: int, type_: int) -> tuple[object, int]:
    if type_ == 0:
        return None, at
    if type_ in _NUMBERS:
        end = at + _NUMBERS[type_]
        return int.from_bytes(record[at:end], "big", signed=True), end
    if type_ == 7:
        return struct.unpack(">d", record[at : at + 8])[0], at + 8
    if type_ in (8, 9):
        return type_ - 8, at
    if type_ < 13 or type_ % 2 == 0:
        raise ValueError("a ledger holds no such value")
    end = at + (type_ - 13) // 2
    if end > len(record):
        raise ValueError("the record is cut short")
    return record[at:end].decode("utf-8"), end
