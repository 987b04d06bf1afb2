"""Answer files of others: named fields, kept empties, one-line errors."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from understudy.eval.answers import read_answers
from understudy.eval.rouge import RougeScorer
from understudy.eval.summary import score_predictions, summarise
from understudy.records import InputError, instruction_id

SELF_INSTRUCT = {"output": "response", "reference": "target"}
ROW = {
    "prompt": "Rewrite it.\n\nInput: Too wordy.\nOutput:",
    "instruction": "Rewrite it.",
    "input": "Too wordy.",
    "response": " Wordy.",
    "target": "It is wordy.",
}


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """A JSONL file of ``rows``."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_rows_of_another_schema_become_predictions(tmp_path: Path) -> None:
    """By the names given; the author is the file's name, the answer is kept as it is."""
    path = written(tmp_path / "davinci.jsonl", [ROW])
    rows = read_answers(path, SELF_INSTRUCT)
    prediction = rows.predictions[0]
    assert prediction.author == "davinci"
    assert prediction.output == " Wordy."
    assert prediction.question.references == {"reference": "It is wordy."}
    assert prediction.question.prompt.id == instruction_id("Rewrite it.", "Too wordy.")
    assert (rows.input_file.path, rows.input_file.rows) == (path, 1)
    assert read_answers(path, SELF_INSTRUCT, author="them").predictions[0].author == "them"


def test_the_file_is_scored_end_to_end(tmp_path: Path) -> None:
    """Tokens [wordy] against [it, is, wordy]: F = 1/2, in the bucket of three words."""
    rows = read_answers(written(tmp_path / "a.jsonl", [ROW]), SELF_INSTRUCT)
    summary = summarise(score_predictions(rows.predictions, [RougeScorer()]))
    assert summary.metrics["eval/rouge_l"] == 0.5
    assert summary.metrics["eval/rouge_l/3-5"] == 0.5


def test_a_json_list_with_our_names_and_no_input_or_reference(tmp_path: Path) -> None:
    """Null in ``fields`` says that the file has none; ROUGE is then null with the reason."""
    path = tmp_path / "answers.json"
    path.write_text(json.dumps([{"instruction": "Say yes.", "output": "yes"}]))
    rows = read_answers(str(path), {"input": None, "reference": None})
    summary = summarise(score_predictions(rows.predictions, [RougeScorer()]))
    assert rows.predictions[0].question.references == {}
    assert summary.metrics["eval/rouge_l"] is None
    assert summary.reasons["eval/rouge_l"].endswith("the question has no reference")


def test_empty_texts_are_kept_counted_and_told_apart(tmp_path: Path) -> None:
    """An empty answer is a 0; an empty reference is unknown."""
    no_answer = {**ROW, "instruction": "A", "response": " "}
    no_reference = {**ROW, "instruction": "B", "target": ""}
    rows = read_answers(
        written(tmp_path / "a.jsonl", [ROW, no_answer, no_reference]), SELF_INSTRUCT
    )
    assert rows.num_empty == {"empty_output": 1, "empty_reference": 1}
    summary = summarise(score_predictions(rows.predictions, [RougeScorer()]))
    assert summary.counts["eval/rouge_l"] == 2
    assert summary.metrics["eval/rouge_l"] == 0.25
    assert "1 of 3 predictions: the reference is empty" in summary.reasons["eval/rouge_l"]


def test_chinese_references_are_found_by_their_characters(tmp_path: Path) -> None:
    """Under auto a row's language is its reference's; set, it is what was set."""
    translated = {**ROW, "instruction": "Translate.", "response": "Hello", "target": "你好"}
    path = written(tmp_path / "a.jsonl", [ROW, translated])
    by_characters = read_answers(path, SELF_INSTRUCT).predictions
    as_set = read_answers(path, SELF_INSTRUCT, lang="zh").predictions
    assert [each.question.prompt.lang for each in by_characters] == ["en", "zh"]
    assert [each.question.prompt.lang for each in as_set] == ["zh", "zh"]


def test_a_question_asked_twice_is_two_items(tmp_path: Path) -> None:
    """Both answers count; ids stay apart, so that intervals resample items."""
    path = written(tmp_path / "a.jsonl", [ROW, {**ROW, "response": "Other."}])
    predictions = read_answers(path, SELF_INSTRUCT).predictions
    ids = [prediction.question.prompt.id for prediction in predictions]
    assert ids == [instruction_id("Rewrite it.", "Too wordy."), f"{ids[0]}-2"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"response": None}, "row 2 field 'response': is null, not text"),
        ({"target": 7}, "row 2 field 'target': is a number, not text"),
        ({"instruction": " "}, "row 2 field 'instruction': empty"),
        ({"response": "x" * 1_000_000}, "row 2 field 'response': 1,000,000 characters"),
        ({"id": 1}, "row 2 field 'id': the id of row 1 again"),
        ({"response": "\ud800"}, "row 2 field 'response': half a surrogate pair"),
    ],
)
def test_a_wrong_row_is_one_line_with_file_row_and_field(
    tmp_path: Path, row: Mapping[str, Any], words: str
) -> None:
    """Whoever reads the line knows where to look."""
    path = written(tmp_path / "a.jsonl", [{**ROW, "id": 1}, {**ROW, "id": 2, **row}])
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_answers(path, SELF_INSTRUCT)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_a_missing_field_names_those_there_and_the_setting(tmp_path: Path) -> None:
    """The most likely mistake: the file calls it something else."""
    path = written(tmp_path / "a.jsonl", [ROW])
    fields = "prompt, instruction, input, response, target"
    with pytest.raises(InputError, match=rf"{fields}; name it with fields\.output=NAME$"):
        read_answers(path)
    with pytest.raises(InputError, match=r"fields\.reference=null if the file has none"):
        read_answers(path, {"output": "response"})


def test_wrong_settings_are_refused_before_the_file_is_read() -> None:
    """A typo in ``fields`` is no silent default; question and answer must have names."""
    with pytest.raises(InputError, match="fields='outptu' is unknown"):
        read_answers("nowhere.jsonl", {"outptu": "response"})
    with pytest.raises(InputError, match=r"fields\.output names no field"):
        read_answers("nowhere.jsonl", {"output": None})
    with pytest.raises(InputError, match="choose one of auto, en, zh"):
        read_answers("nowhere.jsonl", lang="de")
    with pytest.raises(InputError, match="no such file"):
        read_answers("nowhere.jsonl")
