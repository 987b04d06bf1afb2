"""Who answers: each model of the server by its name, and what it says to a prompt.

To add a model, give it a name and a function from :class:`Asked` to :class:`Answer` in
:func:`models_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from understudy.forms.judging import PAIR_REVIEW
from understudy.forms.rating import RATING
from understudy.forms.translation import TO_CHINESE
from understudy.lab.exercises import Exercise
from understudy.lab.invention.inventor import invent
from understudy.lab.judge import Judge, Reviewed
from understudy.lab.lexicon import to_chinese
from understudy.lab.rater import Rater, Verdict, gold_reward, verdict_on
from understudy.lab.server.pseudo_chinese import pseudo_chinese
from understudy.lab.server.reading import exercise_in, parts_of
from understudy.lab.server.stand_ins import chosen, quality, ratings_of, stand_in
from understudy.lab.teachers import HABITS, LabTeacher
from understudy.lab.world import World
from understudy.records import InputError

PREFIX = "lab-"
_NO_FORM = "I can only answer texts of the form that I was made for, and this is none of it."


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, and which of a model's answers to it: 0 is the first, or the only one.

    ``is_malformed`` asks a rater or judge for a text without a number.
    """

    prompt: str
    draw: int = 0
    is_malformed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A text, and what its first token might have been, with probabilities, where it is known."""

    text: str
    first: Sequence[tuple[str, float]] = ()


Model = Callable[[Asked], Answer]


@dataclass(frozen=True)
class Lab:
    """What the models know.

    Attributes:
        world: Whose exercises are recognised.
        rater: Behind ``lab-rater``.
        judge: Behind ``lab-judge``.
        loses_numbers: Share of stand-in translations that lose their numbers.
    """

    world: World
    rater: Rater = field(default_factory=Rater)
    judge: Judge = field(default_factory=Judge)
    loses_numbers: float = 0.0

    def __post_init__(self) -> None:
        """Refuses a share that is none.

        Raises:
            InputError: ``loses_numbers`` is below 0 or above 1.
        """
        if not 0 <= self.loses_numbers <= 1:
            raise InputError(f"server.loses_numbers={self.loses_numbers} is no share from 0 to 1")


def models_of(lab: Lab) -> Mapping[str, Model]:
    """Every model of the server by its name."""
    teachers = {
        f"{PREFIX}{name}": partial(_teach, lab, LabTeacher(lab.world, name)) for name in HABITS
    }
    spurious = Rater(lab.rater.seed, lab.rater.noise, explanation_bonus=1)
    return {
        **teachers,
        f"{PREFIX}rater": partial(_rate, lab, lab.rater),
        f"{PREFIX}rater-spurious": partial(_rate, lab, spurious),
        f"{PREFIX}judge": partial(_judge, lab),
        f"{PREFIX}translator": partial(_translate, lab),
        f"{PREFIX}inventor": partial(_invent, lab),
    }


def _teach(lab: Lab, teacher: LabTeacher, asked: Asked) -> Answer:
    """The teacher's own answer to an exercise, a stand-in to anything else."""
    known = exercise_in(asked.prompt, lab.world)
    if known is None:
        task = "\n".join(filter(None, parts_of(asked.prompt)))
        return Answer(stand_in(task, teacher.name, asked.draw))
    exercise, lang = known
    return Answer(teacher.answer(exercise, lang, draw=asked.draw))


def _rate(lab: Lab, rater: Rater, asked: Asked) -> Answer:
    """A number on the first line, the reason below; no author is known, so noise follows texts."""
    values = RATING.taken_apart(asked.prompt)
    if values is None:
        return Answer(_NO_FORM)
    instruction, response = values["instruction"], values["response"]
    known = exercise_in(instruction, lab.world)
    if known is None:
        outcomes = ratings_of(instruction, response)
        content = f"{rater.seed}\x1f{instruction}\x1f{response}\x1f{asked.draw}"
        rating = chosen(outcomes, content)
        reason = f"It takes up {quality(instruction, response):.0%} of what was asked for."
    else:
        rating, outcomes, reason = _rated(rater, *known, response, asked.draw)
    if asked.is_malformed:
        return Answer(f"I would call this response a fair one. {reason}")
    first = [(str(value), chance) for value, chance in outcomes]
    return Answer(f"{rating}\n{reason}", first)


def _rated(
    rater: Rater, exercise: Exercise, lang: str, response: str, draw: int
) -> tuple[int, tuple[tuple[int, float], ...], str]:
    verdict = verdict_on(exercise, response, lang)
    author = f"{response}\x1f{draw}" if draw else response
    rating = rater.rate(verdict, exercise.to_prompt(lang, "").id, author)
    chances: dict[int, float] = {}
    for value, chance in rater.ratings(verdict):
        chances[value] = chances.get(value, 0.0) + chance
    return rating, tuple(chances.items()), _reason(verdict)


def _reason(verdict: Verdict) -> str:
    if not verdict.is_readable:
        return "The response gives no answer in the form that was asked for."
    said = "The answer is right" if verdict.is_right else "The answer is wrong"
    if verdict.is_explained:
        return f"{said}, and the explanation before it is valid."
    if verdict.explains:
        return f"{said}, and what stands before it is no explanation."
    return f"{said}."


def _judge(lab: Lab, asked: Asked) -> Answer:
    """Two numbers on the first line, the reasons below."""
    values = PAIR_REVIEW.taken_apart(asked.prompt)
    if values is None:
        return Answer(_NO_FORM)
    question = values["question"]
    known = exercise_in(question, lab.world)
    answers = [
        Reviewed(_gold(known, question, values[slot]), values[slot])
        for slot in ("answer_1", "answer_2")
    ]
    review = lab.judge.review(question, *answers, draw=asked.draw)
    if asked.is_malformed:
        return Answer("Both assistants did what they could.")
    return Answer(review.text, [(f"{score:g}", chance) for score, chance in review.first_scores])


def _gold(known: tuple[Exercise, str] | None, question: str, text: str) -> float:
    """The gold reward of an answer; of a stand-in its quality, on the same scale."""
    if known is None:
        return 1.4 * quality(question, text) - 0.2
    exercise, lang = known
    return gold_reward(verdict_on(exercise, text, lang))


def _translate(lab: Lab, asked: Asked) -> Answer:
    """The exact Chinese of a lab text; a stand-in of any other."""
    values = TO_CHINESE.taken_apart(asked.prompt)
    if values is None:
        return Answer(_NO_FORM)
    text = values["text"]
    try:
        return Answer(to_chinese(text))
    except ValueError:
        share = chosen(((1, lab.loses_numbers), (0, 1 - lab.loses_numbers)), f"numbers\x1f{text}")
        return Answer(pseudo_chinese(text, loses_numbers=bool(share)))


def _invent(lab: Lab, asked: Asked) -> Answer:
    """New tasks, or examples of one."""
    invention = invent(asked.prompt, lab.world, draw=asked.draw)
    return Answer(_NO_FORM if invention is None else invention.text)
