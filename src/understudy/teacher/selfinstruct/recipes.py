"""The two ways to ask for new tasks: Alpaca's, whole tasks at once, and Self-Instruct's, in steps.

What is asked, with what parameters, and how a reply is read. Structure and parameters are those of
the released scripts; the wording is ours (:mod:`understudy.forms.selfinstruct`). They were written
for models that complete a text; here the same prompt is a message, so a reply may begin with the
heading again, and both are read. Stop sequences begin a line here: Alpaca's also stopped at "20."
within a text.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from understudy.chat.requests import Reply
from understudy.forms.form import Form
from understudy.forms.selfinstruct import TASK_BLOCKS, TASK_LINES, begun_blocks, begun_lines
from understudy.forms.selfinstruct_instances import INPUT_FIRST, IS_CLASSIFICATION, OUTPUT_FIRST
from understudy.records import InputError
from understudy.teacher.selfinstruct.filters import (
    ALPACA_BLACKLIST,
    CHINESE_BLACKLIST,
    SELF_INSTRUCT_BLACKLIST,
    InstructionFilter,
)
from understudy.teacher.selfinstruct.parsing import Candidate, read_blocks, read_lines
from understudy.teacher.selfinstruct.seeds import SeedTask

_LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
_END_OF_TEXT = {
    "gpt2": 50256,
    "r50k_base": 50256,
    "p50k_base": 50256,
    "p50k_edit": 50256,
    "cl100k_base": 100257,
    "o200k_base": 199999,
    "o200k_harmony": 199999,
}
"""The token that ends a text, by tiktoken's encoding."""


@dataclass(frozen=True)
class InstanceSteps:
    """How Self-Instruct's two further steps are asked.

    Attributes:
        classification: Parameters of the question whether a task is a classification.
        generation: Parameters of the examples of any other task.
        labelled: Parameters of the examples of a classification.
        most: How many examples are asked for and kept.
    """

    classification: Mapping[str, Any]
    generation: Mapping[str, Any]
    labelled: Mapping[str, Any]
    most: int = 5

    def __post_init__(self) -> None:
        """Refuses a number that is none.

        Raises:
            InputError: ``most`` is below 1.
        """
        if self.most < 1:
            raise InputError(f"invention.instances.most={self.most} keeps nothing; type 5")

    @property
    def stop(self) -> list[str]:
        """Where the examples end."""
        return [f"\nExample {self.most + 1}", "\nTask:"]


class Recipe(Protocol):
    """A way to ask for new tasks."""

    @property
    def name(self) -> str: ...  # noqa: D102 - what it is called
    @property
    def lang(self) -> str: ...  # noqa: D102 - "en" or "zh"
    @property
    def num_in_context(self) -> int: ...  # noqa: D102 - tasks that a prompt shows
    @property
    def num_expected(self) -> int: ...  # noqa: D102 - new tasks that a whole reply has
    @property
    def request_batch(self) -> int: ...  # noqa: D102 - requests of a round
    @property
    def max_rouge_l(self) -> float: ...  # noqa: D102 - the most that a new task may resemble another
    @property
    def expected_acceptance(self) -> float: ...  # noqa: D102 - share of candidates, for plans
    @property
    def instances(self) -> InstanceSteps | None: ...  # noqa: D102 - null: replies hold them
    @property
    def shows_instances(self) -> bool: ...  # noqa: D102 - whether prompts show input and output
    @property
    def forms(self) -> Sequence[Form]: ...  # noqa: D102 - all texts that are sent
    @property
    def filter(self) -> InstructionFilter: ...  # noqa: D102 - of instructions
    def params(self, tokenizer: str | None) -> dict[str, Any]: ...  # noqa: D102
    def prompt(  # noqa: D102
        self, seeds: Sequence[SeedTask], accepted: Sequence[str], rng: random.Random
    ) -> str: ...
    def candidates(self, reply: Reply) -> list[Candidate]: ...  # noqa: D102


