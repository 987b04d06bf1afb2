"""The lab's closed world: which families and symbols there are, which inputs are for the test.

A world is plain values, cheap to build; the same values give the same world on any machine, because
every choice in it is a hash of them. Described in docs/lab.md.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from understudy.lab.families import FAMILIES
from understudy.lab.family import ANSWER_MARKER, OFF_FORMAT_MARKER, Family, Symbols, Words
from understudy.lab.lexicon import MAX_NUMBERS, to_chinese
from understudy.prompts import ALPACA_COMPACT
from understudy.records import InputError

FAST_FAMILIES = ("first", "last", "compare", "max", "majority", "member", "count")

_TEST_SHARE = 0.2
_DEV_SHARE = 0.05


@dataclass(frozen=True)
class World:
    """Families over an alphabet, and how their inputs are split.

    Attributes:
        families: Names of the families there are.
        held_out: Those of them that training never sees.
        num_letters: Letters that lists are made of, 8 to 26.
        num_numbers: Numbers from 0 on that lists are made of, 10 to 40.
        min_length: Shortest list, in items, 3 or more.
        max_length: Longest list that training sees, 8 at most; one more item is unseen.
        seed: Decides splits and error symbols.
    """

    families: Sequence[str] = FAST_FAMILIES
    held_out: Sequence[str] = ()
    num_letters: int = 16
    num_numbers: int = 20
    min_length: int = 3
    max_length: int = 7
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what is no world.

        Raises:
            InputError: A family is unknown, twice there or not there; a number is out of range.
        """
        object.__setattr__(self, "families", tuple(self.families))
        object.__setattr__(self, "held_out", tuple(self.held_out))
        _check_names("families", self.families, tuple(FAMILIES))
        _check_names("held_out", self.held_out, tuple(self.families))
        if not set(self.families) - set(self.held_out):
            raise InputError(
                "the lab's world has no family to train on; give families more than held_out"
            )
        _check_range("num_letters", self.num_letters, 8, len(string.ascii_lowercase))
        _check_range("num_numbers", self.num_numbers, 10, MAX_NUMBERS)
        _check_range("max_length", self.max_length, 3, 8)
        _check_range("min_length", self.min_length, 3, self.max_length)

    @cached_property
    def symbols(self) -> Symbols:
        """The letters and numbers of all lists."""
        letters = tuple(string.ascii_lowercase[: self.num_letters])
        return Symbols(letters, tuple(str(number) for number in range(self.num_numbers)))

    @property
    def seen_families(self) -> tuple[Family, ...]:
        """The families that training sees."""
        return tuple(FAMILIES[name] for name in self.families if name not in self.held_out)

    @property
    def unseen_families(self) -> tuple[Family, ...]:
        """The families that training never sees."""
        return tuple(FAMILIES[name] for name in self.held_out)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The list lengths that training sees, in items."""
        return tuple(range(self.min_length, self.max_length + 1))

    @property
    def unseen_length(self) -> int:
        """The list length that training never sees, in items."""
        return self.max_length + 1

    def split_of(self, family: str, words: Words) -> str:
        """The split of an input: "test" for a fifth of them, "dev" for a twentieth, else "train".

        A hash of family and input, so one input is in one split whatever its wording or teacher.
        """
        text = f"{self.seed}\x1f{family}\x1f{' '.join(words)}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        share = int.from_bytes(digest, "big") / 2**64
        if share < _TEST_SHARE:
            return "test"
        return "dev" if share < _TEST_SHARE + _DEV_SHARE else "train"

    def error_symbols(self, num_letters: int, num_numbers: int) -> frozenset[str]:
        """The key symbols on which a teacher errs who errs on so many letters and numbers.

        Nested: whoever errs on more symbols errs on these too.

        Raises:
            InputError: The world has fewer letters or numbers.
        """
        _check_range("wrong_letters", num_letters, 0, self.num_letters)
        _check_range("wrong_numbers", num_numbers, 0, self.num_numbers)
        rng = random.Random(f"{self.seed} error symbols")
        letters = rng.sample(self.symbols.letters, self.num_letters)
        numbers = rng.sample(self.symbols.numbers, self.num_numbers)
        return frozenset(letters[:num_letters] + numbers[:num_numbers])

    def vocabulary(self) -> list[str]:
        """Every word that a prompt, an answer or a guess of this world can hold, each once.

        Template headers first, then English, then the Chinese token of each English word.
        """
        headers = "".join(ALPACA_COMPACT.with_input).split()
        english = [*ANSWER_MARKER, *OFF_FORMAT_MARKER]
        for family in (FAMILIES[name] for name in self.families):
            for sentence in (*family.paraphrases, family.unseen_paraphrase):
                english += sentence.split()
            english += family.answer_words
        english += (*self.symbols.letters, *self.symbols.numbers)
        english = list(dict.fromkeys(english))
        return list(dict.fromkeys((*headers, *english, *to_chinese(" ".join(english)).split())))


def full_world(seed: int = 0) -> World:
    """All families, ``sort`` and ``max`` held out."""
    return World(families=tuple(FAMILIES), held_out=("sort", "max"), seed=seed)


def vocabulary(world: World) -> list[str]:
    """The words of a world: :meth:`World.vocabulary` for a config."""
    return world.vocabulary()


def _check_names(field: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"the lab's world has no family {unknown[0]!r} for {field}; "
            f"choose from {', '.join(known)}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"the lab's world names a family twice in {field}: {', '.join(names)}")


def _check_range(field: str, number: int, low: int, high: int) -> None:
    if not low <= number <= high:
        raise InputError(f"the lab's {field} is {number}; give a number from {low} to {high}")
