"""Conversations: both spellings give the same rows, and what is odd is counted or refused."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy.data.files import AnswerFile
from understudy.records import Completion, InputError, Instruction, Turn, instruction_id

ROLES = {
    "messages": {"s": "system", "u": "user", "a": "assistant"},
    "sharegpt": {"s": "system", "u": "human", "a": "gpt"},
}
KEYS = {"messages": ("messages", "role", "content"), "sharegpt": ("conversations", "from", "value")}
FORMATS = sorted(KEYS)


def spoken(spelling: str, *turns: tuple[str, str], **fields: object) -> dict[str, object]:
    """A row in which each turn, (one letter of s, u, a or a role of its own, text), is said."""
    name, role, content = KEYS[spelling]
    said = [{role: ROLES[spelling].get(who, who), content: text} for who, text in turns]
    return {name: said, **fields}


def source(folder: Path, spelling: str, rows: list[Any], **options: Any) -> AnswerFile:  # noqa: ANN401 - any
    path = folder / "gpt4.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return AnswerFile(str(path), format=spelling, **options)


TWO_TURNS = [("s", "Be brief."), ("u", "Say a"), ("a", "b"), ("u", "Again"), ("a", "c")]


@pytest.mark.parametrize("spelling", FORMATS)
def test_the_last_answer_is_the_output_and_the_rest_is_history(
    tmp_path: Path, spelling: str
) -> None:
    found = source(tmp_path, spelling, [spoken(spelling, *TWO_TURNS, task="t")]).read()
    history = (Turn("system", "Be brief."), Turn("user", "Say a"), Turn("assistant", "b"))
    prompt = Instruction(
        instruction_id("Again", "", history), "Again", task="t", lang="en", history=history
    )
    assert list(found.rows) == [Completion(prompt, "c", "gpt4")]
    assert found.dropped == Counter()


def test_both_spellings_give_the_same_rows(tmp_path: Path) -> None:
    rows = [
        source(tmp_path, each, [spoken(each, *TWO_TURNS)], teacher="t").read().rows
        for each in FORMATS
    ]
    assert rows[0] == rows[1]


def test_one_exchange_is_the_row_that_alpacas_fields_give(tmp_path: Path) -> None:
    chat = source(tmp_path, "messages", [spoken("messages", ("u", "Say a"), ("a", "b"))]).read()
    path = tmp_path / "plain" / "gpt4.json"
    path.parent.mkdir()
    path.write_text(json.dumps([{"instruction": "Say a", "output": "b"}]), encoding="utf-8")
    assert chat.rows == AnswerFile(str(path)).read().rows


def test_a_system_message_may_stand_in_a_field_of_its_own(tmp_path: Path) -> None:
    row = spoken("sharegpt", ("u", "Say a"), ("a", "b"), prompt="Be brief.")
    found = source(tmp_path, "sharegpt", [row], fields={"system": "prompt"}).read()
    assert found.rows[0].prompt.history == (Turn("system", "Be brief."),)


def test_the_field_of_the_messages_may_have_another_name(tmp_path: Path) -> None:
    row = {"dialog": spoken("messages", ("u", "Say a"), ("a", "b"))["messages"]}
    found = source(tmp_path, "messages", [row], fields={"messages": "dialog"}).read()
    assert [each.output for each in found.rows] == ["b"]


def test_the_language_is_that_of_all_the_user_said(tmp_path: Path) -> None:
    row = spoken("messages", ("u", "解释细胞理论是什么"), ("a", "好"), ("u", "OK"), ("a", "b"))
    assert source(tmp_path, "messages", [row]).read().rows[0].prompt.lang == "zh"


def test_texts_are_normalised_wherever_they_stand(tmp_path: Path) -> None:
    row = spoken("messages", ("u", "cafe\u0301"), ("a", "b"), ("u", "Again"), ("a", "e\u0301"))
    completion = source(tmp_path, "messages", [row]).read().rows[0]
    assert completion.prompt.history[0].content == "caf\u00e9"
    assert completion.output == "\u00e9"


def test_what_nobody_answered_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        spoken("sharegpt", ("u", "Say a"), ("a", "b"), ("u", "Thanks")),
        spoken("sharegpt", ("u", "Say c")),
        spoken("sharegpt"),
        spoken("sharegpt", ("u", "Say d"), ("a", "e")),
    ]
    with caplog.at_level(logging.WARNING):
        found = source(tmp_path, "sharegpt", rows).read()
    assert [(row.prompt.instruction, row.output) for row in found.rows] == [
        ("Say a", "b"),
        ("Say d", "e"),
    ]
    assert found.dropped == Counter(no_final_answer=2)
    assert "3 of 4 conversations go on after their last answer" in caplog.text


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([("a", "Hello"), ("u", "Say a"), ("a", "b")], "turns_out_of_order"),
        ([("u", "Say"), ("u", "a"), ("a", "b")], "turns_out_of_order"),
        ([("u", "Say a"), ("a", "b"), ("a", "c")], "turns_out_of_order"),
        ([("u", "Say a"), ("a", "b"), ("s", "New"), ("u", "c"), ("a", "d")], "turns_out_of_order"),
        ([("a", "b")], "turns_out_of_order"),
        ([("s", "Be brief."), ("a", "b")], "turns_out_of_order"),
        ([("u", " \n"), ("a", "b")], "empty_message"),
        ([("u", "Say a"), ("a", ""), ("u", "Again"), ("a", "b")], "empty_message"),
    ],
)
def test_a_conversation_that_no_template_takes_is_counted(
    tmp_path: Path, turns: list[tuple[str, str]], reason: str
) -> None:
    rows = [spoken("sharegpt", *turns), spoken("sharegpt", ("u", "x"), ("a", "y"))]
    found = source(tmp_path, "sharegpt", rows).read()
    assert [row.output for row in found.rows] == ["y"]
    assert found.dropped == Counter({reason: 1})


def test_empty_answers_and_repeated_conversations_follow_the_rules_of_all_rows(
    tmp_path: Path,
) -> None:
    exchange = [("u", "Say a"), ("a", "b")]
    rows = [
        spoken("messages", ("u", "Say c"), ("a", " ")),
        spoken("messages", *exchange),
        spoken("messages", ("u", "Say a"), ("a", "other")),
        spoken("messages", *exchange, ("u", "Say a"), ("a", "not the same: it has a history")),
    ]
    found = source(tmp_path, "messages", rows, empty_output="drop").read()
    assert len(found.rows) == 2
    assert found.dropped == Counter(empty_output=1, duplicate_instruction=1)


def test_answers_are_found_by_instruction_and_history(tmp_path: Path) -> None:
    answers = source(tmp_path, "messages", [spoken("messages", *TWO_TURNS)])
    history = (Turn("system", "Be brief."), Turn("user", "Say a"), Turn("assistant", "b"))
    asked = [Instruction("q1", "Again", history=history), Instruction("q2", "Again")]
    assert answers.answers(asked) == {"q1": "c"}


def test_other_roles_are_named_or_left_out(tmp_path: Path) -> None:
    rows = [
        spoken("sharegpt", ("u", "Say a"), ("bing", "b")),
        spoken("sharegpt", ("u", "Say c"), ("gpt", "d")),
    ]
    assert len(source(tmp_path, "sharegpt", rows, roles={"bing": "assistant"}).read().rows) == 2
    found = source(tmp_path, "sharegpt", rows, roles={"bing": "drop"}).read()
    assert [row.output for row in found.rows] == ["d"]
    assert found.dropped == Counter(other_role=1)
    with pytest.raises(InputError, match=r"data\.source\.roles\.bing='who' is unknown; choose"):
        source(tmp_path, "sharegpt", rows, roles={"bing": "who"})


GOOD = spoken("messages", ("u", "Say a"), ("a", "b"))
REFUSED: list[tuple[str, Any, str]] = [
    (
        "messages",
        {"text": "a"},
        r"'messages': missing; the row has 'text'; type data\.fields\.mes",
    ),
    (
        "messages",
        spoken("sharegpt", ("u", "a"), ("a", "b")),
        r"missing; the row has 'conversations'; type data\.source\.format=sharegpt",
    ),
    ("messages", {"messages": "a"}, r"'messages': is a text, not a list of messages"),
    ("messages", {"messages": [7]}, r"'messages\[0\]': is a number, not a message"),
    (
        "messages",
        {"messages": [{"from": "user", "value": "a"}]},
        r"'messages\[0\]\.role': missing; the message has 'from', 'value'",
    ),
    (
        "messages",
        spoken("messages", ("tool", "a")),
        r"'messages\[0\]\.role': the role 'tool' is none of .*\+data\.source\.roles\.tool=drop",
    ),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        r"'messages\[0\]\.content': is a list, not text",
    ),
    ("messages", {"messages": [{"role": "user"}]}, r"'messages\[0\]\.content': missing"),
    (
        "sharegpt",
        spoken("sharegpt", ("u", "x" * 11), ("a", "b")),
        r"'conversations\[0\]\.value': 11 characters, more than 10",
    ),
    (
        "sharegpt",
        spoken("sharegpt", ("u", "a\ud800"), ("a", "b")),
        r"'conversations\[0\]\.value': half a surrogate pair at character 2",
    ),
    (
        "sharegpt",
        spoken("sharegpt", ("u", "a"), ("a", "")),
        r"'conversations': the last answer is empty; data\.empty_output=drop",
    ),
]


@pytest.mark.parametrize(("spelling", "row", "said"), REFUSED)
def test_a_malformed_conversation_is_one_line(
    tmp_path: Path,
    spelling: str,
    row: Any,  # noqa: ANN401 - any JSON
    said: str,
) -> None:
    good = spoken(spelling, ("u", "Say z"), ("a", "b"))
    with pytest.raises(InputError, match=r"gpt4\.json row 2 field " + r".*" + said) as caught:
        source(tmp_path, spelling, [good, row], max_field_chars=10).read()
    assert len(str(caught.value).splitlines()) == 1


def test_comparisons_of_answers_are_refused_as_such(tmp_path: Path) -> None:
    rows = [
        {**spoken("sharegpt", *turns), "chosen": {"from": "gpt"}, "rejected": {"from": "gpt"}}
        for turns in ([("u", "Say a")], [("u", "Say a"), ("a", "b"), ("u", "Again")])
    ]
    with pytest.raises(InputError, match="none of the 2 conversations ends with an answer; the ro"):
        source(tmp_path, "sharegpt", rows).read()


def test_conversations_without_any_answer_are_refused(tmp_path: Path) -> None:
    rows = [spoken("messages", ("u", "Say a"))]
    with pytest.raises(InputError, match=r"ends with an answer; give .* data\.fields\.messages="):
        source(tmp_path, "messages", rows).read()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"format": "chatml"},
            "data.source.format='chatml' is unknown; choose one of alpaca, mess",
        ),
        ({"format": "messages", "fields": {"output": "x"}}, "data.fields='output' is unknown"),
        ({"fields": {"messages": "x"}}, "data.fields='messages' is unknown"),
    ],
)
def test_an_unknown_choice_is_refused_before_anything_is_read(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        AnswerFile("nowhere.json", **options)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | json_values},
    optional={"content": st.text() | json_values},
)
conversations = st.fixed_dictionaries({"messages": st.lists(messages, max_size=5) | json_values})


@settings(deadline=None)
@given(st.lists(conversations, max_size=4))
@example([{"messages": [{"role": "\x1e"}]}])
def test_any_conversations_are_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    answers = source(tmp_path_factory.mktemp("fuzz"), "messages", rows, empty_output="drop")
    try:
        found = answers.read()
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
def test_real_comparisons_are_refused_as_such() -> None:
    path = Path(os.environ["UNDERSTUDY_TEST_DATA"]) / "comparison" / "dpo_en_demo.json"
    with pytest.raises(InputError, match=r"none of the 300 .* comparisons of answers"):
        AnswerFile(str(path), format="sharegpt").read()