@dataclass(frozen=True)
class Alpaca:
    """Shows whole tasks and asks for twenty at once, each with its one instance.

    Attributes:
        sampling: Parameters of the model beside ``stop`` and ``logit_bias``.
        num_in_context: Seed tasks that a prompt shows; no invented ones.
        num_tasks: How long the list is to be, shown ones included; it stops before the last.
        request_batch: Requests of a round; tasks of one round do not see each other.
        lang: "en" or "zh".
        max_rouge_l: The most that a new instruction may resemble another.
        expected_acceptance: The share of candidates that a plan takes to be accepted.
        ban_end_of_text: Forbids the token that ends a text, where the teacher's tokenizer is known.
        blacklist: What text alone cannot give; null is Alpaca's list, in Chinese ours.
    """

    sampling: Mapping[str, Any]
    num_in_context: int = 3
    num_tasks: int = 20
    request_batch: int = 5
    lang: str = "en"
    max_rouge_l: float = 0.7
    expected_acceptance: float = 0.6
    ban_end_of_text: bool = True
    blacklist: Sequence[str] | None = None
    name: str = field(default="alpaca", init=False)
    shows_instances: bool = field(default=True, init=False)
    instances: InstanceSteps | None = field(default=None, init=False)
    forms: Sequence[Form] = field(default=(TASK_BLOCKS,), init=False)

    def __post_init__(self) -> None:
        """Refuses numbers with which nothing would be asked.

        Raises:
            InputError: One of them makes no sense.
        """
        _check(self, room=self.num_tasks - 1)

    @property
    def num_expected(self) -> int:
        """The tasks of a whole reply."""
        return self.num_tasks - 1 - self.num_in_context

    @property
    def filter(self) -> InstructionFilter:
        """Alpaca's."""
        return _filter(self.lang, self.blacklist, ALPACA_BLACKLIST)

    def params(self, tokenizer: str | None) -> dict[str, Any]:
        """All that is sent; ``tokenizer`` is tiktoken's name of the teacher's."""
        token = end_of_text(tokenizer) if self.ban_end_of_text else None
        banned = {} if token is None else {"logit_bias": {str(token): -100}}
        return {**self.sampling, "stop": _stops(self.num_tasks), **banned}

    def prompt(self, seeds: Sequence[SeedTask], accepted: Sequence[str], rng: random.Random) -> str:
        """Seed tasks in an order of chance, and the heading of the next."""
        del accepted  # only people's tasks are shown
        shown = rng.sample(list(seeds), self.num_in_context)
        tasks = [
            (_one_line(task.instruction), task.instance.input, task.instance.output)
            for task in shown
            if task.instance is not None
        ]
        return TASK_BLOCKS.render(
            number=str(self.num_tasks),
            language=_LANGUAGE_NAMES[self.lang],
            tasks=begun_blocks(tasks),
        )

    def candidates(self, reply: Reply) -> list[Candidate]:
        """The tasks of a reply; the last one of a reply that was cut is not whole."""
        return read_blocks(
            reply.text,
            self.num_in_context + 1,
            stop=self.num_tasks,
            is_cut=reply.finish_reason == "length",
        )


