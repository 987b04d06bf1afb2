"""Answer files: what becomes a row, what is counted, and what is refused in one line."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.files import AnswerFile, detect_language, siblings
from understudy.records import Completion, InputError, Instruction, SourceRows, instruction_id

GOOD = {"instruction": "Say a", "input": "", "output": "b"}


def answers(folder: Path, rows: list[Any], **options: Any) -> AnswerFile:  # noqa: ANN401 - any
    path = folder / "gpt4.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return AnswerFile(str(path), **options)


def test_rows_become_completions_with_content_ids(tmp_path: Path) -> None:
    source = answers(tmp_path, [{**GOOD, "input": "x", "task": "t"}, {**GOOD, "lang": "fr"}])
    first, second = source.read().rows
    assert source.teacher == "gpt4"
    assert first == Completion(
        Instruction(instruction_id("Say a", "x"), "Say a", "x", task="t"), "b", "gpt4"
    )
    assert (second.prompt.id, second.prompt.lang) == (instruction_id("Say a"), "fr")
    assert [file.rows for file in source.read().inputs] == [2]


@pytest.mark.parametrize("nothing", [None, "", "  \n", "<noinput>", "<NoInput>"])
def test_input_that_says_nothing_is_empty(tmp_path: Path, nothing: str | None) -> None:
    rows = answers(tmp_path, [{**GOOD, "input": nothing}]).read().rows
    assert rows[0].prompt.input == ""
    assert rows[0].prompt.id == instruction_id("Say a")


def test_a_row_without_an_input_field_has_none(tmp_path: Path) -> None:
    rows = answers(tmp_path, [{"instruction": "Say a", "output": "b"}]).read().rows
    assert rows[0].prompt.input == ""


def test_the_files_own_names_are_taken(tmp_path: Path) -> None:
    names = {"instruction": "prompt", "output": "response"}
    source = answers(tmp_path, [{"prompt": "Say a", "response": "b"}], fields=names, teacher="x")
    assert [(row.prompt.instruction, row.output, row.author) for row in source.read().rows] == [
        ("Say a", "b", "x")
    ]


def test_the_same_text_in_other_normal_forms_is_the_same_row(tmp_path: Path) -> None:
    rows = answers(tmp_path, [{**GOOD, "instruction": "cafe\u0301"}]).read().rows
    assert rows[0].prompt.instruction == "caf\u00e9"
    rows = answers(tmp_path, [{**GOOD, "output": "\ufb01"}]).read().rows
    assert rows[0].output == "\ufb01"


def test_empty_outputs_and_duplicates_are_counted(tmp_path: Path) -> None:
    rows = [{**GOOD, "output": " \n"}, GOOD, {**GOOD, "output": "later"}, {**GOOD, "input": "x"}]
    found = answers(tmp_path, rows, empty_output="drop").read()
    assert [row.output for row in found.rows] == ["b", "b"]
    assert found.dropped == Counter(empty_output=1, duplicate_instruction=1)


REFUSED: list[tuple[list[Any], dict[str, Any], str]] = [
    ([GOOD, {"instruction": "c"}], {}, r"row 2 field 'output': missing; the row has 'instruction'"),
    ([{}], {}, r"row 1 field 'instruction': missing; the row has no fields"),
    ([{**GOOD, "output": 3}], {}, r"row 1 field 'output': is a number, not text"),
    ([{**GOOD, "output": None}], {}, r"row 1 field 'output': is null, not text"),
    ([{**GOOD, "output": ["b"]}], {}, r"row 1 field 'output': is a list, not text"),
    ([{**GOOD, "input": {"a": 1}}], {}, r"row 1 field 'input': is an object, not text"),
    ([{**GOOD, "input": False}], {}, r"row 1 field 'input': is true or false, not text"),
    ([{**GOOD, "task": 7}], {}, r"row 1 field 'task': is a number, not text"),
    ([{**GOOD, "instruction": " "}], {}, r"row 1 field 'instruction': empty"),
    ([GOOD, {**GOOD, "output": ""}], {}, r"row 2 field 'output': empty; data\.empty_output=drop"),
    ([{**GOOD, "output": "x" * 1_000_000}], {}, r"'output': 1,000,000 characters, more than 100,0"),
    ([{**GOOD, "output": "x" * 6}], {"max_field_chars": 5}, r"'output': 6 characters, more than 5"),
    ([{**GOOD, "output": "a\ud800"}], {}, r"'output': half a surrogate pair at character 2"),
    ([GOOD, GOOD], {"duplicates": "error"}, r"row 2 .*'instruction': the same .* as row 1"),
    (
        [{**GOOD, "id": 7}, GOOD, {**GOOD, "id": "7"}],
        {},
        r"row 3 field 'id': the id of row 1 again",
    ),
    ([{**GOOD, "id": 1.5}], {}, r"row 1 field 'id': is a number, not a text or a whole number"),
    ([{**GOOD, "id": True}], {}, r"row 1 field 'id': is true or false"),
]


@pytest.mark.parametrize(("rows", "options", "said"), REFUSED)
def test_a_wrong_row_is_one_line_with_file_row_and_field(
    tmp_path: Path, rows: list[Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=r"gpt4\.json " + r".*" + said) as caught:
        answers(tmp_path, rows, **options).read()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"empty_output": "skip"},
            "data.empty_output='skip' is unknown; choose one of error, drop",
        ),
        ({"duplicates": "last"}, "data.duplicates='last' is unknown"),
        ({"lang": "de"}, "data.lang='de' is unknown"),
        ({"fields": {"ouput": "x"}}, "data.fields='ouput' is unknown"),
    ],
)
def test_an_unknown_choice_is_refused_before_anything_is_read(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        AnswerFile("nowhere.json", **options)


def test_each_element_of_a_nested_list_can_be_a_row(tmp_path: Path) -> None:
    instances = [{"input": "x", "output": "y"}, {"input": "z", "output": "w"}, {"output": ""}]
    rows = [{"instruction": "Say a", "id": 1, "instances": instances}]
    found = answers(tmp_path, rows, expand="instances", empty_output="drop").read()
    assert [(row.prompt.instruction, row.prompt.input, row.output) for row in found.rows] == [
        ("Say a", "x", "y"),
        ("Say a", "z", "w"),
    ]
    assert (found.dropped, found.inputs[0].rows) == (Counter(empty_output=1), 3)
    with pytest.raises(InputError, match=r"gpt4\.json row 1 instances\[2\] field 'output': empty"):
        answers(tmp_path, rows, expand="instances").read()


def test_answers_are_found_by_content_and_named_by_the_askers_ids(tmp_path: Path) -> None:
    source = answers(tmp_path, [GOOD, {**GOOD, "input": "x", "output": "y"}])
    asked = [Instruction("q1", "Say a", "x"), Instruction("q2", "Say a"), Instruction("q3", "?")]
    assert source.answers(asked) == {"q1": "y", "q2": "b"}


def test_siblings_are_read_alike_and_named_by_their_files() -> None:
    source = AnswerFile("a/gpt4.json", teacher="star", empty_output="drop")
    assert siblings(source, None) == siblings(source, []) == []
    assert siblings(source, ["b/gpt35.json"]) == [
        AnswerFile("b/gpt35.json", teacher="gpt35", empty_output="drop")
    ]


def test_siblings_with_one_stem_are_named_by_their_folders_too() -> None:
    source = AnswerFile("gpt4/alpaca.json", teacher="gpt4/alpaca")
    peers = siblings(source, ["gpt4/alpaca.json", "gpt35/alpaca.json"])
    assert [peer.teacher for peer in peers] == ["gpt4/alpaca", "gpt35/alpaca"]
    others = siblings(source, ["gpt35/alpaca.json", "strong.json"])
    assert [peer.teacher for peer in others] == ["gpt35/alpaca", "strong"]


def test_siblings_that_are_sources_are_taken_as_they_are() -> None:
    source = AnswerFile("a/gpt4.json")
    other = AnswerFile("a/gpt35.json", teacher="x", lang="zh")
    assert siblings(source, [other, "weak.json"]) == [other, AnswerFile("weak.json")]


def test_siblings_of_what_is_no_file_are_refused() -> None:
    class Lab:
        teacher = "strong"

        def read(self) -> SourceRows:
            return SourceRows([])

        def answers(self, prompts: object) -> dict[str, str]:
            return {}

    lab = Lab()
    assert siblings(Lab(), None) == []
    assert siblings(Lab(), [lab]) == [lab]
    with pytest.raises(InputError, match="strong answers from no file"):
        siblings(Lab(), ["a.json"])


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("", "en"),
        ("naïve café", "en"),
        ("解释细胞理论", "zh"),
        ("用 Python 写一个排序函数。", "zh"),
        ("翻译成英文:Where is the railway station?", "zh"),
        ("…!", "en"),
        ("Translate 你好 into English, please.", "en"),
    ],
)
def test_language_is_told_by_its_characters(text: str, lang: str) -> None:
    assert detect_language(text) == lang


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
fields = st.sampled_from(["instruction", "input", "output", "id", "task", "lang"])
rows_of_values = st.lists(
    st.dictionaries(fields | st.text(), json_values, max_size=5) | json_values, max_size=4
)


@settings(deadline=None)
@given(rows_of_values, st.sampled_from(["error", "drop"]))
def test_any_json_is_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], empty_output: str
) -> None:
    source = answers(tmp_path_factory.mktemp("fuzz"), rows, empty_output=empty_output)
    try:
        found = source.read()
    except InputError as error:
        said = str(error)
    else:
        said = f"{len(found.rows) + found.dropped.total()} of {len(rows)} rows accounted for"
        assert said == f"{len(rows)} of {len(rows)} rows accounted for"
    assert len(said.splitlines()) == 1


@pytest.mark.skipif(
    "UNDERSTUDY_TEST_DATA" not in os.environ,
    reason="UNDERSTUDY_TEST_DATA names no folder of real data",
)
def test_real_answer_files_are_read() -> None:
    folder = Path(os.environ["UNDERSTUDY_TEST_DATA"])
    paths = sorted(folder.glob("sft/**/*.json"))
    assert paths
    for path in paths:
        found = AnswerFile(str(path), empty_output="drop").read()
        assert len(found.rows) + found.dropped.total() == found.inputs[0].rows
        languages = Counter(row.prompt.lang for row in found.rows)
        expected = "zh" if "_zh_" in path.name else "en"
        assert languages.most_common(1)[0][0] == expected
