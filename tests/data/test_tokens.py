"""Token tables: the same rows from memory, from Arrow, and from Arrow that was damaged."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset  # type: ignore[import-untyped]  # it ships no types

from understudy.data.tokens import TokenTable, token_table
from understudy.encoding import Encoder
from understudy.records import Completion, InputError, Instruction

ROWS = [
    Completion(Instruction("one", "a b"), "c", "t"),
    Completion(Instruction("two", "a", "b"), "c d e f g h", "t"),
    Completion(Instruction("long", "a b c d e f g h", "a b"), "c", "t"),
]


def content(table: TokenTable) -> list[tuple[str, list[int], str]]:
    """Id, tokens, and "+" where one is learned."""
    rows = [table[index] for index in range(len(table))]
    return [
        (row.id, row.input_ids.tolist(), "".join(".+"[int(x)] for x in row.completion_mask))
        for row in rows
    ]


@pytest.fixture
def narrow(word_encoder: Encoder) -> Encoder:
    """Fits the first row, cuts the second, and drops the third."""
    return replace(word_encoder, max_length=10, max_dropped_fraction=0.5)


def test_a_table_is_the_same_from_memory_and_from_arrow(narrow: Encoder, tmp_path: Path) -> None:
    from_memory = token_table(ROWS, narrow, cache_dir=None)
    written = token_table(ROWS, narrow, cache_dir=tmp_path)
    assert content(from_memory) == [
        ("one", [0, 3, 6, 7, 5, 8, 1], ".....++"),
        ("two", [0, 3, 6, 4, 7, 5, 8, 9, 10, 11], "......++++"),
    ]
    for table in (written, token_table(ROWS, narrow, cache_dir=tmp_path)):
        assert content(table) == content(from_memory)
        assert table.columns.dropped == {"long": "prompt_fills_window"}
        assert table.columns.truncated == {"two": "truncated_response"}


def test_a_second_run_reads_the_file_of_the_first(narrow: Encoder, tmp_path: Path) -> None:
    token_table(ROWS, narrow, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    table = token_table(ROWS, narrow, cache_dir=tmp_path)
    assert [each.stat().st_mtime_ns for each in tmp_path.iterdir()] == [written]
    for column in (table.columns.input_ids, table.columns.completion_mask):
        assert not column.flags.writeable
        assert not column.flags.owndata


def test_whatever_changes_the_ids_is_another_file(word_encoder: Encoder, tmp_path: Path) -> None:
    token_table(ROWS, word_encoder, cache_dir=tmp_path)
    token_table(ROWS[:2], word_encoder, cache_dir=tmp_path)
    token_table([replace(ROWS[0], output="d"), *ROWS[1:]], word_encoder, cache_dir=tmp_path)
    token_table(ROWS, replace(word_encoder, train_on_inputs=True), cache_dir=tmp_path)
    token_table([replace(row, author="other") for row in ROWS], word_encoder, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("keep", [0, 8, 300, -8])
def test_a_damaged_file_is_made_anew(narrow: Encoder, tmp_path: Path, keep: int) -> None:
    expected = content(token_table(ROWS, narrow, cache_dir=tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert content(token_table(ROWS, narrow, cache_dir=tmp_path)) == expected


def test_jobs_may_race_for_a_table(narrow: Encoder, tmp_path: Path) -> None:
    def load(_: int) -> list[tuple[str, list[int], str]]:
        return content(token_table(ROWS, narrow, cache_dir=tmp_path))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(load, range(16)))
    assert results == [results[0]] * 16
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_encoded_leaves_no_file(word_encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no supervised token is left"):
        token_table(ROWS, replace(word_encoder, max_length=4), cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_datasets_reads_the_file(word_encoder: Encoder, tmp_path: Path) -> None:
    token_table(ROWS, word_encoder, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    rows = Dataset.from_file(str(path))
    assert rows[0] == {
        "id": "one",
        "input_ids": [0, 3, 6, 7, 5, 8, 1],
        "completion_mask": [0] * 5 + [1] * 2,
    }


@pytest.mark.parametrize("order", [["two", "one"], ["two"], []])
def test_a_selection_has_its_own_order_and_lengths(
    word_encoder: Encoder, order: Sequence[str]
) -> None:
    table = token_table(ROWS, word_encoder, cache_dir=None)
    chosen = table.select(order)
    assert chosen.ids == tuple(order)
    assert [chosen[i].id for i in range(len(chosen))] == list(order)
    lengths = {"one": 7, "two": 13}
    assert chosen.lengths.tolist() == [lengths[each] for each in order]
    supervised = {"one": 2, "two": 7}
    assert chosen.num_supervised.tolist() == [supervised[each] for each in order]
    assert chosen.select(order[:1]).ids == tuple(order[:1])
