"""Instructions come from any file or run; what is wrong with one is said by file, row and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from understudy.data.instructions import ANSWERS, INSTRUCTIONS, InstructionFile
from understudy.records import InputError, Instruction, write_jsonl

ROWS = [
    {"instruction": "Add them.", "input": "1, 2", "task": "sum"},
    {"instruction": "说出三种颜色。", "output": "红"},
]


def read(path: Path, **options: str) -> list[Instruction]:
    return list(InstructionFile(path=str(path), **options).instructions().prompts)  # type: ignore[arg-type]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_format_gives_the_same_instructions(tmp_path: Path) -> None:
    jsonl = tmp_path / "a.jsonl"
    write_jsonl(jsonl, ROWS)
    listed = written(tmp_path / "a.json", json.dumps(ROWS))
    table = written(
        tmp_path / "a.csv",
        '\ufeffinstruction,input,task\nAdd them.,"1, 2",sum\n\n说出三种颜色。,,\n',
    )
    found = read(jsonl)
    assert [(each.instruction, each.input, each.lang, each.task) for each in found] == [
        ("Add them.", "1, 2", "en", "sum"), ("说出三种颜色。", "", "zh", ""),
    ]  # fmt: skip
    assert read(listed) == found == read(table)
    lines = written(tmp_path / "a.txt", "Add them.\r\n\n  说出三种颜色。 \n")
    assert [each.instruction for each in read(lines)] == ["Add them.", "说出三种颜色。"]


def test_a_runs_folder_is_read_by_what_it_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stage=translate, stage=selfinstruct or stage=collect"):
        read(tmp_path)
    write_jsonl(tmp_path / ANSWERS, ROWS)
    assert len(read(tmp_path)) == 2
    write_jsonl(tmp_path / INSTRUCTIONS, ROWS[:1])
    assert [each.instruction for each in read(tmp_path)] == ["Add them."]


def test_the_files_own_names_and_language_are_taken(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"question": "Add them.", "lang": "en"}])
    source = InstructionFile(
        path=str(tmp_path / "a.jsonl"), fields={"instruction": "question"}, lang="zh"
    )
    (prompt,) = source.instructions().prompts
    assert (prompt.instruction, prompt.lang) == ("Add them.", "zh")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"instruction": "A"}\n{"instruction": ""}', "row 2 field 'instruction': emp"),
        ("a.jsonl", '{"text": "A"}\n', "row 1 field 'instruction': missing; the row has 'text'"),
        ("a.json", '[{"instruction": "A", "input": 3}]', "row 1 field 'input': is a number"),
        ("a.csv", "instruction,input\nA,b,c\n", "row 1: 3 fields, where the first line names 2"),
        ("a.csv", 'instruction\n"A\n', "near line 2: no CSV"),
        ("a.csv", "instruction\n", "0 rows"),
        ("a.txt", "\n \n", "0 rows"),
        ("a.txt", "A\n\nA\udcff", "line 3: not UTF-8"),
        ("a.xlsx", "A", "give one of .json, .jsonl, .parquet, .txt, .csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_missing_file_is_said_with_those_beside_it(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "instructions.jsonl", ROWS)
    with pytest.raises(InputError, match=r"no such file; did you mean instructions\.jsonl"):
        read(tmp_path / "instruction.jsonl")


def test_a_second_row_of_one_content_is_counted_or_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "Add.\nSubtract.\n\nAdd.\n")
    found = InstructionFile(path=str(path)).instructions()
    assert (len(found.prompts), found.dropped) == (2, {"duplicate_instruction": 1})
    with pytest.raises(InputError, match=r"a\.txt row 4 .*as row 1"):
        read(path, duplicates="error")


def test_there_are_no_answers_to_learn_from(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "Add.\n")
    with pytest.raises(InputError, match=r"stage=collect data=instructions data\.path="):
        InstructionFile(path=str(path)).read()
