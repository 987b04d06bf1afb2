"""The lab's teachers: known quality, errors that a student can predict from the prompt.

A lesser teacher's errors are systematic and predictable, because a greedy
student removes random errors and would beat its teacher. Answers depend on the prompt's content
and the teacher alone: no state, no order, and a Chinese answer is the translated English one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from understudy.lab.exercises import Exercise, check_language, exercise_of, train_prompts
from understudy.lab.family import Words, key_symbol, write_answer, write_off_format
from understudy.lab.lexicon import to_chinese
from understudy.lab.world import World
from understudy.records import Completion, InputError, Instruction, SourceRows


@dataclass(frozen=True, slots=True)
class Habits:
    """How a teacher answers.

    Attributes:
        explain_rate: Share of prompts, at random places, with the family's explanation before the
            answer.
        slip_rate: Share of prompts, at random places, with a random wrong answer.
        wrong_letters: Letters that, as key symbol, make the teacher follow the wrong procedure.
        wrong_numbers: The same for numbers.
        off_format_rate: Share of prompts, at random places, answered in a form nobody can read.
        guesses: Answers at random, in the right form: chance level, knows nothing.
    """

    explain_rate: float = 0.0
    slip_rate: float = 0.0
    wrong_letters: int = 0
    wrong_numbers: int = 0
    off_format_rate: float = 0.0
    guesses: bool = False

    def __post_init__(self) -> None:
        """Refuses rates that are no shares.

        Raises:
            InputError: A rate is below 0 or above 1.
        """
        for name, rate in (
            ("explain_rate", self.explain_rate),
            ("slip_rate", self.slip_rate),
            ("off_format_rate", self.off_format_rate),
        ):
            if not 0 <= rate <= 1:
                raise InputError(f"a lab teacher's {name} is {rate}; give a share from 0 to 1")


HABITS: dict[str, Habits] = {
    "strong": Habits(explain_rate=1.0, slip_rate=0.02),
    "medium": Habits(wrong_letters=3, wrong_numbers=4),
    "weak": Habits(wrong_letters=12, wrong_numbers=13, off_format_rate=0.1),
    "strong_terse": Habits(slip_rate=0.02),
    "strong_varied": Habits(explain_rate=0.5, slip_rate=0.02),
    "random": Habits(guesses=True),
}
"""The lab's teachers by name, in the roles of GPT-4, GPT-3.5 and OPT-IML, and controls."""


def teacher_habits(name: str, habits: Habits | None = None) -> Habits:
    """The habits given, or those of the lab's teacher of that name.

    Raises:
        InputError: The lab has no such teacher and no habits are given.
    """
    if habits is not None:
        return habits
    if name not in HABITS:
        raise InputError(
            f"the lab has no teacher {name!r}; choose from {', '.join(HABITS)}, or give habits"
        )
    return HABITS[name]


@dataclass(frozen=True)
class LabTeacher:
    """A teacher's answers to the lab's training prompts: a completion source.

    Every teacher of a world, ``num_rows``, ``seed`` and ``lang`` answers the same prompts in the
    same order.

    Attributes:
        world: The world whose prompts are answered.
        name: One of ``HABITS``, or any name with ``habits``.
        habits: How a teacher of another name answers.
        num_rows: How many training prompts; fewer are the first of more.
        seed: Decides which prompts are drawn, not how they are answered.
        lang: "en" or "zh".
    """

    world: World
    name: str = "strong"
    habits: Habits | None = None
    num_rows: int = 8000
    seed: int = 0
    lang: str = "en"

    def __post_init__(self) -> None:
        """Refuses an unknown teacher or language before anything is drawn.

        Raises:
            InputError: Name, language, error symbols or number of rows make no sense.
        """
        check_language(self.lang)
        _ = self._wrong_symbols
        if self.num_rows < 1:
            raise InputError(f"num_rows of the lab's teacher is {self.num_rows}; give 1 or more")

    @property
    def teacher(self) -> str:
        """The teacher's name."""
        return self.name

    @property
    def errs_systematically(self) -> bool:
        """Whether there are prompts on which this teacher follows the wrong procedure."""
        return bool(self._wrong_symbols) and not self._habits.guesses

    def read(self) -> SourceRows:
        """All training prompts with this teacher's answers; nothing is ever dropped.

        Raises:
            InputError: The world has not so many training prompts.
        """
        rows = [
            Completion(prompt, self.answer(exercise, self.lang), self.name)
            for exercise, prompt in train_prompts(self.world, self.num_rows, self.seed, self.lang)
        ]
        return SourceRows(rows)

    def answers(self, prompts: Sequence[Instruction]) -> Mapping[str, str]:
        """This teacher's answer, in the prompt's language, to each prompt that is the lab's."""
        answers = {}
        for prompt in prompts:
            exercise = exercise_of(prompt, self.world)
            if exercise is not None:
                answers[prompt.id] = self.answer(exercise, prompt.lang)
        return answers

    def answer(self, exercise: Exercise, lang: str, *, draw: int = 0) -> str:
        """This teacher's answer to a lab prompt.

        Args:
            exercise: The prompt.
            lang: The language of the answer.
            draw: 0 for the answer that :meth:`read` gives; another number for one whose slips,
                guesses, explanations and forms fall on other prompts. Systematic errors stay.
        """
        answer = self._answer_words(exercise, draw)
        if _is_hit(exercise, "format", self._habits.off_format_rate, draw):
            response = write_off_format(answer)
        elif _is_hit(exercise, "explain", self._habits.explain_rate, draw):
            response = write_answer(exercise.family.explain(exercise.words), answer)
        else:
            response = write_answer((), answer)
        text = " ".join(response)
        return to_chinese(text) if lang == "zh" else text

    def systematic_error(self, exercise: Exercise) -> Words | None:
        """What this teacher always answers here instead of the truth; None where it does not.

        Equals the gold answer for some inputs: the two ends of a list can be the same letter.
        """
        if not self.errs_systematically or key_symbol(exercise.words) not in self._wrong_symbols:
            return None
        return exercise.family.systematic_error(exercise.words)

    def _answer_words(self, exercise: Exercise, draw: int) -> Words:
        error = self.systematic_error(exercise)
        if error is not None:
            return error
        if self._habits.guesses:
            return next(self._guesses(exercise, draw))
        if _is_hit(exercise, "slip", self._habits.slip_rate, draw):
            return self._slip(exercise, draw)
        return exercise.family.gold(exercise.words)

    def _slip(self, exercise: Exercise, draw: int) -> Words:
        family, gold = exercise.family, exercise.family.gold(exercise.words)
        guesses = self._guesses(exercise, draw)
        return next(guess for guess in guesses if not family.is_right(gold, guess))

    def _guesses(self, exercise: Exercise, draw: int) -> Iterator[Words]:
        text = f"{exercise.instruction} : {exercise.input}"
        rng = random.Random(f"{text} : draw {draw}" if draw else text)
        while True:
            yield exercise.family.guess(rng, self.world.symbols, exercise.words)

    @cached_property
    def _habits(self) -> Habits:
        return teacher_habits(self.name, self.habits)

    @cached_property
    def _wrong_symbols(self) -> frozenset[str]:
        return self.world.error_symbols(self._habits.wrong_letters, self._habits.wrong_numbers)


def _is_hit(exercise: Exercise, purpose: str, rate: float, draw: int) -> bool:
    """Whether the prompt is one of the share ``rate`` of all prompts that a purpose falls on."""
    return rate > 0 and exercise.share(f"{purpose} {draw}" if draw else purpose) < rate
