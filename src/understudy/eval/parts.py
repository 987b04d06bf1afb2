"""Scores by part of the questions: by language, and by question set where several are asked.

A part has a name only where a run's questions differ in it, so that a run of one language or one
set does not report every number twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from understudy.eval.form import ANSWER_WORDS, OTHER_LANGUAGE
from understudy.records import InputError, Question

_PARTED = ("eval/rouge_l", "eval/lab_accuracy", ANSWER_WORDS, OTHER_LANGUAGE)
_VALUE_OF: Mapping[str, Callable[[Question], str]] = {
    "lang": lambda question: question.prompt.lang,
    "set": lambda question: question.prompt.split,
}


def require_parts(names: Sequence[str]) -> None:
    """Refuses a part that questions do not have.

    Raises:
        InputError: One of ``names`` is none.
    """
    for name in names:
        if name not in _VALUE_OF:
            choices = ", ".join(_VALUE_OF)
            raise InputError(f"eval.parts: {name!r} is unknown; choose among {choices}")


def parts_of(
    questions: Iterable[Question], names: Sequence[str]
) -> Callable[[Question], list[str]]:
    """What tells a question's parts, such as ``lang:zh``, among all that are asked together."""
    asked = list(questions)
    differing = [name for name in names if len({_VALUE_OF[name](each) for each in asked}) > 1]

    def parts(question: Question) -> list[str]:
        values = {name: _VALUE_OF[name](question) for name in differing}
        return [f"{name}:{value}" for name, value in values.items() if value]

    return parts


def no_parts(question: Question) -> list[str]:
    """The parts where none are told apart: none."""
    del question
    return []


def with_parts(scores: Mapping[str, float | None], parts: Sequence[str]) -> dict[str, float | None]:
    """The scores, and those over all questions once more under each part's name."""
    by_part = {
        f"{name}/{part}": scores[name] for part in parts for name in _PARTED if name in scores
    }
    return {**scores, **by_part}
