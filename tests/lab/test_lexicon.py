"""The lexicon is a bijection, so translation is exact both ways."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.lab.lexicon import (
    CHINESE_BY_ENGLISH,
    ENGLISH_BY_CHINESE,
    MAX_NUMBERS,
    to_chinese,
    to_english,
)

ENGLISH = st.lists(st.sampled_from(list(CHINESE_BY_ENGLISH))).map(" ".join)


def test_no_two_words_share_a_character() -> None:
    assert len(ENGLISH_BY_CHINESE) == len(CHINESE_BY_ENGLISH) > 150
    assert not set(CHINESE_BY_ENGLISH) & set(ENGLISH_BY_CHINESE)


def test_a_chinese_word_is_one_character_that_normalisation_leaves_alone() -> None:
    for character in ENGLISH_BY_CHINESE:
        assert len(character) == 1
        assert not character.isascii()
        assert unicodedata.normalize("NFC", character) == character


@given(ENGLISH)
def test_translation_and_back_changes_nothing(text: str) -> None:
    chinese = to_chinese(text)
    assert to_english(chinese) == text
    assert len(chinese.split()) == len(text.split())
    assert chinese.isascii() is (text == "")


def test_letters_numbers_and_words_translate() -> None:
    assert to_chinese("answer : a") == "答 ： 甲"  # noqa: RUF001 - the full-width colon is meant
    assert to_chinese("0 19") == "零 玖"
    assert str(MAX_NUMBERS - 1) in CHINESE_BY_ENGLISH
    assert str(MAX_NUMBERS) not in CHINESE_BY_ENGLISH


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(ValueError, match="no English word 'zebra'"):
        to_chinese("the zebra")
    with pytest.raises(ValueError, match="no Chinese word 'the'"):
        to_english("答 the")
