"""Questions from held-out rows, from files with references, and from an earlier run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.data.questions import HeldOut, QuestionFile, RunQuestions
from understudy.records import (
    InputError,
    Instruction,
    Question,
    QuestionSource,
    instruction_id,
    question_to_json,
    write_jsonl,
)

ASKED = [Question(Instruction(str(i), f"say {i}"), {"gpt4": "a"}) for i in range(3)]
ROWS = [
    {"instruction": "Say a", "input": " ", "target": "a"},
    {"instruction": "解释细胞理论", "input": "x", "target": "b"},
]


def question_file(folder: Path, rows: list[Any], **options: Any) -> QuestionFile:  # noqa: ANN401 - any
    path = folder / "questions.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return QuestionFile(str(path), **options)


def test_the_held_out_rows_are_asked_in_their_order() -> None:
    source: QuestionSource = HeldOut()
    assert source.questions(ASKED) == ASKED
    assert HeldOut(num_questions=2).questions(ASKED) == ASKED[:2]
    assert source.inputs() == ()


def test_an_arm_that_holds_nothing_out_has_no_questions() -> None:
    with pytest.raises(InputError, match=r"nothing to evaluate on; type data\.num_val"):
        HeldOut().questions([])


def test_a_file_gives_questions_with_references_from_its_fields(tmp_path: Path) -> None:
    source = question_file(tmp_path, ROWS, references={"human": "target"})
    first, second = source.questions([])
    assert first == Question(Instruction(instruction_id("Say a"), "Say a"), {"human": "a"})
    assert (second.prompt.input, second.prompt.lang, dict(second.references)) == (
        "x",
        "zh",
        {"human": "b"},
    )


def test_references_come_from_other_files_too(tmp_path: Path) -> None:
    answers = tmp_path / "gpt4.json"
    answers.write_text(json.dumps([{"instruction": "Say a", "output": "A"}]), encoding="utf-8")
    source = question_file(tmp_path, ROWS, references={"gpt4": str(answers), "human": "target"})
    assert [dict(each.references) for each in source.questions([])] == [
        {"gpt4": "A", "human": "a"},
        {"human": "b"},
    ]
    assert [Path(file.path).name for file in source.inputs()] == ["questions.json", "gpt4.json"]


def test_the_files_own_names_and_a_part_of_it(tmp_path: Path) -> None:
    rows = [{"text": "Say a", "category": "easy"}, {"text": "Say b", "category": "hard"}]
    source = question_file(
        tmp_path, rows, fields={"instruction": "text", "task": "category"}, num_questions=1
    )
    (question,) = source.questions([])
    assert (question.prompt.instruction, question.prompt.task) == ("Say a", "easy")
    assert dict(question.references) == {}


def test_each_item_of_a_nested_row_is_a_question(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add", "instances": [{"input": "1 1", "output": "2"}, {"input": "2 2"}]},
        {"instruction": "Add", "instances": [{"input": "2 2", "output": "4"}]},
    ]
    (question,) = question_file(
        tmp_path, rows, expand="instances", references={"human": "output"}, num_questions=1
    ).questions()
    assert (question.prompt.input, dict(question.references)) == ("1 1", {"human": "2"})
    source = question_file(tmp_path, rows, expand="instances")
    said = r"row 2 instances\[0\]: the same question as row 1 instances\[1\]"
    with pytest.raises(InputError, match=said):
        source.questions()
    assert [file.rows for file in source.inputs()] == [2]


@pytest.mark.parametrize(
    ("rows", "references", "said"),
    [
        ([{"text": "a"}], {}, r"row 1 field 'instruction': missing; the row has 'text'"),
        ([{"instruction": " "}], {}, r"row 1 field 'instruction': empty"),
        ([{"instruction": "a", "input": 1}], {}, r"row 1 field 'input': is a number, not text"),
        ([*ROWS, ROWS[0]], {}, r"row 3: the same question as row 1"),
        (ROWS, {"human": "answer"}, r"row 1 field 'answer': missing"),
        ([{"instruction": "a", "target": None}], {"human": "target"}, r"'target': is null"),
    ],
)
def test_a_wrong_question_is_one_line(
    tmp_path: Path, rows: list[Any], references: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=r"questions\.json .*" + said):
        question_file(tmp_path, rows, references=references).questions([])


def test_a_file_of_references_to_other_questions_is_refused(tmp_path: Path) -> None:
    answers = tmp_path / "gpt4.json"
    answers.write_text(json.dumps([{"instruction": "Else", "output": "A"}]), encoding="utf-8")
    with pytest.raises(InputError, match=r"gpt4\.json: answers none of the questions"):
        question_file(tmp_path, ROWS, references={"gpt4": str(answers)}).questions([])


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(InputError, match=r"questions\.fields='output' is unknown"):
        QuestionFile("a.json", fields={"output": "x"})


def test_an_earlier_runs_questions_come_back(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "questions.jsonl", map(question_to_json, ASKED))
    source: QuestionSource = RunQuestions(str(tmp_path))
    assert source.questions([]) == ASKED
    assert [file.rows for file in source.inputs()] == [3]


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"questions\.jsonl: no such file"):
        RunQuestions(str(tmp_path)).questions([])
    (tmp_path / "questions.jsonl").write_text('{"id": "1"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"questions\.jsonl row 1: no question of a run"):
        RunQuestions(str(tmp_path)).questions([])
