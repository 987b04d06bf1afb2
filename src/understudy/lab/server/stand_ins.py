"""Answers to what is not the lab's, and ratings of them: stand-ins that only exercise the road.

A stand-in answer takes up the words of the instruction; a better teacher takes up more of them and
writes more. The rating of a stand-in is what share of those words it takes up and how long it is,
so a rating can tell the teachers apart. None of it says anything about real answers.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

from understudy.lab.rater import NOISE
from understudy.lab.server.pseudo_chinese import pseudo_chinese
from understudy.lab.server.reading import is_chinese, num_tokens

_WORD = re.compile(r"[^\W\d_]{4,}")
_CHARACTERS = re.compile(r"[\u4e00-\u9fff]{2}")
_LONG_ENOUGH = 60
_OPENINGS = (
    "Here is one way to look at it.",
    "This can be answered in a few steps.",
    "There is more than one side to this.",
    "Let us take the parts one after the other.",
)
_SENTENCES = (
    "The {0} matters most when the {1} is clear.",
    "A good place to begin is the {0}, before the {1}.",
    "With the {0} in mind, the {1} follows.",
    "Many people think of the {0} first and of the {1} later.",
    "What the {0} needs is a careful look at the {1}.",
    "In practice the {0} and the {1} go together.",
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a teacher writes: how many sentences, and what share of the words it takes up."""

    num_sentences: int
    share_of_words: float


_MANNERS = {
    "strong": Manner(8, 1.0),
    "strong_varied": Manner(6, 1.0),
    "strong_terse": Manner(3, 1.0),
    "medium": Manner(4, 0.6),
    "weak": Manner(1, 0.3),
    "random": Manner(1, 0.0),
}
_OTHER = Manner(3, 0.5)


def stand_in(prompt: str, teacher: str, draw: int) -> str:
    """A deterministic answer to any prompt in the manner of a teacher, in the prompt's language."""
    if is_chinese(prompt):
        words = _CHARACTERS.findall(prompt)
        return _written(words, teacher, f"{prompt}\x1f{draw}", is_in_chinese=True)
    words = _WORD.findall(prompt)
    return _written(words, teacher, f"{prompt}\x1f{draw}", is_in_chinese=False)


def quality(prompt: str, response: str) -> float:
    """0 to 1: the share of the prompt's words that a response takes up, and its length."""
    found = _CHARACTERS if is_chinese(prompt) else _WORD
    wanted = {word.lower() for word in found.findall(prompt)}
    text = response.lower()
    share = sum(word in text for word in wanted) / len(wanted) if wanted else 1.0
    length = min(num_tokens(response) / _LONG_ENOUGH, 1.0)
    return 0.6 * share + 0.4 * length if response.strip() else 0.0


def ratings_of(prompt: str, response: str) -> tuple[tuple[int, float], ...]:
    """Each rating that a response may get, with its probability."""
    deserved = 1 + round(8 * quality(prompt, response))
    chances: dict[int, float] = {}
    for shift, chance in NOISE:
        rating = max(1, min(deserved + shift, 10))
        chances[rating] = chances.get(rating, 0.0) + chance
    return tuple(chances.items())


def chosen(outcomes: tuple[tuple[int, float], ...], content: str) -> int:
    """One of the outcomes, by a hash of the content and the outcomes' probabilities."""
    digest = hashlib.blake2b(content.encode(), digest_size=8).digest()
    left = int.from_bytes(digest, "big") / 2**64
    for outcome, chance in outcomes:
        left -= chance
        if left < 0:
            return outcome
    return outcomes[-1][0]


def _written(words: list[str], teacher: str, content: str, *, is_in_chinese: bool) -> str:
    manner = _MANNERS.get(teacher, _OTHER)
    rng = random.Random(f"{teacher}\x1f{content}")
    distinct = list(dict.fromkeys(words))
    taken = distinct[: round(len(distinct) * manner.share_of_words)]
    slots = [*taken, *rng.choices(taken or ["matter", "question"], k=2 * manner.num_sentences)]
    pairs = list(zip(slots[::2], slots[1::2], strict=False))
    num_sentences = max(manner.num_sentences, -(-len(taken) // 2))
    sentences = [rng.choice(_SENTENCES).format(*pair) for pair in pairs[:num_sentences]]
    text = " ".join([rng.choice(_OPENINGS), *sentences])
    return pseudo_chinese(text) if is_in_chinese else text
