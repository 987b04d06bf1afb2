"""Pseudo-Chinese: one Chinese character for each English word of the lab, and back.

The lexicon is a bijection, so a translation is exact and Chinese pipelines have known
answers: answers translated from English score as the English ones do, to the last digit. Words stay
separated by spaces, as the lab's word-level tokenizer wants them. The choice of characters follows
their meaning where that was easy and is otherwise arbitrary.
"""

from __future__ import annotations

import string

_LETTERS = "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥乾坤震艮"
_NUMBERS = "零一二三四五六七八九十壹贰叁肆伍陆柒捌玖山川日月水火木金土石田禾米竹虫鱼鸟马牛羊"
_WORDS = (
    "answer答 :： maybe许 =＝ yes是 no否 none无 bigger巨 "  # noqa: RUF001 - full-width signs are meant
    "give给 name名 pick挑 return还 show示 say说 choose选 take取 tell告 find找 report报 select择 "
    "identify认 detect察 spot见 check查 test试 search搜 count数 tally计 total总 reverse逆 invert颠 "
    "flip翻 sort排 arrange整 rank级 fetch拿 read读 get得 describe述 present呈 introduce介 "
    "first首 opening启 initial初 last尾 final终 closing闭 larger较 greater胜 largest最 "
    "highest高 top顶 most多 common常 dominant主 prevailing盛 the这 of的 for为 "
    "item项 symbol符 letter字 number号 value值 figure图 list列 row行 series串 key键 target靶 "
    "mark标 matches配 copies副 hits中 order序 numbers码 values价 figures形 items件 letters文 "
    "are皆 and和 here此 we我 see看 then后 this该 holds含 with同"
)

MAX_NUMBERS = len(_NUMBERS)
"""How many numbers, from 0 on, have a Chinese character."""

CHINESE_BY_ENGLISH: dict[str, str] = {
    **{entry[:-1]: entry[-1] for entry in _WORDS.split()},
    **dict(zip(string.ascii_lowercase, _LETTERS, strict=True)),
    **{str(number): character for number, character in enumerate(_NUMBERS)},
}
"""The lexicon: each English word of the lab with its Chinese character."""

ENGLISH_BY_CHINESE: dict[str, str] = {
    chinese: english for english, chinese in CHINESE_BY_ENGLISH.items()
}
"""The same lexicon, read the other way."""


def to_chinese(text: str) -> str:
    """The Chinese of a lab text in English, word for word.

    Raises:
        ValueError: A word is no English word of the lab.

    >>> to_chinese("count the items")
    '数 这 件'
    """
    return _translate(text, CHINESE_BY_ENGLISH, "English")


def to_english(text: str) -> str:
    """The English of a lab text in Chinese, word for word.

    Raises:
        ValueError: A word is no Chinese word of the lab.

    >>> to_english("数 这 件")
    'count the items'
    """
    return _translate(text, ENGLISH_BY_CHINESE, "Chinese")


def _translate(text: str, lexicon: dict[str, str], language: str) -> str:
    words = text.split()
    unknown = [word for word in words if word not in lexicon]
    if unknown:
        raise ValueError(f"the lab's lexicon has no {language} word {unknown[0]!r}")
    return " ".join(lexicon[word] for word in words)
