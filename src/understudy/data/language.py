"""Which language a text is in: Chinese or, for want of another question here, English."""

from __future__ import annotations

import re

LANGUAGES = ("en", "zh")
"""The languages that rows are told apart by."""

_CJK = "[\u3400-\u9fff\uf900-\ufaff]"
_CJK_CHARACTER = re.compile(_CJK)
_OTHER_WORD = re.compile(f"(?:(?!{_CJK})\\w)+")
_MIN_CJK_FRACTION = 0.4


def detect_language(text: str) -> str:
    """``zh`` when more than four in ten words are CJK characters, each one a word, else ``en``.

    >>> detect_language("解释细胞理论"), detect_language("Explain cell theory")
    ('zh', 'en')
    """
    if text.isascii():
        return "en"
    num_cjk, num_other = len(_CJK_CHARACTER.findall(text)), len(_OTHER_WORD.findall(text))
    return "zh" if num_cjk > _MIN_CJK_FRACTION * (num_cjk + num_other) else "en"
