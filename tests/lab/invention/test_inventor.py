"""The lab's inventor: what it plants is what it says, and every fault is there."""

from __future__ import annotations

from collections import Counter

import pytest

from understudy.forms.rating import RATING
from understudy.forms.selfinstruct import TASK_BLOCKS, TASK_LINES, begun_blocks, begun_lines
from understudy.forms.selfinstruct_instances import INPUT_FIRST, IS_CLASSIFICATION, OUTPUT_FIRST
from understudy.lab.invention.instances import is_label_task
from understudy.lab.invention.inventor import LAST_BLOCK, LAST_LINE, Invention, invent
from understudy.lab.invention.seed_tasks import LabSeeds
from understudy.lab.world import World

WORLD = World()
SEEDS = [str(row["instruction"]) for row in LabSeeds(WORLD).rows()]


def blocks(draw: int, language: str = "English") -> Invention:
    shown = [(SEEDS[(draw + n) % len(SEEDS)], "a b", "a") for n in range(3)]
    prompt = TASK_BLOCKS.render(number="20", language=language, tasks=begun_blocks(shown))
    found = invent(prompt, WORLD, draw=draw)
    assert found is not None
    return found


def lines(draw: int, language: str = "English") -> Invention:
    tasks = begun_lines([SEEDS[(draw + n) % len(SEEDS)] for n in range(8)])
    found = invent(TASK_LINES.render(language=language, tasks=tasks), WORLD, draw=draw)
    assert found is not None
    return found


def test_a_reply_depends_on_prompt_and_draw_alone() -> None:
    assert blocks(1) == blocks(1)
    assert blocks(1).text != blocks(2).text
    assert lines(1) == lines(1)


def test_every_fault_is_planted_and_most_tasks_have_none() -> None:
    faults = Counter(item.fault for draw in range(60) for item in blocks(draw).items)
    assert set(faults) == {
        "", None, "too_similar", "too_short", "too_long", "blacklisted", "write_a_program",
        "starts_with_punctuation", "starts_non_ascii", "malformed", "empty_output",
        "input_is_output", "ends_with_colon", "cut_by_length",
    }  # fmt: skip
    assert 0.45 < faults[""] / faults.total() < 0.65


def test_lists_go_on_beyond_the_stop_or_run_on_without_an_end() -> None:
    for made, last in ((blocks, LAST_BLOCK), (lines, LAST_LINE)):
        found = [made(draw) for draw in range(40)]
        whole = [each for each in found if not each.runs_on]
        assert 0 < len(whole) < len(found)
        assert all(each.items[-1].number >= last for each in whole)
        assert all(len(each.text.split()) > 3072 for each in found if each.runs_on)
        assert not any(item.fault == "cut_by_length" for each in whole for item in each.items)


def test_both_ways_to_begin_a_reply_come_up() -> None:
    assert {blocks(draw).text.startswith("###\n4. Instruction:") for draw in range(20)} == {
        True, False
    }  # fmt: skip
    assert {lines(draw).text.startswith("9.") for draw in range(20)} == {True, False}


def test_chinese_tasks_are_chinese() -> None:
    for item in (*blocks(3, "Chinese").items, *lines(3, "Chinese").items):
        if item.fault == "":
            assert not any(letter.isascii() for letter in item.instruction)


@pytest.mark.parametrize("form", [INPUT_FIRST, OUTPUT_FIRST])
def test_every_trouble_with_examples_comes_up(form: object) -> None:
    faults: Counter[str] = Counter()
    num_cut = 0
    for number in range(150):
        prompt = (INPUT_FIRST if form is INPUT_FIRST else OUTPUT_FIRST).render(
            instruction=f"do the thing {number}", number="5"
        )
        found = invent(prompt, WORLD)
        assert found is not None
        num_cut += found.runs_on
        faults.update(each.fault for each in found.examples)
    assert set(faults) == {
        "", "empty_output", "input_is_output", "ends_with_colon", "duplicate_instance",
        "contradictory", "more_than_max", "cut_by_length",
    }  # fmt: skip
    assert num_cut == faults["cut_by_length"]


def test_three_in_ten_tasks_are_classifications() -> None:
    texts = [f"task {number}" for number in range(400)]
    said = [invent(IS_CLASSIFICATION.render(instruction=each), WORLD) for each in texts]
    assert ["Yes" in each.text for each in said if each] == [is_label_task(t) for t in texts]
    assert 0.2 < sum(map(is_label_task, texts)) / 400 < 0.4


def test_any_other_prompt_is_none_of_its_own() -> None:
    assert invent("Hello", WORLD) is None
    assert invent(RATING.render(instruction="a", response="b"), WORLD) is None
