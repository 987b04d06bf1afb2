"""What a prompt asks: one of the lab's exercises, in any wording that the project sends, or not.

Known wordings are Alpaca's template, the lab's own, and the instruction with the input below it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from understudy import prompts
from understudy.lab.exercises import Exercise, read_words
from understudy.lab.families import FAMILIES
from understudy.lab.family import Family
from understudy.lab.lexicon import to_chinese
from understudy.lab.world import World
from understudy.prompts import ALPACA_COMPACT

_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_TOKEN = re.compile(r"\s*(?:[\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3400-\u4dbf\u4e00-\u9fff]+)")


def tokens_of(text: str) -> list[str]:
    r"""The text in the tokens it is billed by: words, and each Chinese character alone.

    White space belongs to what follows it, so the tokens joined are the text.

    >>> tokens_of("Hi there,\n你好")
    ['Hi', ' there,', '\n你', '好']
    """
    tokens: list[str] = _TOKEN.findall(text)
    rest = len(text) - sum(map(len, tokens))
    if rest:
        tokens = [*tokens[:-1], tokens[-1] + text[-rest:]] if tokens else [text]
    return tokens


def num_tokens(text: str) -> int:
    r"""How many tokens a text has.

    >>> num_tokens("Hi there,\n你好"), num_tokens(" ")
    (4, 0)
    """
    if text.isascii():
        return len(text.split())
    return len(_TOKEN.findall(text))


def is_chinese(text: str) -> bool:
    """Whether more of the text's tokens are Chinese characters than are not."""
    return not text.isascii() and 2 * len(_CJK.findall(text)) > num_tokens(text)


def parts_of(prompt: str) -> tuple[str, str]:
    """Instruction and input of a prompt in any known wording; all is instruction where none fits.

    >>> parts_of("<instruction> give the first item <input> c a <response>")
    ('give the first item', 'c a')
    """
    taken = prompts.taken_apart(prompt) or _compact_apart(prompt)
    if taken is not None:
        return taken
    instruction, _, given = prompt.strip().partition("\n")
    return instruction.strip(), given.strip()


def exercise_in(prompt: str, world: World) -> tuple[Exercise, str] | None:
    r"""The lab's exercise that a prompt is, and its language; null where it is none of this world.

    >>> exercise_in("give the first item\n\nc a b", World())[0].family.name
    'first'
    """
    instruction, given = parts_of(prompt)
    known = _instructions().get(instruction)
    if known is None:
        return None
    family, english, lang = known
    words = read_words(given, lang)
    if not family.fits(words, world.symbols):
        return None
    return Exercise(family, english, words), lang


@lru_cache(maxsize=1)
def _instructions() -> dict[str, tuple[Family, str, str]]:
    """Every instruction of the lab, in both languages: its family, its English, its language."""
    known = {}
    for family in FAMILIES.values():
        for english in (*family.paraphrases, family.unseen_paraphrase):
            known[english] = (family, english, "en")
            known[to_chinese(english)] = (family, english, "zh")
    return known


def _compact_apart(prompt: str) -> tuple[str, str] | None:
    start, middle, end = (part.strip() for part in ALPACA_COMPACT.with_input)
    text = prompt.strip()
    if not (text.startswith(start) and text.endswith(end)):
        return None
    instruction, _, given = text[len(start) : -len(end)].partition(f" {middle} ")
    return instruction.strip(), given.strip()
