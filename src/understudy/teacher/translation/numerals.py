"""The numbers of a text: its digits, and those that English or Chinese writes in words.

A translation may write 3 as 三, "two" as 2, March as 3月 and 1.5 million as 150万. What counts is
the value, so both can be compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

_FULL_WIDTH = str.maketrans("０１２３４５６７８９．％", "0123456789.%")  # noqa: RUF001 - meant
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?", re.ASCII)
_ENGLISH_WORD = re.compile(r"[a-z]+")
_ENGLISH_WORDS = (
    "zero|one first|two second twice|three third|four fourth|five fifth|six sixth|seven seventh|"
    "eight eighth|nine ninth|ten tenth|eleven|twelve dozen|thirteen|fourteen|fifteen|sixteen|"
    "seventeen|eighteen|nineteen|twenty"
)
_ENGLISH = {
    word: value for value, words in enumerate(_ENGLISH_WORDS.split("|")) for word in words.split()
}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
         "eighty": 80, "ninety": 90}  # fmt: skip
_ENGLISH |= {**_TENS, "hundred": 100, "thousand": 1000, "single": 1, "once": 1}
_COMPOUND = re.compile(f"({'|'.join(_TENS)})[- ](one|two|three|four|five|six|seven|eight|nine)\\b")

_DIGITS = {
    character: value
    for value, characters in enumerate(
        ("零〇", "一壹", "二两贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
    )
    for character in characters
}
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_MYRIADS = {"万": 10**4, "亿": 10**8}
_MONTHS = "january february march april may june july august september october november december"
_ENGLISH |= {month: number for number, month in enumerate(_MONTHS.split(), start=1)}
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "百": 10**2, "千": 10**3, "万": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8, "十亿": 10**9,
    "万亿": 10**12,
}  # fmt: skip
_SCALED = re.compile(
    rf"({_NUMBER.pattern})\s*({'|'.join(sorted(_SCALES, key=len, reverse=True))})", re.IGNORECASE
)
_MAX_NUMERAL = 40  # longer runs are no numbers, and their value would fill pages
_RUN = re.compile(f"[{''.join((*_DIGITS, *_UNITS, *_MYRIADS))}]+")


def digit_numbers(text: str) -> Counter[str]:
    """The numbers in digits, with how often each stands there.

    Full-width digits are digits, and groups of thousands are one number; a sign is no part of it.

    >>> sorted(digit_numbers("2,000 of 3.5, then 3 and 3.").items())
    [('2000', 1), ('3', 2), ('3.5', 1)]
    """
    plain = text.translate(_FULL_WIDTH)
    return Counter(found.replace(",", "") for found in _NUMBER.findall(plain))


def scaled_numbers(text: str) -> Counter[str]:
    """The same, where a word that multiplies a number is a part of it.

    >>> sorted(scaled_numbers("1.5 million and 150万, 3 hats"))
    ['1500000', '3']
    """
    plain = text.translate(_FULL_WIDTH)

    def multiplied(found: re.Match[str]) -> str:
        value = Decimal(found.group(1).replace(",", "")) * _SCALES[found.group(2).lower()]
        return f" {value.normalize():f} "

    return digit_numbers(_SCALED.sub(multiplied, plain))


def english_numbers(text: str) -> Counter[str]:
    """The values of English number words, "twice" and "second" among them.

    >>> sorted(english_numbers("Twenty-five men, two at a time").items())
    [('2', 1), ('25', 1)]
    """
    lowered = text.lower()
    compounds = [_TENS[tens] + _ENGLISH[unit] for tens, unit in _COMPOUND.findall(lowered)]
    words = _ENGLISH_WORD.findall(_COMPOUND.sub(" ", lowered))
    return Counter(map(str, [*compounds, *(_ENGLISH[word] for word in words if word in _ENGLISH)]))


def chinese_numerals(text: str) -> list[str]:
    """The runs of Chinese numerals in a text."""
    return _RUN.findall(text)


def chinese_values(numerals: Iterable[str]) -> Counter[str]:
    """The values of numerals: 一百二十 is 120, and so digit by digit 二〇二三 is 2023.

    >>> sorted(chinese_values(["一百二十", "二〇二三", "十二", "三万五千"]))
    ['12', '120', '2023', '35000']
    """
    return Counter(
        str(_value(numeral)) if len(numeral) <= _MAX_NUMERAL else numeral for numeral in numerals
    )


def _value(numeral: str) -> int:
    if not any(character in _UNITS or character in _MYRIADS for character in numeral):
        return int("".join(str(_DIGITS[character]) for character in numeral))
    total = section = digit = 0
    for character in numeral:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _UNITS:
            section += (digit or 1) * _UNITS[character]
            digit = 0
        else:
            total = (total + section + digit or 1) * _MYRIADS[character]
            section = digit = 0
    return total + section + digit
