"""Every filter on cases worked by hand."""

from __future__ import annotations

import pytest

from understudy.records import InputError
from understudy.teacher.selfinstruct.filters import (
    ALPACA_BLACKLIST,
    CHINESE_BLACKLIST,
    SELF_INSTRUCT_BLACKLIST,
    Instance,
    InstructionFilter,
    instance_fault,
    sifted,
)

ENGLISH = InstructionFilter("en", ALPACA_BLACKLIST)
CHINESE = InstructionFilter("zh", (*ALPACA_BLACKLIST, *CHINESE_BLACKLIST))


@pytest.mark.parametrize(
    ("instruction", "fault"),
    [
        ("Sort these numbers", "too_short"),
        ("Sort these four numbers", ""),
        ("", "too_short"),
        ("Sort " + "these " * 149, ""),
        ("Sort " + "these " * 150, "too_long"),
        ("Describe the image below briefly.", "blacklisted"),
        ("Describe the IMAGES, all of them.", "blacklisted"),
        ("Describe how one imagines the sea.", ""),
        ("Give me paragraphs about the sea.", ""),
        ("Withdraw the complaint in a letter.", ""),
        ("Please draw. Then write a text.", "blacklisted"),
        ("Explain the plot of this novel.", "blacklisted"),
        ("Tell me where to go to school.", "blacklisted"),
        ("Say how the train goes to Paris.", ""),
        ("Name a file-based data store.", "blacklisted"),
        ("Explain file_name in this code.", ""),
        ("Recommend some music for a party.", "blacklisted"),
        ("Write a program that sorts numbers.", "write_a_program"),
        ("Write a programme for the evening.", "write_a_program"),
        ("write a program that sorts numbers.", ""),
        ("Please Write a program that sorts.", ""),
        ("- Sort these four numbers", "starts_with_punctuation"),
        ('"Sort" these four numbers', "starts_with_punctuation"),
        ("5 of these are wrong, which?", ""),
        ("Écris un poème sur la mer.", "starts_non_ascii"),
        ("写一首关于 the sea 的诗 please", "starts_non_ascii"),
    ],
)
def test_an_english_instruction(instruction: str, fault: str) -> None:
    assert ENGLISH.fault(instruction) == fault


@pytest.mark.parametrize(
    ("instruction", "fault"),
    [
        ("写诗吧", "too_short"),
        ("写一首诗", ""),
        ("写" * 150, ""),
        ("写" * 151, "too_long"),
        ("描述一下这张图片里的人", "blacklisted"),
        ("用Plot一词造一个句子", "blacklisted"),
        ("用plots一词造一个句子", ""),
        ("写一个程序计算平方根", "write_a_program"),
        ("“写”这个字怎么读", "starts_with_punctuation"),
        ("，写一首关于大海的诗", "starts_with_punctuation"),  # noqa: RUF001 - the Chinese comma
    ],
)
def test_a_chinese_instruction_is_counted_in_characters(instruction: str, fault: str) -> None:
    assert CHINESE.fault(instruction) == fault


def test_the_lists_are_those_of_the_scripts() -> None:
    assert len(SELF_INSTRUCT_BLACKLIST) == 13
    more = {"video", "audio", "music", "flowchart", "diagram"}
    assert set(ALPACA_BLACKLIST) - set(SELF_INSTRUCT_BLACKLIST) == more
    script = InstructionFilter("en", SELF_INSTRUCT_BLACKLIST)
    assert script.fault("Recommend some music for a party.") == ""
    assert InstructionFilter("en", ()).fault("Describe the image below briefly.") == ""


def test_another_language_is_refused() -> None:
    with pytest.raises(InputError, match="lang=de"):
        InstructionFilter("de")


@pytest.mark.parametrize(
    ("given", "output", "fault"),
    [
        ("a b", "b a", ""),
        ("", "b a", ""),
        ("a b", "", "empty_output"),
        ("a b", " \n", "empty_output"),
        ("a b", "a b", "input_is_output"),
        ("Numbers:", "b", "ends_with_colon"),
        ("a b", "The answer is: ", "ends_with_colon"),
        ("一", "答案是：", "ends_with_colon"),  # noqa: RUF001 - the Chinese colon
        ("a: b", "b: a", ""),
    ],
)
def test_an_instance(given: str, output: str, fault: str) -> None:
    assert instance_fault(Instance(given, output)) == fault


def some(*pairs: tuple[str, str]) -> list[Instance]:
    return [Instance(*each) for each in pairs]


def test_the_same_input_with_two_outputs_discards_all() -> None:
    found = some(("1", "odd"), ("2", "even"), ("1", "one"), ("3", ""))
    kept, dropped = sifted(found)
    assert kept == []
    assert [reason for _, reason in dropped] == ["empty_output", *["contradictory"] * 3]


def test_an_empty_input_may_have_two_outputs() -> None:
    assert sifted(some(("", "a haiku"), ("", "another"))) == (
        some(("", "a haiku"), ("", "another")), []
    )  # fmt: skip


def test_a_faulty_instance_contradicts_nobody() -> None:
    kept, dropped = sifted(some(("1", "odd"), ("1", "it is:")))
    assert (kept, dropped) == (some(("1", "odd")), [(Instance("1", "it is:"), "ends_with_colon")])


def test_exact_duplicates_go_and_the_first_five_stay_in_order() -> None:
    found = some(*[(str(n), f"n{n}") for n in (3, 1, 3, 2, 9, 8, 1, 7)])
    kept, dropped = sifted(found, most=5)
    assert kept == some(*[(str(n), f"n{n}") for n in (3, 1, 2, 9, 8)])
    assert [(each.input, reason) for each, reason in dropped] == [
        ("3", "duplicate_instance"), ("1", "duplicate_instance"), ("7", "more_than_max")
    ]  # fmt: skip
