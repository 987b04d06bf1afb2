"""Replies as completing and as chatting models write them."""

from __future__ import annotations

import pytest

from understudy.forms.selfinstruct import task_block
from understudy.teacher.selfinstruct.filters import Instance
from understudy.teacher.selfinstruct.parsing import (
    Candidate,
    read_blocks,
    read_examples,
    read_labelled,
    read_lines,
    read_yes_or_no,
)

FOUR = task_block(4, "Name a colour.", "", "Red.")
FIVE = task_block(5, "Add the numbers.", "1 2", "3")
HEADING = "###\n4. Instruction:"
TASKS = [
    Candidate("Name a colour.", Instance("", "Red.")),
    Candidate("Add the numbers.", Instance("1 2", "3")),
]


@pytest.mark.parametrize(
    "text",
    [
        f"{FOUR}\n{FIVE}".removeprefix(HEADING),
        f"{FOUR}\n{FIVE}",
        f"Sure! Here are more tasks.\n\n{FOUR}\n\n{FIVE}\n###",
        f"{FOUR}\n{FIVE}\n###\n".replace("###\n4", "4"),
        f"{FOUR}\n{FIVE}".replace("4. Instruction:", "**4. Instruction:**"),
        f"{FOUR}\n{FIVE}".replace("Input:\n", "Input: ").replace("Output:\n", "Output: "),
    ],
)
def test_tasks_in_blocks_however_the_reply_begins(text: str) -> None:
    assert read_blocks(text, 4, stop=20, is_cut=False) == TASKS


def test_a_list_within_a_task_stays_in_it() -> None:
    text = task_block(4, "Do two things:\n1. Sing\n2. Dance", "###\n5. x", "1. La\n2. Hop")
    (found,) = read_blocks(f"{text}\n{FIVE}", 4, stop=20, is_cut=False)[:1]
    assert found == Candidate(
        "Do two things:\n1. Sing\n2. Dance", Instance("###\n5. x", "1. La\n2. Hop")
    )


def test_a_block_without_its_headings_is_malformed_and_the_others_are_read() -> None:
    torn = FOUR.replace("4. Output:\n", "")
    found = read_blocks(f"{torn}\n{FIVE}", 4, stop=20, is_cut=False)
    assert found == [Candidate("Name a colour.", fault="malformed"), TASKS[1]]
    other = FOUR.replace("4. Output:", "7. Output:")
    assert read_blocks(other, 4, stop=20, is_cut=False)[0].fault == "malformed"
    assert read_blocks("I cannot do that.", 4, stop=20, is_cut=False) == [
        Candidate("I cannot do that.", fault="malformed")
    ]


def test_of_a_cut_reply_the_last_block_is_dropped() -> None:
    found = read_blocks(f"{FOUR}\n{FIVE}", 4, stop=20, is_cut=True)
    assert [each.fault for each in found] == ["", "cut_by_length"]


def test_what_comes_after_the_stop_is_told_where_a_server_knows_no_stop() -> None:
    found = read_blocks(f"{FOUR}\n{FIVE}", 4, stop=5, is_cut=False)
    assert [each.fault for each in found] == ["", "beyond_stop"]


def test_an_empty_reply_has_no_tasks() -> None:
    assert read_blocks(" \n", 4, stop=20, is_cut=False) == []
    assert read_lines("", 9, stop=16, is_cut=False) == []


@pytest.mark.parametrize(
    "text",
    [
        " Name a colour.\n10. Add  the\nnumbers.",
        "9. Name a colour.\n10. Add the numbers.",
        "Here are more:\n\n9. Name a colour.\n\n10) Add the numbers.\n",
        "1. Name a colour.\n2. Add the numbers.",
        "9 . Name a colour.\n10 . Add the numbers.",
    ],
)
def test_instructions_on_lines_however_the_reply_begins(text: str) -> None:
    assert read_lines(text, 9, stop=16, is_cut=False) == [
        Candidate("Name a colour."), Candidate("Add the numbers.")
    ]  # fmt: skip


def test_only_the_next_number_begins_an_instruction() -> None:
    text = " Say which is larger:\n3. or\n2.5\n10. Sing."
    assert [each.instruction for each in read_lines(text, 9, stop=16, is_cut=False)] == [
        "Say which is larger: 3. or 2.5", "Sing."
    ]  # fmt: skip


def test_a_cut_reply_of_lines_is_dropped_whole() -> None:
    found = read_lines(" Name a colour.\n10. Add the num", 9, stop=16, is_cut=True)
    assert [each.fault for each in found] == ["cut_by_length"] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [(" Yes", True), ("yes.", True), ("**No**", False), ("No, it is not", False),
     ("Yesterday", None), ("", None), ("It is: Yes", None)],
)  # fmt: skip
def test_yes_or_no(text: str, expected: bool | None) -> None:
    assert read_yes_or_no(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example 1\nInput: 1 2\nOutput: 3\nExample 2\nInput: 2 2\nOutput: 4",
         [("1 2", "3"), ("2 2", "4")]),
        ("Example 1\nList: [1, 2]\nDigits: all\nOutput: 3\n", [("List: [1, 2]\nDigits: all", "3")]),
        ("Output: A haiku.\nOf two lines.", [("", "A haiku.\nOf two lines.")]),
        ("Sure.\nExample 1.\nInput: none\nOutput: x\nInput: stray", [("none", "x")]),
        ("Example 1\nInput: <noinput>\nOutput: 3", [("", "3")]),
        ("Example 1\nInput: 1 2\nOutput: 3\nExample 2\nInput: 2", [("1 2", "3"), None]),
        ("I do not know.", [None]),
    ],
)  # fmt: skip
def test_examples(text: str, expected: list[tuple[str, str] | None]) -> None:
    instances = [None if each is None else Instance(*each) for each in expected]
    assert read_examples(text, is_cut=False) == instances
    assert read_examples(text, is_cut=True) == [*instances[:-1], None]


def test_labelled_examples() -> None:
    text = "Class label: odd\n7\nClass label:even\n8\nand 10\nClass label: none"
    found = [Instance("7", "odd"), Instance("8\nand 10", "even"), Instance("", "none")]
    assert read_labelled(text, is_cut=False) == found
    assert read_labelled(text, is_cut=True) == [*found[:2], None]
    assert read_labelled("odd", is_cut=False) == [None]
    assert read_labelled("Class label:\n7", is_cut=False) == [Instance("7", "")]
