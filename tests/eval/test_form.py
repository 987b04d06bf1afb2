"""An answer's length and language, by hand."""

from __future__ import annotations

import pytest

from understudy.eval.form import AnswerForm
from understudy.records import Instruction, Question


@pytest.mark.parametrize(
    ("lang", "output", "words", "is_other"),
    [
        ("en", "The cell is  small.", 4, 0),
        ("en", "细胞很小", 1, 1),
        ("zh", "细胞很小。", 4, 0),
        ("zh", "用 Python 写", 3, 0),
        ("zh-CN", "The cell is small.", 4, 1),
        ("zh", "", 0, None),
        ("en", "42 + 1", 3, None),
        ("fr", "La cellule", 2, 0),
    ],
)
def test_length_and_language(lang: str, output: str, words: int, is_other: float | None) -> None:
    scores = AnswerForm().score(Question(Instruction("q", "?", lang=lang)), output)
    assert scores == {"eval/answer_words": words, "eval/other_language": is_other}
