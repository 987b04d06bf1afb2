"""How long an answer is: the plainest confounder of every score (Peng et al. 2023, figure 4c)."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.metrics.rouge import num_words
from understudy.records import Question

ANSWER_WORDS = "eval/answer_words"


@dataclass(frozen=True, slots=True)
class AnswerLength:
    """Words of an answer between white space; Chinese questions: characters and foreign words."""

    def score(self, question: Question, output: str) -> dict[str, float | None]:
        """The length of ``output``; an empty answer has 0."""
        return {ANSWER_WORDS: float(num_words(output, lang=question.prompt.lang))}
