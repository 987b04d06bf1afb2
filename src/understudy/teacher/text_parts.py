"""A text taken apart into code, links and prose, and how much of the prose is Chinese."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

_CODE_BLOCK = re.compile(r"```.*?```|~~~.*?~~~", re.DOTALL)
_CODE_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_URL = re.compile(r"(?:https?://|ftp://|www\.)[!-~]+", re.IGNORECASE)
_AFTER_A_URL = ".,;:!?'\")]}>"
_CJK = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class Parts:
    """A text taken apart.

    Attributes:
        code: Its code blocks and spans.
        urls: Its links.
        prose: The rest.
    """

    code: Counter[str]
    urls: Counter[str]
    prose: str


def taken_apart(text: str) -> Parts:
    """The code, links and prose of a text, normalised to NFC; an open code block is prose."""
    code: Counter[str] = Counter()
    urls: Counter[str] = Counter()

    def keep_block(found: re.Match[str]) -> str:
        code[found.group()] += 1
        return " "

    def keep_span(found: re.Match[str]) -> str:
        code[found.group(2).strip()] += 1
        return " "

    def keep_url(found: re.Match[str]) -> str:
        whole = found.group()
        url = whole.rstrip(_AFTER_A_URL)
        urls[url] += 1
        return " " + whole[len(url) :]

    prose = _CODE_BLOCK.sub(keep_block, unicodedata.normalize("NFC", text))
    prose = _CODE_SPAN.sub(keep_span, prose)
    return Parts(code, urls, _URL.sub(keep_url, prose))


def cjk_share(text: str) -> float | None:
    """The share of Chinese characters among the letters outside of code and links.

    Null where there are no letters. Digits, signs and spaces are no letters, so neither numbers nor
    code count against a translation; a foreign name counts with each of its letters.

    >>> cjk_share("用`print('x')`打印 x"), cjk_share("1 + 1 = ?")
    (0.75, None)
    """
    letters = [each for each in taken_apart(text).prose if each.isalpha()]
    if not letters:
        return None
    return sum(_CJK.match(each) is not None for each in letters) / len(letters)
