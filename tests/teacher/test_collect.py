"""Rows of a collection: in order, flagged, counted; what has no text is listed and not a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest, Failure, Reply
from understudy.comparisons import Candidate, Comparison, ComparisonRows
from understudy.data.files import AnswerFile
from understudy.data.instructions import InstructionFile
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World
from understudy.prompts import ALPACA, ALPACA_COMPACT, ChatTemplate
from understudy.records import InputError, Instruction, Turn, write_jsonl
from understudy.teacher.collect import Collecting, request_of, template_sha256
from understudy.teacher.expected import expected_tokens, stand_ins
from understudy.teacher.instructions import read_instructions, require_template
from understudy.teacher.record import collection_of
from understudy.teacher.rows import Outcome

ASKED = Instruction("a", "Add them.", "1 2", task="sum")


def outcome(
    prompt: Instruction, reply: Reply | None, failure: Failure | None = None
) -> Outcome[Instruction]:
    return Outcome(prompt, request_of(prompt, ALPACA), reply, failure)


def reply(text: str, finish: str = "stop", cost: float | None = 0.5, model: str = "m-1") -> Reply:
    return Reply("k", text, finish, model, 10, 3, cost)


def test_a_request_is_one_message_in_the_template_after_what_came_before() -> None:
    assert request_of(ASKED, ALPACA) == ChatRequest.of_user(
        ALPACA.render("Add them.", "1 2"), id="a"
    )
    assert request_of(ASKED, ChatTemplate()).messages == (Turn("user", "Add them.\n\n1 2"),)
    earlier = (Turn("user", "Hi"), Turn("assistant", "Hello"))
    later = Instruction("b", "And now?", history=earlier)
    assert request_of(later, ChatTemplate()).messages == (*earlier, Turn("user", "And now?"))


def test_templates_have_different_hashes_and_the_papers_is_its_own() -> None:
    hashes = {template_sha256(each) for each in (ALPACA, ALPACA_COMPACT, ChatTemplate())}
    assert len(hashes) == 3
    assert template_sha256(ALPACA) == ALPACA.sha256
    assert template_sha256(ChatTemplate("{{ messages }}")) == template_sha256(ChatTemplate())


def test_rows_flags_and_counts() -> None:
    prompts = [Instruction(str(n), f"Do {n}.") for n in range(7)]
    came = [
        reply("Done."), reply("Done. "), reply("I cannot do", "length", model="m-2"), reply(" \n"),
        None, None, reply("另一个", cost=None),
    ]  # fmt: skip
    failures = {4: Failure("k", "content_filter", "no", 400, 1)}
    collecting = Collecting("gpt4")
    rows = list(
        collecting.rows(
            outcome(prompt, each, failures.get(n))
            for n, (prompt, each) in enumerate(zip(prompts, came, strict=True))
        )
    )
    assert [row["id"] for row in rows] == ["0", "1", "2", "6"]
    assert rows[2] == {
        "id": "2", "instruction": "Do 2.", "input": "", "output": "I cannot do", "lang": "en",
        "task": "", "teacher": "gpt4", "finish": "length", "truncated": True, "refused": True,
        "wrong_language": False,
    }  # fmt: skip
    assert collecting.counts == {
        "rows": 4, "truncated": 1, "refused": 1, "identical_output": 1, "empty": 1, "failed": 2,
        "failed_content_filter": 1, "failed_not_asked": 1,
    }  # fmt: skip
    assert [(each["id"], each["kind"], each["status"]) for each in collecting.failed] == [
        ("3", "empty", None), ("4", "content_filter", 400), ("5", "not_asked", None),
    ]  # fmt: skip


def test_a_conversation_keeps_its_history_in_the_row() -> None:
    later = Instruction("b", "And now?", history=(Turn("user", "Hi"), Turn("assistant", "Hello")))
    (row,) = Collecting("gpt4").rows([outcome(later, reply("Now."))])
    assert row["history"] == [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
    ]  # fmt: skip


def write(tmp_path: Path, *rows: dict[str, str]) -> str:
    write_jsonl(tmp_path / "rows.jsonl", rows)
    return str(tmp_path / "rows.jsonl")


def test_instructions_of_answers_whether_these_say_anything_or_not(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"instruction": "Add.", "input": "1 2", "output": ""},
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"instruction": "翻译这句话。", "output": "x"},
        {"instruction": "Add.", "input": "3 4", "output": "7"},
    )
    asked = read_instructions(AnswerFile(path=path))
    assert [each.input for each in asked.prompts] == ["1 2", "", "3 4"]
    assert asked.left_out == {"duplicate_instruction": 1}
    assert asked.inputs[0].path == path
    english = read_instructions(AnswerFile(path=path), lang="en", limit=1)
    assert [each.input for each in english.prompts] == ["1 2"]
    assert english.left_out == {
        "duplicate_instruction": 1, "other_language": 1, "beyond_limit": 1,
    }  # fmt: skip
    assert english.sha256 != asked.sha256


def test_what_cannot_be_asked_is_refused_with_what_to_type(tmp_path: Path) -> None:
    source = InstructionFile(path=write(tmp_path, {"instruction": "Add."}))
    with pytest.raises(InputError, match=r"none of the 1 instructions is Chinese.*stage=translate"):
        read_instructions(source, lang="zh")
    with pytest.raises(InputError, match="limit=0 asks for nothing; type limit=100"):
        read_instructions(source, limit=0)
    with pytest.raises(InputError, match="lang='de' is unknown; choose one of en, zh"):
        read_instructions(source, lang="de")
    with pytest.raises(InputError, match="type prompt=alpaca"):
        require_template(None)
    assert require_template(ChatTemplate()) == ChatTemplate()


class Compared:
    """Comparisons of two subsets that share a prompt."""

    name = "compared"

    def read(self) -> ComparisonRows:
        other = Instruction("b", "Subtract.")
        both = (Candidate("x"), Candidate("y"))
        return ComparisonRows(
            [Comparison(ASKED, both, subset="s"), Comparison(other, both), Comparison(ASKED, both)]
        )


def test_instructions_of_comparisons_are_asked_once() -> None:
    asked = read_instructions(Compared())
    assert [each.id for each in asked.prompts] == ["a", "b"]
    assert asked.left_out == {"duplicate_instruction": 1}


def test_the_expected_length_is_that_of_known_answers_else_gpt4s(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"instruction": "Add.", "output": "a" * 40},
        {"instruction": "Subtract.", "output": "b" * 80},
    )
    source = AnswerFile(path=path)
    asked = read_instructions(source)
    tokens, said = expected_tokens(source, asked, None)
    assert tokens == pytest.approx(15)
    assert "the data holds: 15 tokens" in said
    assert expected_tokens(InstructionFile(path=path), asked, None)[0] == 160
    unanswered = AnswerFile(path=write(tmp_path, {"instruction": "加。", "output": ""}))
    assert expected_tokens(unanswered, read_instructions(unanswered), None)[0] == 240


def test_stand_ins_are_as_many_different_instructions_as_asked_for() -> None:
    for lang in ("en", "zh"):
        made = stand_ins(1000, lang)
        assert len({each.id for each in made.prompts}) == 1000
        assert {each.lang for each in made.prompts} == {lang}
        assert f"{made.expected_tokens:.0f} tokens" in made.in_words


def test_the_labs_prompts_are_read_as_it_has_them() -> None:
    teacher = LabTeacher(World(), num_rows=20)
    asked = read_instructions(teacher)
    assert list(asked.prompts) == [row.prompt for row in teacher.read().rows]


def test_how_answers_are_asked_for_does_not_depend_on_a_models_names_or_seed() -> None:
    one = ChatModel("a", "a", params={"max_tokens": 9, "seed": 1, "stop": None})
    other = ChatModel(
        "b", "b", params={"max_tokens": 9, "temperature": 1.0}, refused=["temperature"],
        renamed={"max_tokens": "max_completion_tokens"},
    )  # fmt: skip
    assert collection_of(one, "alpaca") == collection_of(other, "alpaca") == "alpaca, max_tokens 9"
    warm = one.with_params(temperature=0.5)
    assert collection_of(warm, "alpaca") == "alpaca, max_tokens 9, temperature 0.5"
