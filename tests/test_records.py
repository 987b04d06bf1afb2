"""Rows go to JSONL and come back unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.records import (
    InputError,
    Instruction,
    NotAtHand,
    Prediction,
    Question,
    at_hand,
    instruction_id,
    prediction_from_json,
    prediction_to_json,
    question_from_json,
    question_to_json,
    read_jsonl,
    teacher_names,
    write_jsonl,
)

words = st.text(st.characters(codec="utf-8"))
instructions = st.builds(
    Instruction, id=words, instruction=words, input=words, task=words, lang=words, split=words
)
questions = st.builds(Question, instructions, st.dictionaries(words, words))
scores = st.dictionaries(words, st.none() | st.floats(allow_nan=False))
predictions = st.builds(
    Prediction, questions, author=words, output=words, decoding=words, finish=words, scores=scores
)


@given(questions)
def test_a_question_comes_back_from_json(question: Question) -> None:
    assert question_from_json(question_to_json(question)) == question


@given(rows=st.lists(predictions, max_size=4))
def test_predictions_come_back_from_a_file(
    rows: list[Prediction], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "predictions.jsonl"
    assert write_jsonl(path, map(prediction_to_json, rows)) == len(rows)
    assert [prediction_from_json(row) for row in read_jsonl(path)] == rows


def test_a_prediction_is_one_flat_row() -> None:
    asked = Question(Instruction("7", "Add", "1 2", task="sum"), {"gpt4": "3"})
    row = prediction_to_json(Prediction(asked, "student", "3", scores={"eval/rouge_l": None}))
    assert row == {
        "id": "7",
        "instruction": "Add",
        "input": "1 2",
        "task": "sum",
        "lang": "en",
        "split": "",
        "references": {"gpt4": "3"},
        "author": "student",
        "output": "3",
        "decoding": "greedy",
        "finish": "stop",
        "scores": {"eval/rouge_l": None},
    }


def test_characters_stay_readable_and_lines_stay_lines(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    write_jsonl(path, [{"text": "解释\n\u2028{}"}, {"text": ""}])
    assert "解释" in path.read_text(encoding="utf-8")
    assert list(read_jsonl(path)) == [{"text": "解释\n\u2028{}"}, {"text": ""}]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": \n', encoding="utf-8")
    with pytest.raises(InputError, match=r"rows\.jsonl line 2: not JSON"):
        list(read_jsonl(path))


def test_an_id_is_of_the_content_and_keeps_the_fields_apart() -> None:
    assert instruction_id("Say hi") == "972c891e2ed73e75"
    assert instruction_id("a", "b") != instruction_id("ab")
    assert instruction_id("a", "b") != instruction_id("b", "a")


@pytest.mark.parametrize(
    "named",
    [
        {"gpt4.json": "gpt4", "b/gpt35.json": "gpt35"},
        {"gpt4/alpaca.json": "gpt4/alpaca", "gpt35/alpaca.json": "gpt35/alpaca", "c.json": "c"},
        {"a/x/t.json": "a/x/t", "b/x/t.json": "b/x/t", "c/t.jsonl": "c/t"},
        {"a/t.json": "t.json", "a/t.jsonl": "t.jsonl"},
        {"t.json": "t", "./t.json": "t", "a/../t.json": "t"},
        {"v1.5.json": "v1.5"},
    ],
)
def test_a_teacher_is_named_by_its_file_and_no_two_alike(named: dict[str, str]) -> None:
    assert teacher_names(list(named)) == named
    assert teacher_names(list(named)[::-1]) == named


def test_equal_files_below_a_root_are_told_apart() -> None:
    assert teacher_names(["/t.json", "/a/t.json"]) == {"/t.json": "/t", "/a/t.json": "a/t"}


def test_all_that_is_missing_is_said_at_once() -> None:
    """Each with what to type; what is there is no reason to stop before the rest was asked."""

    def missing(what: str) -> Callable[[], None]:
        def probe() -> None:
            raise NotAtHand(f"{what} is not here", f"type {what}=PATH")

        return probe

    at_hand(lambda: None)
    with pytest.raises(NotAtHand) as caught:
        at_hand(missing("model"), lambda: None, missing("data"), missing("data"))
    assert caught.value.what == "model is not here; data is not here"
    assert caught.value.hint == "type model=PATH; type data=PATH"
    with pytest.raises(ZeroDivisionError):
        at_hand(lambda: 1 // 0)
