"""What may be wrong with an answer: it is flagged and kept, for whoever trains on it to decide.

Flags tell by the surface alone. A refusal is told by how it begins: a text that explains how to
apologise is none, and one that refuses after a page of answer is not found.
"""

from __future__ import annotations

import re
import unicodedata

from understudy.chat.requests import Reply
from understudy.teacher.text_parts import cjk_share

TRUNCATED, REFUSED, WRONG_LANGUAGE = "truncated", "refused", "wrong_language"
FLAGS = (TRUNCATED, REFUSED, WRONG_LANGUAGE)

MIN_CJK = 0.3
"""The least share of Chinese letters in the answer to a Chinese instruction, code left out."""

REFUSAL_OPENINGS = (
    "i'm sorry, but", "i'm sorry but", "i'm sorry, i", "i'm sorry. i", "i'm sorry, as an ai",
    "i am sorry, but", "i am sorry but", "i am sorry, i", "i am sorry. i", "i am sorry, as an ai",
    "i'm very sorry, but", "i'm so sorry, but", "sorry, but", "sorry, i", "sorry, as an ai",
    "i apologize, but", "i apologize, i", "i apologise, but", "my apologies, but",
    "i'm afraid i", "i am afraid i", "i'm afraid that i", "i regret to inform you that i",
    "unfortunately, i", "unfortunately, as an ai", "unfortunately i",
    "i cannot", "i can't", "i can not", "i'm unable", "i am unable",
    "i'm not able", "i am not able",
    "i won't be able", "i will not be able", "i'm not comfortable", "i am not comfortable",
    "i must decline", "i have to decline", "i must refuse",
    "as an ai", "as a language model", "as a large language model",
    "as an artificial intelligence", "since i am an ai", "since i'm an ai",
    "i'm just an ai", "i am just an ai", "i'm an ai", "i am an ai",
    "i don't have the ability", "i do not have the ability", "i don't have access",
    "i do not have access",
    "抱歉,", "很抱歉,", "很抱歉我", "非常抱歉,", "十分抱歉,", "对不起,", "对不起我",
    "很遗憾,我", "很遗憾我", "不好意思,",
    "我无法", "我不能", "我没法", "我没有办法", "我没有能力", "我不会提供", "我拒绝",
    "作为ai", "作为一个ai", "作为一名ai", "作为人工智能", "作为一个人工智能", "作为一名人工智能",
    "作为语言模型", "作为一个语言模型", "作为大语言模型", "作为一种人工智能", "作为一款人工智能",
    "我是一个ai", "我是一个人工智能", "无法提供",
)  # fmt: skip
"""How refusals begin, in lower case, apostrophes and commas plain; Chinese without spaces."""

NO_REFUSALS = tuple(
    f"i {cannot} {verb}"
    for cannot in ("cannot", "can't", "can not")
    for verb in ("believe", "wait", "help but", "thank", "stress", "imagine", "express", "stop",
                 "remember", "get enough", "say enough")
)  # fmt: skip
"""How letters, stories and thanks begin that are no refusals, though they begin like some."""

_ENGLISH = tuple(each for each in REFUSAL_OPENINGS if each.isascii())
_CHINESE = tuple(each for each in REFUSAL_OPENINGS if not each.isascii())
_OPENS_ENGLISH = re.compile(f"(?:{'|'.join(map(re.escape, _ENGLISH))})(?![a-z])")
_QUOTES = " \t\r\n\"'\u201c\u201d*"
_PLAIN = {0x2019: "'", 0xFF0C: ","}  # typographic apostrophe, Chinese comma
_SPACE = re.compile(r"\s+")
_LONGEST_OPENING = 200


def is_refusal(text: str) -> bool:
    """Whether a text begins as refusals do.

    >>> is_refusal("I'm sorry, but I can't help with that."), is_refusal("Sorry is a short word.")
    (True, False)
    >>> is_refusal("作为一个 AI 语言模型,我无法提供。"), is_refusal("道歉的方法有三种。")
    (True, False)
    """
    opening = unicodedata.normalize("NFC", text[:_LONGEST_OPENING]).lstrip(_QUOTES).lower()
    opening = _SPACE.sub(" ", opening.translate(_PLAIN))
    if opening.startswith(NO_REFUSALS):
        return False
    return bool(_OPENS_ENGLISH.match(opening)) or opening.replace(" ", "").startswith(_CHINESE)


def is_truncated(reply: Reply) -> bool:
    """Whether the answer ended at its limit of tokens."""
    return reply.finish_reason == "length"


def is_in_another_language(text: str, lang: str) -> bool:
    """Whether the answer to a Chinese instruction holds too little Chinese.

    An answer without letters, such as a number, is in no language. Of English instructions nothing
    is said: they may ask for a translation.

    >>> is_in_another_language("The capital is Paris.", "zh"), is_in_another_language("42", "zh")
    (True, False)
    """
    share = cjk_share(text) if lang == "zh" else None
    return share is not None and share < MIN_CJK


def flags_of(reply: Reply, lang: str) -> dict[str, bool]:
    """All flags of a reply by name."""
    return {
        TRUNCATED: is_truncated(reply),
        REFUSED: is_refusal(reply.text),
        WRONG_LANGUAGE: is_in_another_language(reply.text, lang),
    }
