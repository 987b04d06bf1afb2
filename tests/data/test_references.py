"""Answers from other files, matched by instruction or by the question's id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.data.questions import QuestionFile
from understudy.data.references import Where
from understudy.records import InputError

QUESTIONS = [{"question_id": number, "text": f"say {number}"} for number in (7, 8, 9)]
FASTCHAT = [
    {"question_id": 9, "text": "nine"},
    {"question_id": "7", "text": "seven"},
    {"question_id": 8, "text": " "},
    {"question_id": 99, "text": "of another question"},
]


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def asked(folder: Path, references: dict[str, Where | None], **fields: str) -> list[dict[str, str]]:
    source = QuestionFile(
        write(folder / "questions.jsonl", QUESTIONS),
        fields={"instruction": "text", "id": "question_id", **fields},
        references=references,
    )
    return [dict(question.references) for question in source.questions()]


def test_answers_are_matched_by_the_questions_id_and_empty_ones_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "gpt35.jsonl", FASTCHAT)
    found = asked(tmp_path, {"gpt35": {"path": path, "key": "question_id", "output": "text"}})
    assert found == [{"gpt35": "seven"}, {}, {"gpt35": "nine"}]


def test_without_a_key_answers_are_matched_by_instruction(tmp_path: Path) -> None:
    path = write(tmp_path / "davinci.jsonl", [{"instruction": "say 8", "response": "eight"}])
    found = asked(tmp_path, {"davinci": {"path": path, "key": None, "output": "response"}})
    assert found == [{}, {"davinci": "eight"}, {}]


def test_a_reference_without_a_file_is_none(tmp_path: Path) -> None:
    none: dict[str, Where | None] = {"a": None, "b": {"path": None, "key": "id"}}
    assert asked(tmp_path, none) == [{}, {}, {}]
    source = QuestionFile(str(tmp_path / "questions.jsonl"), references=none)
    assert [Path(file.path).name for file in source.inputs()] == ["questions.jsonl"]


def test_the_files_of_answers_are_inputs(tmp_path: Path) -> None:
    path = write(tmp_path / "gpt35.jsonl", FASTCHAT)
    source = QuestionFile(
        write(tmp_path / "q.jsonl", QUESTIONS), references={"gpt35": {"path": path}}
    )
    assert [(Path(file.path).name, file.rows) for file in source.inputs()] == [
        ("q.jsonl", 3),
        ("gpt35.jsonl", 4),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (FASTCHAT[3:], r"gpt35\.jsonl: answers none .* 'question_id' must hold what .* in 'id'"),
        ([*FASTCHAT, FASTCHAT[0]], r"gpt35\.jsonl row 5 field 'question_id': the id of row 1"),
        ([{"text": "x"}], r"gpt35\.jsonl row 1 field 'question_id': missing, but answers are"),
        ([{"question_id": 1.5}], r"row 1 field 'question_id': is a number"),
        ([{"question_id": 7}], r"row 1 field 'text': missing"),
    ],
)
def test_wrong_answers_are_one_line(tmp_path: Path, rows: list[Any], said: str) -> None:
    questions = [{**row, "id": row["question_id"]} for row in QUESTIONS]
    source = QuestionFile(
        write(tmp_path / "q.jsonl", questions),
        fields={"instruction": "text"},
        references={
            "gpt35": {
                "path": write(tmp_path / "gpt35.jsonl", rows),
                "key": "question_id",
                "output": "text",
            }
        },
    )
    with pytest.raises(InputError, match=said):
        source.questions()


def test_questions_without_ids_of_their_own_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "gpt35.jsonl", FASTCHAT)
    by_id = {"gpt35": {"path": path, "key": "question_id", "output": "text"}}
    with pytest.raises(InputError, match=r"questions\.jsonl row 1 field 'number': missing"):
        asked(tmp_path, {**by_id}, id="number")
    rows = [{"instruction": "a", "id": 1}, {"instruction": "b", "id": "1"}]
    source = QuestionFile(write(tmp_path / "twice.jsonl", rows), references={**by_id})
    with pytest.raises(InputError, match=r"twice\.jsonl row 2 field 'id': the id of row 1 again"):
        source.questions()


def test_an_unknown_key_of_a_reference_is_refused() -> None:
    with pytest.raises(InputError, match=r"questions\.references\.gpt4='file' is unknown"):
        QuestionFile("q.json", references={"gpt4": {"file": "a.json"}})
