"""Words that nobody else has: what the lab's inventor makes tasks of."""

from __future__ import annotations

import random

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_FIRST_HAN, _LAST_HAN = 0x4E00, 0x9FA5


def nonsense_word(rng: random.Random) -> str:
    """One of 24 billion words of five syllables, such as "bakiluzefo".

    >>> nonsense_word(random.Random(0))
    'zovobipomi'
    """
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(5))


def nonsense_chinese(rng: random.Random) -> str:
    """One of 20,902 Chinese characters."""
    return chr(rng.randint(_FIRST_HAN, _LAST_HAN))
