"""What a task family is, and the one way in which answers are written and read.

Each family has a sampler, paraphrased instructions, a gold function, a checker, an
explanation generator and a systematic error. Everything here is English words in tuples; text and
Chinese begin at the border (:mod:`understudy.lab.exercises`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

Words = tuple[str, ...]

ANSWER_MARKER: Words = ("answer", ":")
OFF_FORMAT_MARKER: Words = ("maybe",)


@dataclass(frozen=True, slots=True)
class Symbols:
    """What a world's lists are made of: letters and numbers, each one word."""

    letters: Words
    numbers: Words


def exact_answer(gold: Words, answer: Words) -> bool:
    """True when the answer is the gold answer, word for word."""
    return answer == gold


@dataclass(frozen=True, slots=True)
class Family:
    """A task with a programmatic answer.

    All functions but ``draw`` and ``guess`` depend on the input's words alone. The first word of
    every input is its key symbol: it decides whether a lesser teacher errs, so that its errors are
    predictable from the prompt.

    Attributes:
        name: The family's name: an instruction's ``task``.
        paraphrases: The instructions that training sees, each with a verb and noun pair of its own.
        unseen_paraphrase: An instruction that training never sees, made of words that it does see.
        draw: An input of about so many list items, from a generator.
        fits: Whether words are an input of this family in a world with these symbols.
        gold: The right answer; the canonical one where several are right.
        explain: What a teacher who explains writes before the answer.
        systematic_error: The answer of the wrong procedure; equals the gold answer for some inputs.
        guess: A random answer of the right kind, from a generator.
        answer_words: The words of answers and explanations that are no symbols of the world.
        is_right: The checker: gold answer and given answer to true or false.
        has_list: False when inputs have one length only, so that none can be unusually long.
    """

    name: str
    paraphrases: tuple[str, ...]
    unseen_paraphrase: str
    draw: Callable[[random.Random, Symbols, int], Words]
    fits: Callable[[Words, Symbols], bool]
    gold: Callable[[Words], Words]
    explain: Callable[[Words], Words]
    systematic_error: Callable[[Words], Words]
    guess: Callable[[random.Random, Symbols, Words], Words]
    answer_words: Words = ()
    is_right: Callable[[Words, Words], bool] = exact_answer
    has_list: bool = True


def key_symbol(words: Words) -> str:
    """The symbol of an input that decides whether a lesser teacher errs: its first word.

    >>> key_symbol(("c", ":", "a", "c"))
    'c'
    """
    return words[0]


def write_answer(explanation: Words, answer: Words) -> Words:
    """A response in the lab's format.

    >>> " ".join(write_answer(("a", "c"), ("a",)))
    'a c answer : a'
    """
    return (*explanation, *ANSWER_MARKER, *answer)


def write_off_format(answer: Words) -> Words:
    """A response that holds an answer where no reader looks for it.

    >>> read_answer(write_off_format(("a",))) is None
    True
    """
    return (*OFF_FORMAT_MARKER, *answer)


def read_answer(response: Words) -> Words | None:
    """All words after the first ``answer :``, or None when a response cannot be read.

    Nothing is guessed: without the marker, or with nothing after it, there is no answer; what
    follows the answer belongs to it, so rambling on makes it wrong.

    >>> read_answer(("a", "c", "answer", ":", "a"))
    ('a',)
    >>> read_answer(("the", "answer", "is", "a")) is None
    True
    """
    for start in range(len(response) - 1):
        if response[start : start + 2] == ANSWER_MARKER:
            return response[start + 2 :] or None
    return None
