"""Of a broken ledger every whole row is kept, nothing false is, and both are said aloud."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.ledgers import TEACHER, failure, filled, reply, request
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.ledger.pages import FRAME_HEADER_BYTES, frames_of, rows_found
from understudy.chat.ledger.schema import PAGE_BYTES
from understudy.chat.requests import Reply
from understudy.records import InputError, RunError

_FRAME = FRAME_HEADER_BYTES + PAGE_BYTES
NUM = 60
WORDS = 300  # a row of several pages


def _killed(folder: Path, num_replies: int = NUM, words: int = 3) -> Path:
    """A ledger as a kill leaves it: most of it in the -wal."""
    source = folder / "alive" / "l.sqlite"
    folder.joinpath("killed").mkdir()
    path = folder / "killed" / "l.sqlite"
    with Ledger.open(source) as ledger:
        for number in range(num_replies):
            ledger.add(request(number, words), TEACHER, reply(number, words)).result(10)
        ledger.fail(request(10**6), TEACHER, failure(10**6)).result(10)
        for name in ("l.sqlite", "l.sqlite-wal"):
            shutil.copy(source.with_name(name), path.with_name(name))
    return path


def _kept(path: Path, num_replies: int = NUM, words: int = 3) -> list[Reply]:
    """What is there after a repair; each must be what was written."""
    with Ledger.open(path) as ledger:
        ledger.hold()
        kept = list(ledger.replies())
        known = {key: reply(n, words) for n in range(num_replies)
                 for key in [reply(n, words).key]}  # fmt: skip
        assert all(known[each.key] == each for each in kept)
        assert all(ledger.has(each.key) for each in kept)
        ledger.add(request(7**7), TEACHER, reply(7**7)).result(10)  # it can be gone on with
        assert ledger.reply(reply(7**7).key) == reply(7**7)
    return kept


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


def test_the_pages_of_a_whole_file_give_all_its_rows(tmp_path: Path) -> None:
    path = _killed(tmp_path, words=WORDS)
    frames = frames_of(_wal(path))
    assert frames.pages
    assert not frames.is_damaged
    assert frames.unfinished == 0
    connection = sqlite3.connect(path)
    expected = {
        (table, row)
        for table in ("replies", "failures")
        for row in connection.execute(f"select * from {table}")
    }
    found = {(each.table, each.row) for each in rows_found(path, frames) if each.is_whole}
    connection.close()  # which moves the -wal into the file
    assert found == expected
    assert len(expected) == NUM + 1
    assert not _wal(path).exists()
    found = {(each.table, each.row) for each in rows_found(path, frames_of(_wal(path)))}
    assert found == expected


def test_a_whole_ledger_is_left_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _killed(tmp_path)
    assert len(_kept(path)) == NUM
    assert caplog.records == []
    assert sorted(each.name for each in path.parent.iterdir()) == ["l.sqlite"]


def test_a_write_that_was_cut_short_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _killed(tmp_path)
    with _wal(path).open("r+b") as stream:
        stream.truncate(_wal(path).stat().st_size - 100)
    kept = _kept(path)
    assert len(kept) == NUM  # the commit that was cut held the failure
    said = caplog.records[0].getMessage()
    assert "cut short" in said
    assert f"all {NUM} replies before it are whole" in said


BREAKS: dict[str, Callable[[Path, random.Random], None]] = {
    "a byte of the -wal": lambda path, dice: _overwrite(
        _wal(path), dice.randrange(32, _wal(path).stat().st_size), b"\x5a"
    ),
    "a frame of the -wal": lambda path, dice: _overwrite(
        _wal(path), 32 + _FRAME * dice.randrange(_wal(path).stat().st_size // _FRAME), b"z" * _FRAME
    ),
    "the head of the -wal": lambda path, _: _overwrite(_wal(path), 0, b"\0" * 32),
    "the file's first page": lambda path, _: _overwrite(path, 0, b"\xff" * PAGE_BYTES),
    "the file, now empty": lambda path, _: path.open("w").close(),
    "the file, now gone": lambda path, _: path.unlink(),
}


@pytest.mark.parametrize("what", BREAKS)
@pytest.mark.parametrize("seed", range(2))
def test_rows_outlive_damage_to_a_ledger_that_was_killed(
    tmp_path: Path, what: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = _killed(tmp_path)
    BREAKS[what](path, random.Random(seed))
    kept = _kept(path)
    assert len(kept) >= NUM - 12  # a page holds about ten rows
    if len(kept) < NUM:
        assert f"{len(kept)} of " in caplog.records[0].getMessage()


@pytest.mark.parametrize("seed", range(4))
def test_rows_outlive_damage_to_a_file_that_was_closed(
    tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.sqlite"
    filled(path, NUM, WORDS)
    size, dice = path.stat().st_size, random.Random(seed)
    for _ in range(3):
        _overwrite(path, dice.randrange(size), dice.randbytes(40))
    before = path.read_bytes()
    kept = _kept(path, words=WORDS)
    assert NUM - 15 <= len(kept) <= NUM
    broken = [each for each in tmp_path.iterdir() if "broken" in each.name]
    if len(kept) < NUM:
        assert broken[0].read_bytes() == before
        said = caplog.records[0].getMessage()
        assert f"{len(kept)} of " in said
        assert broken[0].name in said


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_file_that_was_cut_keeps_the_rows_before_the_cut(tmp_path: Path, share: float) -> None:
    path = tmp_path / "l.sqlite"
    filled(path, 200, WORDS)
    with path.open("r+b") as stream:
        stream.truncate(int(path.stat().st_size * share))
    kept = _kept(path, 200, WORDS)
    assert 200 * share - 10 <= len(kept) < 200
    assert [each.request_id for each in kept] == [f"id{n}" for n in range(len(kept))]


def test_one_changed_letter_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "l.sqlite"
    filled(path, NUM)
    at = path.read_bytes().index(b"antwort 17 ")
    _overwrite(path, at, b"Antwort")
    with Ledger.open(path) as reader, pytest.raises(RunError, match="damaged"):
        reader.reply(reply(17).key)
    kept = _kept(path)
    assert {each.request_id for each in kept} == {f"id{n}" for n in range(NUM) if n != 17}
    assert f"{NUM - 1} of {NUM} replies are whole and kept" in caplog.records[0].getMessage()
    connection = sqlite3.connect(path)
    notes = connection.execute("select value from meta where name like 'repaired %'").fetchall()
    connection.close()
    assert notes == [(caplog.records[0].getMessage(),)]


@pytest.mark.parametrize("content", [b"[]\n", b"SQLite format 2 or so" * 1000, b"\0" * 10000])
def test_a_file_that_never_was_a_ledger_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "answers.json"
    path.write_bytes(content)
    with Ledger.open(path) as ledger, pytest.raises(InputError, match="is no ledger"):
        ledger.hold()
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["answers.json"]


def test_an_empty_file_is_a_new_ledger_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.sqlite"
    path.touch()
    assert _kept(path) == []
    assert "was empty" in caplog.records[0].getMessage()


def test_a_crash_between_the_renames_of_a_repair_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    filled(path, 3)
    path.rename(tmp_path / "l.sqlite.repaired")
    path.write_bytes(b"broken")
    assert len(_kept(path)) == 3
    assert len([each for each in tmp_path.iterdir() if "broken" in each.name]) == 1


def test_a_changed_byte_in_the_index_of_keys_is_found_and_no_reply_is_lost(tmp_path: Path) -> None:
    """SQLite's quick check does not hold indexes against their tables."""
    path = tmp_path / "l.sqlite"
    written = filled(path, NUM)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        root = connection.execute(
            "select rootpage from sqlite_master where tbl_name = 'replies' and type = 'index'"
        ).fetchone()[0]
    connection.close()
    content = path.read_bytes()
    first, last = PAGE_BYTES * (root - 1), PAGE_BYTES * root
    place = next(
        at for each in written if (at := content.find(each.key.encode(), first, last)) != -1
    )
    _overwrite(path, place + 40, b"0" if content[place + 40 : place + 41] != b"0" else b"1")
    assert {each.key for each in _kept(path)} == {each.key for each in written}
    assert len(list(path.parent.glob("l.sqlite.broken-*"))) >= 1
