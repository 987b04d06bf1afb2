"""A stand-in for Chinese: text that looks like it to a check, and means nothing.

No translation: each word becomes two characters that follow from a hash of it. Code, links, names
of files and variables, and numbers stay as they are, as a translator is asked to leave them; line
breaks and Chinese text stay, too. So the road from a translation to training is walked, and its
checks have something to check.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

_KEPT = re.compile(
    r"```.*?```|`[^`\n]*`"  # code
    r"|(?:https?://|www\.)[^\s<>\"']+"  # links
    r"|\b\w+\.(?:py|js|ts|c|h|cpp|java|txt|csv|json|html|css|xml|md|sql|sh)\b"  # files
    r"|\b[A-Za-z]\w*_\w+\b"  # variables
    r"|\d+(?:[.,:/-]\d+)*",  # numbers
    re.DOTALL,
)
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_PIECE = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\n|\s+|.", re.DOTALL)
_CHARACTERS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面"
    "而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把"
)
_MARKS = dict(zip(",.?!:;()", "，。？！：；（）", strict=True))  # noqa: RUF001 - full-width signs


def pseudo_chinese(text: str, *, loses_numbers: bool = False) -> str:
    """Text in characters, with code, links, names and numbers kept.

    Args:
        text: What is to look Chinese.
        loses_numbers: Leaves numbers out: a mistake for checks to find.

    >>> len(pseudo_chinese("Add 12 1/2 and x_1."))
    14
    """
    written = ""
    end = 0
    for kept in _KEPT.finditer(text):
        written += _written(text[end : kept.start()])
        if not (loses_numbers and _NUMBER.fullmatch(kept.group())):
            gap = " " if written and written[-1].isascii() and written[-1].isalnum() else ""
            written += gap + kept.group()
        end = kept.end()
    return written + _written(text[end:])


def _written(text: str) -> str:
    return "".join(map(_piece, _PIECE.findall(text)))


def _piece(piece: str) -> str:
    if piece[0].isalpha() and piece[0] < "\u2e80":
        return _word(piece.lower())
    if piece.isspace():
        return "\n" if "\n" in piece else ""
    return _MARKS.get(piece, piece)


@lru_cache(maxsize=50_000)
def _word(word: str) -> str:
    digest = hashlib.blake2b(word.encode(), digest_size=2).digest()
    return "".join(_CHARACTERS[byte % len(_CHARACTERS)] for byte in digest)
