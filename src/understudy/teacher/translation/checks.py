"""What is looked at in a translation into Chinese before it may teach a model (Peng et al. 2023).

The authors say nothing of checks; these are ours. A text fails for reasons that are named, never
mended: a row that fails stays English and out of the Chinese set.

- ``empty``, ``truncated``: nothing came, or the reply ended at its limit of tokens.
- ``refusal``: it begins as refusals do, and the original does not.
- ``not_chinese``: of the letters outside of code and links too few are Chinese.
- ``code``, ``urls``, ``numbers``: they are not the same ones, equally often.
- ``length``: it is much longer or shorter than translations are: an answer in place of a
  translation, or a summary.

Texts are compared after NFC, never NFKC. Numbers are compared by value: full-width digits are
digits, a number may be written in Chinese numerals or be a word in English, a month is its number,
and 1.5 million is 150万 or 一百五十万. The lab's own Chinese is exact and has numerals of its own.
"""

from __future__ import annotations

import re

from understudy.lab.lexicon import to_chinese
from understudy.teacher.flags import is_refusal
from understudy.teacher.text_parts import cjk_share, taken_apart
from understudy.teacher.translation.numerals import (
    chinese_numerals,
    chinese_values,
    digit_numbers,
    english_numbers,
    scaled_numbers,
)

REASONS = (
    "empty", "truncated", "refusal", "not_chinese", "code", "urls", "numbers", "length",
)  # fmt: skip

MAX_LENGTH_RATIO = 1.2
MIN_LENGTH_RATIO = 0.1
SLACK_CHARACTERS = 20
"""A translation has at most 1.2 times the original's characters and 20 more, white space aside, and
at least a tenth of them. Chinese takes a fourth to a half of the characters of English; what is
mostly code, names or numbers stays as long, and a short text may become longer."""

_APOLOGY = re.compile(
    r"(?:i(?:'| a)?m|we(?:'| a)?re)? ?(?:very |so |truly )?(?:sorry|unable|not able|afraid|apolog|"
    r"unfortunately|regret|i can(?:no|')?t\b|as an? (?:ai|large|language)\b)",
    re.IGNORECASE,
)


def problems_of(
    original: str, translation: str, *, finish: str = "stop", min_cjk: float | None = 0.3
) -> list[str]:
    """The reasons of :data:`REASONS` for which a translation is not taken, in their order.

    Args:
        original: The English text.
        translation: What came for it.
        finish: Why the reply ended; "length" is truncated.
        min_cjk: The least share of Chinese characters; null asks for none, as of inputs, which may
            be code, names or a text whose language is the task.
    """
    if not translation.strip():
        return ["empty"]
    if finish != "length" and _is_the_labs(original, translation):
        return []
    ours, theirs = taken_apart(original), taken_apart(translation)
    found = {
        "truncated": finish == "length",
        "refusal": _is_refusal(original, translation),
        "not_chinese": min_cjk is not None and not _is_chinese(original, translation, min_cjk),
        "code": ours.code != theirs.code,
        "urls": ours.urls != theirs.urls,
        "numbers": not _same_numbers(ours.prose, theirs.prose),
        "length": not _plausible_length(original, translation),
    }
    return [reason for reason, holds in found.items() if holds]


def _is_refusal(original: str, translation: str) -> bool:
    """Whether a translation begins as a refusal does, and its original in no such way."""
    return is_refusal(translation) and not _APOLOGY.match(_opening(original))


def _opening(text: str) -> str:
    return text.lstrip(" \t\r\n\"'“").replace("’", "'")  # noqa: RUF001 - a typographic apostrophe


def _is_chinese(original: str, translation: str, min_cjk: float) -> bool:
    share = cjk_share(translation)
    if share is None:
        return cjk_share(original) is None  # there was no letter to translate
    return share >= min_cjk


def _is_the_labs(original: str, translation: str) -> bool:
    """Whether it is a lab's text in the lab's own Chinese, character by character."""
    try:
        return to_chinese(original) == translation.strip()
    except ValueError:
        return False


def _same_numbers(original: str, translation: str) -> bool:
    """Whether the numbers of both have the same values, equally often.

    千 multiplies in 3千 and does not in 3千克, so both readings of each text are tried.
    """
    words = english_numbers(original)
    numerals = chinese_values(chinese_numerals(translation))
    readings = (digit_numbers, scaled_numbers)
    return any(
        not (theirs(translation) - ours(original)) - words
        and not (ours(original) - theirs(translation)) - numerals
        for ours in readings
        for theirs in readings
    )


def _plausible_length(original: str, translation: str) -> bool:
    ours, theirs = (sum(not c.isspace() for c in text) for text in (original, translation))
    longest = MAX_LENGTH_RATIO * ours + SLACK_CHARACTERS
    return MIN_LENGTH_RATIO * ours <= theirs <= longest
