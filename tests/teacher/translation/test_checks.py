"""What a translation must keep, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.lab.lexicon import CHINESE_BY_ENGLISH, to_chinese
from understudy.teacher.text_parts import cjk_share, taken_apart
from understudy.teacher.translation.checks import REASONS, problems_of
from understudy.teacher.translation.numerals import chinese_values

CODE = "Explain this:\n```python\nfor i in range(10):\n    print(i)\n```\nuse `i += 1`."
CODE_ZH = "解释这个:\n```python\nfor i in range(10):\n    print(i)\n```\n用 `i += 1`。"


@pytest.mark.parametrize(
    ("original", "translation"),
    [
        ("Name three colours.", "说出三种颜色。"),
        ("Name three colours.", "说出3种颜色。"),
        ("Name 3 colours.", "说出三种颜色。"),
        ("Name the 2nd of 25.", "说出二十五个中的第二个。"),
        ("It cost $1,500.50 in 1990.", "它在1990年花了1500.50美元。"),
        ("It has 12 legs.", "它有１２条腿。"),
        ("It sold 1.5 million copies.", "它卖了一百五十万册。"),
        ("It sold 1.5 million copies.", "它卖了150万册。"),
        ("It weighs 3 kg, 5 in all.", "它重3千克,一共5千克。"),
        ("In March 2019, two of them.", "2019年3月,其中两个。"),
        ("Give me 50% of it.", "给我百分之五十。"),
        ("Add twenty-five to it.", "给它加上25。"),
        (CODE, CODE_ZH),
        ("See https://a.org/x?y=1, please.", "请看https://a.org/x?y=1。"),
        ("See (www.a.org).", "见(www.a.org)。"),
        ("Write a function in Python.", "用Python写一个函数。"),
        ("1 + 1 = ?", "1 + 1 = ?"),
        ("Sorry is the hardest word. Why?", "对不起是最难的词。为什么?"),
        ("I'm unable to sleep. Help.", "我无法入睡。帮帮我。"),
    ],
)
def test_faithful_translations_pass(original: str, translation: str) -> None:
    assert problems_of(original, translation) == []


@pytest.mark.parametrize(
    ("original", "translation", "reasons"),
    [
        ("Name three colours.", "  \n", ["empty"]),
        ("Name three colours.", "Name three colours.", ["not_chinese"]),
        ("Name three colours.", "1", ["not_chinese", "numbers", "length"]),
        ("Name three colours.", "很抱歉,我无法翻译。", ["refusal"]),
        ("Name three colours.", "I'm sorry, I can't.", ["refusal", "not_chinese"]),
        ("Name three colours.", "作为一个AI,我没有颜色。", ["refusal"]),
        (CODE, CODE_ZH.replace("print", "打印"), ["code"]),
        (CODE, CODE_ZH.replace("`i += 1`", "i += 1"), ["code", "numbers"]),
        ("See https://a.org and https://a.org.", "见https://a.org。", ["urls"]),
        ("See https://a.org/x.", "见https://a.org/y。", ["urls"]),
        ("In 1990 and 1990.", "在1990年。", ["numbers"]),
        ("In 1990.", "在1991年。", ["numbers"]),
        ("Name colours.", "说出7种颜色。", ["numbers"]),
        ("List 3 tips for 2 people.", "给两个人列出五个建议。", ["numbers"]),
        ("Give 5 reasons.", "给出一些理由。", ["numbers"]),
        ("It cost 5 in 1990.", "它花了五元。", ["numbers"]),
        ("Write a poem.", "床前明月光疑是地上霜举头望明月低头思故乡" * 3, ["length"]),
        ("word " * 100, "词", ["length"]),
    ],
)
def test_what_is_wrong_is_named(original: str, translation: str, reasons: list[str]) -> None:
    assert problems_of(original, translation) == reasons
    assert set(reasons) <= set(REASONS)


def test_a_reply_that_ended_at_its_limit_is_truncated() -> None:
    assert problems_of("Name colours.", "说出颜色。", finish="length") == ["truncated"]


def test_the_least_share_of_chinese_is_a_choice_and_inputs_have_none() -> None:
    translation = "用JavaScript写"  # 2 of 12 letters
    assert cjk_share(translation) == pytest.approx(2 / 12)
    assert problems_of("Write it in JavaScript", translation) == ["not_chinese"]
    assert problems_of("Write it in JavaScript", translation, min_cjk=2 / 12) == []
    assert problems_of("Write it in JavaScript", translation, min_cjk=None) == []


def test_neither_code_nor_links_nor_digits_dilute_the_share() -> None:
    assert cjk_share(CODE_ZH) == 1.0
    assert cjk_share("见https://a.org/abcdef 123 ok") == pytest.approx(1 / 3)
    assert cjk_share("```only code```") is None


def test_composed_and_decomposed_letters_are_the_same_code() -> None:
    assert problems_of("Print `caf\u00e9`", "打印`cafe\u0301`") == []


def test_an_open_code_block_is_prose() -> None:
    assert taken_apart("```python\nx").code.total() == 0


@pytest.mark.parametrize(
    ("numeral", "value"),
    [("零", "0"), ("一" * 5000,) * 2,
     ("十", "10"), ("二十", "20"), ("一百零五", "105"), ("两千", "2000"),
     ("一万二千", "12000"), ("三亿", "300000000"), ("二〇二三", "2023"), ("百", "100")],
)  # fmt: skip
def test_chinese_numerals_have_their_value(numeral: str, value: str) -> None:
    assert list(chinese_values([numeral])) == [value]


@given(st.lists(st.sampled_from([str(n) for n in range(20)]), min_size=3, max_size=9))
def test_the_labs_numbers_pass_in_its_chinese(numbers: list[str]) -> None:
    text = " ".join(numbers)
    assert problems_of(text, to_chinese(text)) == []


@given(st.lists(st.sampled_from([w for w in CHINESE_BY_ENGLISH if w.isalpha()]), min_size=1))
def test_the_labs_words_pass_in_its_chinese(words: list[str]) -> None:
    text = " ".join(words)
    assert problems_of(text, to_chinese(text)) == []


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_are_checked_without_an_error(original: str, translation: str) -> None:
    assert set(problems_of(original, translation)) <= set(REASONS)
