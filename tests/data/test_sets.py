"""Published question sets from local copies, and several sets asked together."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml

from understudy.app import conf_dir
from understudy.data.questions import HeldOut, QuestionFile
from understudy.data.sets import PublishedSet, QuestionSets, placed
from understudy.records import InputError, Instruction, Question, QuestionSource

TEST_DATA = os.environ.get("UNDERSTUDY_TEST_DATA")
needs_data = pytest.mark.skipif(
    TEST_DATA is None, reason="UNDERSTUDY_TEST_DATA names no folder with the published files"
)
NESTED = [
    {
        "id": "user_1",
        "motivation_app": "Mail",
        "instruction": "Shorten it.",
        "instances": [{"input": "a b", "output": "a"}],
    },
    {
        "id": "user_2",
        "motivation_app": "Maps",
        "instruction": "Where is it?",
        "instances": [{"input": "", "output": "there"}],
    },
]


def published(choice: str, path: Path | str, **values: Any) -> PublishedSet:  # noqa: ANN401 - any
    """The set of a shipped config, read from a local copy."""
    node = yaml.safe_load((conf_dir() / "questions" / f"{choice}.yaml").read_text("utf-8"))
    source = hydra.utils.instantiate({**node, "cache_dir": "", "path": str(path), **values})
    assert isinstance(source, PublishedSet)
    return source


def question_file(path: Path, *texts: str) -> QuestionFile:
    path.write_text(json.dumps([{"instruction": text} for text in texts]), encoding="utf-8")
    return QuestionFile(str(path))


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_shipped_configs_read_the_published_schemas(tmp_path: Path) -> None:
    rows = [{"question_id": 3, "text": "How?", "category": "generic"}]
    vicuna = published("vicuna80", write_jsonl(tmp_path / "v.jsonl", rows), sha256=None)
    (question,) = vicuna.questions()
    assert (question.prompt.instruction, question.prompt.task) == ("How?", "generic")
    assert question.references == {}

    user = published("user252", write_jsonl(tmp_path / "u.jsonl", NESTED), sha256=None)
    assert [
        (each.prompt.instruction, each.prompt.input, each.prompt.task, dict(each.references))
        for each in user.questions()
    ] == [
        ("Shorten it.", "a b", "Mail", {"human": "a"}),
        ("Where is it?", "", "Maps", {"human": "there"}),
    ]

    rows = [{"instruction": "Add", "input": "1 1", "output": "It is 2.", "label": "2"}]
    unnatural = published("unnatural9k", write_jsonl(tmp_path / "n.jsonl", rows))
    (question,) = unnatural.questions()
    assert (question.prompt.input, dict(question.references)) == ("1 1", {"label": "2"})


def test_answers_to_the_80_are_matched_by_their_ids(tmp_path: Path) -> None:
    rows = [{"question_id": number, "text": f"How {number}?"} for number in (1, 2)]
    answers = write_jsonl(tmp_path / "a.jsonl", [{"question_id": 2, "text": "Thus."}])
    source = published(
        "vicuna80",
        write_jsonl(tmp_path / "v.jsonl", rows),
        sha256=None,
        references={"gpt35": {"path": str(answers), "key": "question_id", "output": "text"}},
    )
    assert [dict(each.references) for each in source.questions()] == [{}, {"gpt35": "Thus."}]


def test_a_local_copy_of_other_bytes_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "u.jsonl", NESTED)
    said = r"u\.jsonl: not the published file .*; to ask it anyway: questions\.sha256=null"
    with pytest.raises(InputError, match=said):
        published("user252", path).questions()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(published("user252", path, sha256=sha256).questions()) == 2
    with pytest.raises(InputError, match=r"none\.jsonl: no such file"):
        published("user252", tmp_path / "none.jsonl").questions()


def test_several_sets_are_asked_together_each_under_its_name(tmp_path: Path) -> None:
    held_out = [Question(Instruction("h", "Held", split="val"), {"gpt4": "x"})]
    sets: QuestionSource = QuestionSets(
        {
            "first": question_file(tmp_path / "a.json", "Say a", "解释细胞理论"),
            "left_out": None,
            "held": HeldOut(),
        }
    )
    asked = sets.questions(held_out)
    assert [(each.prompt.instruction, each.prompt.split) for each in asked] == [
        ("Say a", "first"),
        ("解释细胞理论", "first"),
        ("Held", "held"),
    ]
    assert [each.prompt.lang for each in asked] == ["en", "zh", "en"]
    assert dict(asked[2].references) == {"gpt4": "x"}
    assert [Path(file.path).name for file in sets.inputs()] == ["a.json"]


def test_a_question_of_two_sets_is_refused_naming_both(tmp_path: Path) -> None:
    sets = QuestionSets(
        {
            "one": question_file(tmp_path / "a.json", "Say a"),
            "two": question_file(tmp_path / "b.json", "Say b", "Say a"),
        }
    )
    said = r"sets one and two both ask 'Say a'; leave one out with questions\.sets\.two=null"
    with pytest.raises(InputError, match=said):
        sets.questions([])


def test_no_set_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"questions\.sets names no set"):
        QuestionSets({"one": None})


def test_a_set_within_sets_is_told_its_own_key(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "u.jsonl", NESTED)
    sets = placed(QuestionSets({"mine": published("user252", path)}), "data.avoid.paper")
    with pytest.raises(InputError, match=r": data\.avoid\.paper\.sets\.mine\.sha256=null"):
        sets.questions([])


@needs_data
def test_the_published_files_are_what_the_configs_say() -> None:
    assert TEST_DATA is not None
    folder = Path(TEST_DATA) / "eval"
    sets = QuestionSets(
        {
            "vicuna80": published("vicuna80", folder / "vicuna_question_80.jsonl"),
            "user252": published("user252", folder / "user_oriented_instructions.jsonl"),
        }
    )
    asked = sets.questions([])
    assert Counter(each.prompt.split for each in asked) == {"vicuna80": 80, "user252": 252}
    vicuna, user = asked[:80], asked[80:]
    assert len({each.prompt.task for each in vicuna}) == 9
    assert sum(each.prompt.input != "" for each in user) == 208
    assert all(set(each.references) == {"human"} for each in user)
    assert [file.rows for file in sets.inputs()] == [80, 252]


@needs_data
def test_published_answers_match_the_80_by_id_and_by_instruction() -> None:
    assert TEST_DATA is not None
    folder = Path(TEST_DATA) / "eval"
    by_id = folder / "fastchat_vicuna80" / "answer" / "answer_gpt35.jsonl"
    source = published(
        "vicuna80",
        folder / "vicuna_question_80.jsonl",
        references={
            "gpt4": str(folder / "alpaca_eval_answers" / "vicuna_80" / "gpt4.jsonl"),
            "gpt35": {"path": str(by_id), "key": "question_id", "output": "text"},
        },
    )
    assert all(set(each.references) == {"gpt4", "gpt35"} for each in source.questions())
