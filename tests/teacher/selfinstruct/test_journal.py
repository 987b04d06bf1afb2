"""Rounds that are over stay over, whatever happened to the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.teacher.selfinstruct.journal import Journal

KEYS = [["a" * 64, "b" * 64], ["c" * 64, "d" * 64]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "rounds.jsonl")
    journal.close_round(1, KEYS[0], [])
    journal.close_round(2, KEYS[1], ["d" * 64])
    return tmp_path / "rounds.jsonl"


def test_what_failed_is_known_when_the_run_goes_on(path: Path) -> None:
    again = Journal(path)
    assert again.given_up(1, KEYS[0]) == frozenset()
    assert again.given_up(2, KEYS[1]) == frozenset({"d" * 64})
    assert again.given_up(3, KEYS[1]) is None
    before = path.read_bytes()
    again.close_round(2, KEYS[1], [])
    assert path.read_bytes() == before


@pytest.mark.parametrize("torn", ['{"round": 3, "ask', "nonsense\n", '{"round": 9}\n', "3\n"])
def test_half_a_line_at_the_end_is_no_round(path: Path, torn: str) -> None:
    whole = path.read_text()
    path.write_text(whole + torn)
    journal = Journal(path)
    assert journal.given_up(3, KEYS[0]) is None
    assert path.read_text() == whole
    journal.close_round(3, KEYS[0], ["a" * 64])
    assert Journal(path).given_up(3, KEYS[0]) == frozenset({"a" * 64})


def test_other_requests_than_then_make_the_rest_void(path: Path) -> None:
    journal = Journal(path)
    assert journal.given_up(1, KEYS[1]) is None
    assert path.read_text() == ""
    assert journal.given_up(2, KEYS[1]) is None
    journal.close_round(1, KEYS[1], [])
    assert Journal(path).given_up(1, KEYS[1]) == frozenset()
