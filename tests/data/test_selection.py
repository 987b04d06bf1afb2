"""What is left out of training although every arm has it: the other language, unequal lengths."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.selection import Rows, Selection
from understudy.records import Completion, InputError, Instruction

IDS = ["one", "two", "three", "four"]


def rows(lengths: Sequence[int], lang: str = "en") -> Rows:
    """Answers of so many words, or characters, to the first instructions."""
    return {
        each: Completion(
            Instruction(each, each, lang=lang),
            "字" * length if lang == "zh" else " ".join(["word"] * length),
            "somebody",
        )
        for each, length in zip(IDS, lengths, strict=False)
    }


def test_everything_trains_by_default() -> None:
    assert Selection().chosen(IDS, [rows([1, 2, 3, 400])]) == (IDS, {})


def test_one_language_trains_and_the_other_is_counted() -> None:
    both = {**rows([1] * 4), **rows([1, 1], lang="zh")}
    chosen, dropped = Selection(train_lang="zh").chosen(IDS, [both])
    assert chosen == ["one", "two"]
    assert +dropped == {"other_language": 2}
    assert Selection(train_lang="mixed").chosen(IDS, [both])[0] == IDS


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_answers_of_about_equal_length_train(lang: str) -> None:
    """All arms count: the longest over the shortest, the ratio itself included."""
    arms = [rows([10, 10, 10, 10], lang), rows([12, 13, 8, 7], lang), rows([10, 10, 11, 10], lang)]
    chosen, dropped = Selection(max_length_ratio=1.25).chosen(IDS, arms)
    assert chosen == ["one"]  # 13/10, 11/8 and 10/7 are more than 5/4
    assert +dropped == {"length_mismatch": 3}
    assert Selection(max_length_ratio=1.3).chosen(IDS, arms)[0] == ["one", "two"]


@given(st.lists(st.tuples(*[st.integers(1, 50)] * 3), min_size=4, max_size=4))
def test_the_choice_is_the_same_for_every_arm(lengths: list[tuple[int, int, int]]) -> None:
    """Whichever source comes first."""
    arms = [rows([row[arm] for row in lengths]) for arm in range(3)]
    selection = Selection(max_length_ratio=50)
    assert selection.chosen(IDS, arms) == selection.chosen(IDS, arms[::-1])


def test_lengths_need_another_arm() -> None:
    with pytest.raises(InputError, match=r"max_length_ratio=1\.5 .*sweep over teachers with -m"):
        Selection(max_length_ratio=1.5).chosen(IDS, [rows([1] * 4)])


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(train_lang="fr"), "none is in data.train_lang=fr; they are in en"),
        (Selection(max_length_ratio=1.5), "the answers to all 4 differ by more than"),
    ],
)
def test_nothing_left_is_refused(selection: Selection, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        selection.chosen(IDS, [rows([1] * 4), rows([9] * 4)])


def test_a_ratio_below_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"max_length_ratio=0\.5 is below 1"):
        Selection(max_length_ratio=0.5)
