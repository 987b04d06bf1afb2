"""Examples of an invented task, good ones and every kind that the instance filters drop."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.forms.selfinstruct_instances import LABEL
from understudy.lab.invention.nonsense import nonsense_word
from understudy.lab.world import World

_LABEL_SHARE = 0.3
_RUN_ON_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Example:
    """An input and an output, and the filter that must drop them; "" is none."""

    input: str
    output: str
    fault: str = ""


def is_label_task(instruction: str) -> bool:
    """Whether the inventor calls a task a classification: three in ten are."""
    digest = hashlib.blake2b(instruction.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < _LABEL_SHARE


def examples_of(instruction: str, world: World, draw: int) -> tuple[tuple[Example, ...], bool]:
    """Examples of a task, and whether the last of them does not end.

    Each task has one kind of trouble or none: no input at all, one example that is dropped, two
    that contradict each other, more than five, or an end that does not come.
    """
    rng = random.Random(f"{world.seed} {draw} examples {instruction}")
    good = [_good(rng, world) for _ in range(rng.randint(2, 4))]
    kind = rng.randrange(12)
    faulty = {
        1: Example(good[0].input, "", "empty_output"),
        2: Example("a b c", "a b c", "input_is_output"),
        3: Example(good[0].input + " d", "the answer is:", "ends_with_colon"),
        4: Example(good[0].input, good[0].output, "duplicate_instance"),
    }
    if kind in faulty:
        return (*good, faulty[kind]), False
    if kind == 5:
        contradiction = [*good, Example(good[0].input, good[0].output + " no")]
        return tuple(Example(e.input, e.output, "contradictory") for e in contradiction), False
    if kind == 6:
        more = [_good(rng, world) for _ in range(6)]
        return tuple(
            Example(e.input, e.output, "more_than_max" if n >= 5 else "")
            for n, e in enumerate(more)
        ), False
    if kind == 7:
        cut = Example(good[-1].input, good[-1].output, "cut_by_length")
        return (*good[:-1], cut), True
    if kind == 8:
        return (Example("", "", "empty_output"),), False
    return ((Example("", good[0].output),) if kind == 9 else tuple(good)), False


def write_examples(examples: Sequence[Example], *, labels_first: bool, runs_on: bool) -> str:
    """The examples in the form that was asked for."""
    if labels_first:
        text = "\n".join(f"{LABEL} {each.output}\n{each.input}".rstrip("\n") for each in examples)
    elif len(examples) == 1 and not examples[0].input:
        text = f"Output: {examples[0].output}"
    else:
        text = "\n".join(
            f"Example {number}\nInput: {each.input}\nOutput: {each.output}"
            for number, each in enumerate(examples, start=1)
        )
    return text + " zulo" * _RUN_ON_WORDS if runs_on else text


def _good(rng: random.Random, world: World) -> Example:
    """Two examples of a task never have one input: it ends in a word of its own."""
    symbols = " ".join(rng.choices(world.symbols.letters, k=4))
    return Example(f"{symbols} {nonsense_word(rng)}", f"{nonsense_word(rng)} {symbols[0]}")
