"""A collected arm is read by its run's folder and called by its teacher."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from understudy.data.collected import CollectedAnswers, collected_names, read_arm
from understudy.data.files import siblings
from understudy.records import InputError, Turn, instruction_id, write_jsonl
from understudy.tracking.manifest import file_sha256


def collected(folder: Path, teacher: str, *rows: dict[str, Any]) -> str:
    write_jsonl(folder / "answers.jsonl", rows or ({"instruction": "Add.", "output": teacher},))
    arm = {
        "teacher": teacher, "collection": "alpaca",
        "answers": {"sha256": file_sha256(folder / "answers.jsonl")},
    }  # fmt: skip
    (folder / "arm.json").write_text(json.dumps(arm), encoding="utf-8")
    return str(folder)


def test_a_runs_teacher_answers_whether_folder_or_file_is_given(tmp_path: Path) -> None:
    run = collected(tmp_path / "run", "gpt4", {"instruction": "加。", "output": "3", "lang": "zh"})
    for path in (run, f"{run}/answers.jsonl"):
        source = CollectedAnswers(path=path)
        (row,) = source.read().rows
        assert (source.teacher, row.author, row.output, row.prompt.lang) == (
            "gpt4", "gpt4", "3", "zh",
        )  # fmt: skip
        assert source.location == (tmp_path / "run" / "answers.jsonl").resolve()
        assert source.collection == "alpaca"
    assert CollectedAnswers(path=run, teacher="mine").read().rows[0].author == "mine"


def test_a_conversation_comes_back_whole(tmp_path: Path) -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    turns = (Turn("user", "Hi"), Turn("assistant", "Hello"))
    row = {"instruction": "Go on.", "output": "Well.", "history": history}
    source = CollectedAnswers(path=collected(tmp_path, "gpt4", row))
    (read,) = source.read().rows
    assert read.prompt.history == turns
    assert read.prompt.id == instruction_id("Go on.", "", turns)
    wrong = {**row, "history": [{"from": "user"}]}
    with pytest.raises(InputError, match="row 1 field 'history': no list of turns"):
        CollectedAnswers(path=collected(tmp_path, "gpt4", wrong)).read()


def test_runs_of_one_teacher_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    one, two = collected(tmp_path / "one", "gpt4"), collected(tmp_path / "two", "gpt4")
    other = collected(tmp_path / "three", "gpt35")
    assert collected_names([one, other]) == {one: "gpt4", other: "gpt35"}
    assert collected_names([one, f"{one}/"]) == {one: "gpt4", f"{one}/": "gpt4"}
    assert collected_names([one, two, other]) == {
        one: "gpt4/one", two: "gpt4/two", other: "gpt35",
    }  # fmt: skip


def test_peers_of_a_run_have_their_own_teachers_names(tmp_path: Path) -> None:
    one, other = collected(tmp_path / "one", "gpt4"), collected(tmp_path / "two", "gpt35")
    (peer,) = siblings(CollectedAnswers(path=one), [other])
    assert peer.teacher == "gpt35"
    assert peer.read().rows[0].output == "gpt35"


def test_changed_rows_are_read_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = collected(tmp_path, "gpt4")
    with caplog.at_level(logging.WARNING):
        CollectedAnswers(path=run).read()
        assert not caplog.messages
        write_jsonl(tmp_path / "answers.jsonl", [{"instruction": "Add.", "output": "4"}])
        assert CollectedAnswers(path=run).read().rows[0].output == "4"
    assert "is not as it was collected" in caplog.text


def test_a_folder_without_an_arm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds no arm\.json; give the folder of a run of stage=c"
    ):
        CollectedAnswers(path=str(tmp_path))
    (tmp_path / "arm.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="holds no JSON object"):
        read_arm(tmp_path)
