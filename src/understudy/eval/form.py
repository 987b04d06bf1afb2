"""What an answer is before anybody judges it: how long, and in which language.

Length is the plainest confounder of every score (Peng et al. 2023, figure 4c), and an answer in
another language than its question's is one that ROUGE may have no words to compare.
"""

from __future__ import annotations

from dataclasses import dataclass

from understudy.data.language import detect_language
from understudy.metrics.rouge import is_chinese, num_words
from understudy.records import Question

ANSWER_WORDS = "eval/answer_words"
OTHER_LANGUAGE = "eval/other_language"


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """Words of an answer between white space, and whether it is in another language.

    Answers to Chinese questions are counted in characters and foreign words. Only Chinese is told
    from other languages.
    """

    def score(self, question: Question, output: str) -> dict[str, float | None]:
        """The length, 0 for an empty answer, and 1 or 0, null for an answer without a word."""
        lang = question.prompt.lang
        is_chinese_answer = is_chinese(detect_language(output))
        has_words = any(map(str.isalpha, output))
        return {
            ANSWER_WORDS: float(num_words(output, lang=lang)),
            OTHER_LANGUAGE: float(is_chinese_answer != is_chinese(lang)) if has_words else None,
        }
