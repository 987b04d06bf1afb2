"""The inputs of the lab's tasks: lists of letters or numbers, with a key or without.

A sampler draws an input of about ``length`` items; a check says whether words have such a shape, so
that prompts which are not the lab's are told apart.
"""

from __future__ import annotations

import random

from understudy.lab.family import Symbols, Words


def letter_list(rng: random.Random, symbols: Symbols, length: int) -> Words:
    """Letters, with repeats."""
    return tuple(rng.choices(symbols.letters, k=length))


def number_list(rng: random.Random, symbols: Symbols, length: int) -> Words:
    """Numbers, with repeats."""
    return tuple(rng.choices(symbols.numbers, k=length))


def two_numbers(rng: random.Random, symbols: Symbols, _length: int) -> Words:
    """Two different numbers; there is no length."""
    return tuple(rng.sample(symbols.numbers, 2))


def two_letter_list(rng: random.Random, symbols: Symbols, length: int) -> Words:
    """Two letters in a list of odd length, the next one up when ``length`` is even."""
    size = length | 1
    common, rare = rng.sample(symbols.letters, 2)
    num_common = rng.randint(size // 2 + 1, size - 1)
    words = [common] * num_common + [rare] * (size - num_common)
    rng.shuffle(words)
    return tuple(words)


def _keyed_list(rng: random.Random, symbols: Symbols, length: int, num_matches: int) -> Words:
    key, *others = rng.sample(symbols.letters, len(symbols.letters))
    words = [key] * num_matches + rng.choices(others, k=length - num_matches)
    rng.shuffle(words)
    return (key, ":", *words)


def member_list(rng: random.Random, symbols: Symbols, length: int) -> Words:
    """A key and a list that holds it every other time, and then up to three times."""
    return _keyed_list(rng, symbols, length, rng.choice((0, 0, 0, 1, 2, 3)))


def count_list(rng: random.Random, symbols: Symbols, length: int) -> Words:
    """A key and a list that holds it up to three times: more would be hard to learn."""
    return _keyed_list(rng, symbols, length, rng.randint(0, 3))


def key_value_list(rng: random.Random, symbols: Symbols, length: int) -> Words:
    """A key and ``length - 2`` pairs, at least two: pairs take two words each."""
    keys = rng.sample(symbols.letters, max(2, length - 2))
    pairs = [word for key in keys for word in (key, rng.choice(symbols.numbers))]
    return (rng.choice(keys), ":", *pairs)


def are_letters(words: Words, symbols: Symbols) -> bool:
    """True for one letter or more."""
    return bool(words) and all(word in symbols.letters for word in words)


def are_numbers(words: Words, symbols: Symbols) -> bool:
    """True for one number or more."""
    return bool(words) and all(word in symbols.numbers for word in words)


def are_two_numbers(words: Words, symbols: Symbols) -> bool:
    """True for two different numbers."""
    return len(set(words)) == len(words) == 2 and are_numbers(words, symbols)


def have_majority(words: Words, symbols: Symbols) -> bool:
    """True for an odd number of letters of just two kinds."""
    return len(words) % 2 == 1 and len(set(words)) == 2 and are_letters(words, symbols)


def are_key_and_letters(words: Words, symbols: Symbols) -> bool:
    """True for ``key : letter ...``."""
    return words[1:2] == (":",) and are_letters(words[:1] + words[2:], symbols) and len(words) > 2


def are_key_and_pairs(words: Words, symbols: Symbols) -> bool:
    """True for ``key : letter number ...`` with the key among the letters."""
    keys, values = words[2::2], words[3::2]
    is_shaped = words[1:2] == (":",) and len(keys) == len(values) and words[0] in keys
    return is_shaped and are_letters(keys, symbols) and are_numbers(values, symbols)