@dataclass(frozen=True)
class SelfInstruct:
    """Shows instructions, up to two of them invented, and asks for more; instances come later.

    Attributes:
        sampling: Parameters of the model beside ``stop``.
        instances: How the further steps are asked; null leaves it at instructions.
        num_in_context: Instructions that a prompt shows.
        num_machine: How many of them are invented ones, as soon as there are so many.
        stop_at: The item at which the list stops.
        request_batch: Requests of a round; instructions of one round do not see each other.
        lang: "en" or "zh".
        max_rouge_l: The most that a new instruction may resemble another.
        expected_acceptance: The share of candidates that a plan takes to be accepted.
        blacklist: What text alone cannot give; null is Self-Instruct's list, in Chinese ours.
    """

    sampling: Mapping[str, Any]
    instances: InstanceSteps | None = None
    num_in_context: int = 8
    num_machine: int = 2
    stop_at: int = 16
    request_batch: int = 5
    lang: str = "en"
    max_rouge_l: float = 0.7
    expected_acceptance: float = 0.6
    blacklist: Sequence[str] | None = None
    name: str = field(default="self_instruct", init=False)
    shows_instances: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Refuses numbers with which nothing would be asked.

        Raises:
            InputError: One of them makes no sense.
        """
        _check(self, room=self.stop_at - 1)
        if not 0 <= self.num_machine <= self.num_in_context:
            raise InputError(
                f"invention.num_machine={self.num_machine} is not from 0 to num_in_context="
                f"{self.num_in_context}; type 2"
            )

    @property
    def num_expected(self) -> int:
        """The instructions of a whole reply."""
        return self.stop_at - 1 - self.num_in_context

    @property
    def forms(self) -> Sequence[Form]:
        """All texts that are sent."""
        further = (IS_CLASSIFICATION, INPUT_FIRST, OUTPUT_FIRST)
        return (TASK_LINES, *(further if self.instances is not None else ()))

    @property
    def filter(self) -> InstructionFilter:
        """Self-Instruct's."""
        return _filter(self.lang, self.blacklist, SELF_INSTRUCT_BLACKLIST)

    def params(self, tokenizer: str | None) -> dict[str, Any]:
        """All that is sent."""
        del tokenizer  # nothing is banned
        return {**self.sampling, "stop": _stops(self.stop_at)}

    def prompt(self, seeds: Sequence[SeedTask], accepted: Sequence[str], rng: random.Random) -> str:
        """Invented instructions and seeds, mixed, and the number of the next."""
        shown = rng.sample(accepted, min(self.num_machine, len(accepted)))
        people = rng.sample(list(seeds), self.num_in_context - len(shown))
        shown = [*shown, *(task.instruction for task in people)]
        rng.shuffle(shown)
        return TASK_LINES.render(language=_LANGUAGE_NAMES[self.lang], tasks=begun_lines(shown))

    def candidates(self, reply: Reply) -> list[Candidate]:
        """The instructions of a reply; a reply that was cut is dropped whole."""
        return read_lines(
            reply.text,
            self.num_in_context + 1,
            stop=self.stop_at,
            is_cut=reply.finish_reason == "length",
        )


def end_of_text(tokenizer: str | None) -> int | None:
    """The token that ends a text; null where the tokenizer, or its token, is not known.

    >>> end_of_text("gpt-3.5-turbo"), end_of_text("o200k_base"), end_of_text(None)
    (100257, 199999, None)
    """
    if tokenizer is None:
        return None
    import tiktoken  # noqa: PLC0415 - only who asks pays for it

    if tokenizer in _END_OF_TEXT:
        return _END_OF_TEXT[tokenizer]
    try:
        return _END_OF_TEXT.get(tiktoken.encoding_name_for_model(tokenizer))
    except KeyError:
        return None


def _stops(number: int) -> list[str]:
    """The number that is not to be written any more, at the beginning of a line."""
    return [f"\n{number}.", f"\n{number} ."]


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(":")


def _filter(
    lang: str, blacklist: Sequence[str] | None, english: Sequence[str]
) -> InstructionFilter:
    """With the list that was given, or that of the language; a Chinese task may hold English."""
    if blacklist is None:
        blacklist = english if lang == "en" else (*english, *CHINESE_BLACKLIST)
    return InstructionFilter(lang, tuple(blacklist))


def _check(recipe: Alpaca | SelfInstruct, *, room: int) -> None:
    _ = recipe.filter
    if recipe.request_batch < 1:
        raise InputError(f"invention.request_batch={recipe.request_batch} asks for nothing; type 5")
    if not 1 <= recipe.num_in_context < room:
        raise InputError(
            f"invention.num_in_context={recipe.num_in_context} leaves no task to be written; "
            f"type a number from 1 to {room - 1}"
        )
    if not 0 < recipe.max_rouge_l <= 1:
        raise InputError(f"invention.max_rouge_l={recipe.max_rouge_l} is no score; type 0.7")
    if not 0 < recipe.expected_acceptance <= 1:
        raise InputError(
            f"invention.expected_acceptance={recipe.expected_acceptance} is no share; type 0.6"
        )
