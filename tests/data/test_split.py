"""The split: groups stay whole, counts are exact where they can be, order does not matter."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.split import hash_order, split_held_out, within_budget
from understudy.records import InputError

groups = st.dictionaries(st.text(min_size=1), st.sampled_from("abcdef"), min_size=1, max_size=30)


def test_the_order_is_that_of_the_salted_sha256() -> None:
    # printf 's\x1fw' | sha256sum begins with 71; x: 2d, y: a3, z: 11.
    assert hash_order("wxyz", salt="s") == ["z", "x", "w", "y"]


@given(groups, st.integers(1, 30), st.integers(0, 5), st.randoms())
def test_any_split_keeps_groups_whole_and_forgets_the_files_order(
    group_of: dict[str, str], num_held_out: int, seed: int, random: Random
) -> None:
    try:
        train, held_out = split_held_out(group_of, num_held_out=num_held_out, seed=seed)
    except InputError:
        sizes = [list(group_of.values()).count(group) for group in group_of.values()]
        assert min(sizes) > num_held_out
        return
    assert sorted(train + held_out) == sorted(group_of)
    assert not {group_of[each] for each in train} & {group_of[each] for each in held_out}
    assert len(held_out) <= num_held_out
    shuffled = sorted(group_of.items(), key=lambda _: random.random())
    assert split_held_out(dict(shuffled), num_held_out=num_held_out, seed=seed) == (train, held_out)


def test_the_count_is_exact_where_groups_allow_it() -> None:
    alone = {str(i): str(i) for i in range(100)}
    train, held_out = split_held_out(alone, num_held_out=13, seed=0)
    assert (len(train), len(held_out)) == (87, 13)
    assert split_held_out(alone, num_held_out=13, seed=1)[1] != held_out
    assert split_held_out(alone, num_held_out=0, seed=0)[1] == []


def test_a_row_added_elsewhere_moves_no_other_row_into_training() -> None:
    ids = {str(i): str(i) for i in range(100)}
    before = set(split_held_out(ids, num_held_out=20, seed=0)[1])
    after = set(split_held_out({**ids, "new": "new"}, num_held_out=20, seed=0)[1])
    assert len(before - after) <= 1


def test_groups_too_large_to_hold_out_name_the_fix() -> None:
    with pytest.raises(InputError, match=r"\(9 rows share 3 instructions\).*data\.split_by=row"):
        split_held_out({str(i): str(i % 3) for i in range(9)}, num_held_out=2, seed=0)


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(0, 100))
def test_the_budget_is_filled_and_never_exceeded(sizes: list[int], budget: int) -> None:
    taken = within_budget(np.array(sizes), budget)
    left = budget - sum(sizes[index] for index in taken)
    assert left >= 0
    assert taken == sorted(set(taken))
    assert all(sizes[index] > left for index in range(len(sizes)) if index not in taken)


def test_a_row_that_overflows_the_budget_is_skipped_and_filling_goes_on() -> None:
    assert within_budget(np.array([6, 3, 6, 1, 1]), 10) == [0, 1, 3]
