"""Windows: golden step counts, hand-worked micro-batches, and no example lost or seen twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.tokens import TokenRow, TokenTable
from understudy.data.windows import (
    Batching,
    Window,
    WindowDataset,
    best_fit_decreasing,
    micro_batch,
)
from understudy.records import InputError

MakeTable = Callable[[Sequence[int]], TokenTable]


@pytest.mark.parametrize(
    ("batching", "per_epoch", "total"),
    [
        (Batching(128), 407, 1221),
        (Batching(64), 813, 2439),
        (Batching(128, hf_forward_batch=16), 406, 1218),
        (Batching(64, hf_forward_batch=16), 812, 2436),
    ],
)
def test_the_released_runs_have_their_number_of_steps(
    batching: Batching, per_epoch: int, total: int
) -> None:
    assert batching.steps_per_epoch(52_002) == per_epoch
    assert batching.num_steps(52_002, num_epochs=3) == total


def test_the_lesser_limit_ends_a_run() -> None:
    assert Batching(10).num_steps(25, max_steps=100) == 100
    assert Batching(10).num_steps(25, num_epochs=3, max_steps=100) == 9
    assert Batching(10).num_steps(25, num_epochs=3, max_steps=4) == 4
    with pytest.raises(InputError, match=r"no end or no step; type trainer\.max_epochs"):
        Batching(10).num_steps(25)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 0}, "batch_size=0 is no count"),
        ({"max_tokens": -1}, "max_tokens=-1 is no count"),
        ({"batch_size": 10, "hf_forward_batch": 4}, "batch_size=10 is no multiple of"),
    ],
)
def test_numbers_that_cannot_work_are_refused(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Batching(**wrong)


def test_a_micro_batch_has_labels_where_the_next_token_is_supervised(make_table: MakeTable) -> None:
    table = make_table([2, 3])
    # <s> <instruction> a <response> | b </s>  and  <s> <instruction> a <response> | b b </s>
    batch = micro_batch([table[0], table[1]])
    assert batch.input_ids.tolist() == [[0, 3, 6, 5, 7, 1, 0, 3, 6, 5, 7, 7, 1]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6]]
    assert batch.lengths == (6, 7)
    assert batch.label_positions.tolist() == [3, 4, 9, 10, 11]
    assert batch.labels.tolist() == [7, 1, 7, 7, 1]
    assert batch.num_labels == (2, 3)
    assert batch.example_ids == ("0", "1")
    assert batch.input_ids.dtype == batch.labels.dtype == torch.int64


def test_the_order_of_a_seed_is_fixed_and_differs_by_epoch_and_seed(make_table: MakeTable) -> None:
    table = make_table([1] * 8)

    def order(seed: int | None) -> list[int]:
        windows = WindowDataset(table, Batching(4), seed=seed, num_steps=4)
        return [int(i) for step in range(4) for i in windows.examples(step)]

    assert order(None) == [*range(8), *range(8)]
    assert order(1) == order(1) != order(2)
    assert sorted(order(1)[:8]) == sorted(order(1)[8:]) == list(range(8))
    assert order(1)[:8] != order(1)[8:]


def test_a_step_may_be_asked_for_alone(make_table: MakeTable) -> None:
    table = make_table([1, 2, 3, 4, 5])
    in_order = WindowDataset(table, Batching(2), seed=3, num_steps=9)
    before = [in_order.examples(step).tolist() for step in range(9)]
    alone = WindowDataset(table, Batching(2), seed=3, num_steps=9)
    assert [alone.examples(step).tolist() for step in reversed(range(9))] == before[::-1]
    with pytest.raises(IndexError):
        alone.examples(9)


def test_hf_floor_leaves_the_last_part_of_an_epoch_out(make_table: MakeTable) -> None:
    batching = Batching(4, hf_forward_batch=2)
    windows = WindowDataset(make_table([1] * 9), batching, seed=0, num_steps=4)
    assert [len(windows.examples(step)) for step in range(4)] == [4, 4, 4, 4]
    assert len({*windows.examples(0).tolist(), *windows.examples(1).tolist()}) == 8


@pytest.mark.parametrize("batching", [Batching(4), Batching(4, hf_forward_batch=2), Batching(9)])
def test_the_examples_of_some_steps_are_those_of_their_windows(
    make_table: MakeTable, batching: Batching
) -> None:
    windows = WindowDataset(make_table([1] * 7), batching, seed=0, num_steps=6)
    sizes = [len(windows.examples(step)) for step in range(6)]
    assert [batching.num_examples_in(n, 7) for n in range(7)] == [sum(sizes[:n]) for n in range(7)]


def test_a_window_is_drawn_at_random_and_not_by_length(make_table: MakeTable) -> None:
    table = make_table(sorted([1, 50] * 32))
    windows = WindowDataset(table, Batching(8, max_tokens=64), seed=0, num_steps=8)
    long = [sum(table.lengths[windows.examples(step)] > 10) for step in range(8)]
    assert sum(long) == 32
    assert all(0 < count < 8 for count in long)


def test_an_empty_table_is_refused(make_table: MakeTable) -> None:
    table = make_table([1]).select([])
    with pytest.raises(InputError, match="no examples"):
        WindowDataset(table, Batching(2), seed=0, num_steps=1)


def test_a_rank_with_less_gets_a_micro_batch_that_adds_nothing(make_table: MakeTable) -> None:
    table = make_table([3])
    first, second = (
        WindowDataset(table, Batching(2), seed=0, num_steps=1, rank=rank, world_size=2)[0]
        for rank in range(2)
    )
    assert [each.example_ids for each in first.micro_batches] == [("0",)]
    (filler,) = second.micro_batches
    assert (filler.example_ids, filler.num_labels, len(filler.labels)) == ((), (), 0)
    assert filler.lengths == (7,)
    assert (first.num_supervised_tokens, second.num_supervised_tokens) == (3, 3)


def test_a_window_moves_as_one(make_table: MakeTable) -> None:
    window = WindowDataset(make_table([2, 3]), Batching(2), seed=0, num_steps=1)[0]
    moved = window.to("meta")
    assert [each.device.type for each in tensors(moved)] == ["meta"] * 4
    assert (moved.step, moved.num_supervised_tokens, moved.num_examples) == (0, 5, 2)
    assert moved.micro_batches[0].lengths == window.micro_batches[0].lengths


def tensors(window: Window) -> list[torch.Tensor]:
    return [
        tensor
        for batch in window.micro_batches
        for tensor in (
            batch.input_ids,
            batch.position_ids,
            batch.label_positions,
            batch.labels,
        )
    ]


def test_fixed_micro_batches_part_a_window_as_asked(make_table: MakeTable) -> None:
    table = make_table([1, 2, 3, 4, 5, 6, 7, 8])
    sizes = {}
    for size in (8, 2, 1):
        batching = Batching(8, micro_batch_size=size)
        window = WindowDataset(table, batching, seed=0, num_steps=1)[0]
        sizes[size] = [len(each.lengths) for each in window.micro_batches]
        assert window.num_supervised_tokens == 36
    assert sizes == {8: [8], 2: [2, 2, 2, 2], 1: [1] * 8}


def test_best_fit_prefers_the_fullest_bin_with_room() -> None:
    # 7 and 6 open bins with 3 and 4 free; 3 goes where nothing is left over, then 4, then 1.
    assert best_fit_decreasing([3, 7, 4, 6, 1], 10) == [[1, 0], [3, 2], [4]]
    assert best_fit_decreasing([12, 3], 10) == [[0], [1]]
    assert best_fit_decreasing([], 10) == []


def test_ranks_share_a_window_evenly() -> None:
    assert Batching(4).lay_out([6, 6, 6, 6], world_size=2) == [[[0, 1]], [[2, 3]]]
    single = Batching(3, micro_batch_size=1)
    assert single.lay_out([3, 6, 3], world_size=2) == [[[1]], [[0], [2]]]


lengths_of = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(lengths_of, st.integers(1, 60))
def test_any_bins_hold_each_index_once_within_capacity(lengths: list[int], capacity: int) -> None:
    bins = best_fit_decreasing(lengths, capacity)
    assert sorted(i for each in bins for i in each) == list(range(len(lengths)))
    for each in bins:
        assert sum(lengths[i] for i in each) <= capacity or len(each) == 1
    half_full = [each for each in bins if 2 * sum(lengths[i] for i in each) <= capacity]
    assert len(half_full) <= 1


@given(lengths_of, st.integers(1, 60), st.integers(1, 4), st.none() | st.integers(1, 5))
def test_any_layout_gives_each_example_to_one_rank(
    lengths: list[int], max_tokens: int, world_size: int, micro_batch_size: int | None
) -> None:
    batching = Batching(64, max_tokens, micro_batch_size)
    ranks = batching.lay_out(lengths, world_size=world_size)
    assert len(ranks) == world_size
    assert sorted(i for rank in ranks for each in rank for i in each) == list(range(len(lengths)))
    largest = max(sum(lengths[i] for i in each) for rank in ranks for each in rank)
    loads = [sum(lengths[i] for each in rank for i in each) for rank in ranks]
    assert max(loads) - min(loads) <= largest


@given(
    lengths=lengths_of,
    batch_size=st.integers(1, 12),
    world_size=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_any_epoch_sees_each_example_once_over_all_ranks(
    make_table: MakeTable, lengths: list[int], batch_size: int, world_size: int, seed: int
) -> None:
    table = make_table(lengths)
    batching = Batching(batch_size, max_tokens=50)
    per_epoch = batching.steps_per_epoch(len(table))
    seen = [Counter[str](), Counter[str]()]
    for step in range(2 * per_epoch):
        shares = [
            WindowDataset(
                table,
                batching,
                seed=seed,
                num_steps=2 * per_epoch,
                rank=rank,
                world_size=world_size,
            )[step]
            for rank in range(world_size)
        ]
        assert len({len(share.micro_batches) for share in shares}) == 1
        assert len({share.num_supervised_tokens for share in shares}) == 1
        labels = [len(each.labels) for share in shares for each in share.micro_batches]
        assert sum(labels) == shares[0].num_supervised_tokens
        ids = [i for share in shares for each in share.micro_batches for i in each.example_ids]
        assert len(ids) == shares[0].num_examples <= batch_size
        assert shares[0].num_tokens == sum(lengths[int(i)] + 4 for i in ids)
        seen[step // per_epoch].update(ids)
    assert seen == [Counter({str(i): 1 for i in range(len(lengths))})] * 2


token_masks = st.lists(st.booleans(), min_size=1, max_size=9).map(lambda mask: [False, *mask])


def rows_of(masks: Sequence[Sequence[bool]]) -> list[TokenRow]:
    """Rows whose token at place t of row i is 100 i + t."""
    return [
        TokenRow(str(i), np.arange(100 * i, 100 * i + len(mask), dtype=np.int32), np.array(mask))
        for i, mask in enumerate(masks)
    ]


@given(st.lists(token_masks, min_size=1, max_size=5))
def test_any_mask_labels_what_it_marks_and_reads_the_token_before(
    masks: list[list[bool]],
) -> None:
    batch = micro_batch(rows_of(masks))
    marked = [100 * i + t for i, mask in enumerate(masks) for t, is_in in enumerate(mask) if is_in]
    assert batch.labels.tolist() == marked
    assert batch.input_ids[0, batch.label_positions].tolist() == [token - 1 for token in marked]
    assert batch.num_labels == tuple(map(sum, masks))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=5))
def test_a_prompt_and_its_answer_are_labelled_by_the_prefix_rule(
    sizes: list[tuple[int, int]],
) -> None:
    """Positions from the last prompt token to the last but one of the row, as before the mask."""
    batch = micro_batch(rows_of([[False] * prompt + [True] * answer for prompt, answer in sizes]))
    expected: list[int] = []
    start = 0
    for prompt, answer in sizes:
        expected += range(start + prompt - 1, start + prompt + answer - 1)
        start += prompt + answer
    assert batch.label_positions.tolist() == expected
    assert batch.labels.tolist() == batch.input_ids[0, [at + 1 for at in expected]].tolist()
