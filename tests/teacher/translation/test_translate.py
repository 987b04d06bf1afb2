"""Instructions are translated over HTTP, checked and sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from understudy.chat.asking.asker import Asker
from understudy.chat.asking.prices import PriceList
from understudy.chat.chat_model import ChatModel
from understudy.data.instructions import InstructionFile
from understudy.lab.exercises import train_prompts
from understudy.lab.server.app import lab_app
from understudy.lab.server.faults import FaultRates
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World
from understudy.prompts import ALPACA
from understudy.records import Instruction, Turn, instruction_id, write_jsonl
from understudy.teacher.collect import requests_of
from understudy.teacher.translation.translate import Translations, to_translate

WORLD = World()


def _asker(url: str, folder: Path, **params: object) -> Asker:
    model = ChatModel(
        "translator", "lab-translator", url, identity="lab", key_env=None,
        params={"temperature": 0.0, **params}, retry_seconds=0.01,
    )  # fmt: skip
    prices = PriceList(date="today", source="test", usd_per_million={})
    return Asker(model, str(folder / "ledger.sqlite"), prices, max_failed=1.0)


@pytest.fixture(scope="module")
def lab_url() -> Iterator[str]:
    with running(lab_app(ServerConfig(WORLD))) as url:
        yield url


def _prompt(instruction: str, given: str = "", **more: Any) -> Instruction:  # noqa: ANN401
    return Instruction(instruction_id(instruction, given), instruction, given, **more)


def _translated(
    asker: Asker, prompts: list[Instruction], min_cjk: float = 0.3
) -> tuple[list[dict[str, Any]], Translations]:
    asked = to_translate(prompts)
    translations = Translations(min_cjk)
    answers = asker.ask(asked.requests(), title="translations")
    return list(translations.rows(asked, answers)), translations


def test_the_labs_instructions_become_its_own_chinese_ones(lab_url: str, tmp_path: Path) -> None:
    english, chinese = (
        [prompt for _, prompt in train_prompts(WORLD, 300, 0, lang)] for lang in ("en", "zh")
    )
    rows, translations = _translated(_asker(lab_url, tmp_path), english)
    assert translations.counts == {"translated": 300}
    assert [(row["id"], row["instruction"], row["input"]) for row in rows] == [
        (prompt.id, prompt.instruction, prompt.input) for prompt in chinese
    ]
    assert [row["source_id"] for row in rows] == [prompt.id for prompt in english]
    path = tmp_path / "instructions.jsonl"
    write_jsonl(path, rows)
    read = InstructionFile(path=str(path)).instructions()
    assert [(p.id, p.lang, p.task) for p in read.prompts] == [(p.id, "zh", p.task) for p in chinese]


def test_a_teachers_answers_to_the_translated_rows_are_the_labs_chinese_arm(
    lab_url: str, tmp_path: Path
) -> None:
    english = [prompt for _, prompt in train_prompts(WORLD, 60, 0, "en")]
    rows, _ = _translated(_asker(lab_url, tmp_path), english)
    path = tmp_path / "instructions.jsonl"
    write_jsonl(path, rows)
    prompts = InstructionFile(path=str(path)).instructions().prompts
    teacher = replace(_asker(lab_url, tmp_path).model, name="medium", model="lab-medium")
    asker = replace(_asker(lab_url, tmp_path), model=teacher)
    requests = [request for _, request in requests_of(prompts, ALPACA)]
    answers = asker.ask(requests, title="answers")
    outputs = [reply.text for each in requests if (reply := answers.reply(each)) is not None]
    arm = LabTeacher(WORLD, "medium", num_rows=60, lang="zh").read().rows
    assert outputs == [row.output for row in arm]
    assert [prompt.id for prompt in prompts] == [row.prompt.id for row in arm]


def test_other_text_keeps_what_it_must_and_shared_texts_are_asked_once(
    lab_url: str, tmp_path: Path
) -> None:
    prompts = [
        _prompt("Explain `x = 1` from https://a.org in 3 sentences.", "def f():\n    return 2"),
        _prompt("Summarise the text.", "Cats sleep."),
        _prompt("Summarise the text.", "Dogs bark."),
    ]
    asker = _asker(lab_url, tmp_path)
    rows, translations = _translated(asker, prompts)
    assert translations.counts == {"translated": 3}
    assert "`x = 1`" in rows[0]["instruction"]
    assert "https://a.org" in rows[0]["instruction"]
    assert rows[1]["instruction"] == rows[2]["instruction"]
    assert len(list(to_translate(prompts).requests())) == 5
    assert asker.ask(to_translate(prompts).requests(), title="again").tally.asked == 0


def test_chinese_rows_and_conversations_are_not_asked(lab_url: str, tmp_path: Path) -> None:
    prompts = [
        _prompt("说出三种颜色。"),
        _prompt("Name three colours.", history=(Turn("user", "Hi"), Turn("assistant", "Hello"))),
        _prompt("Bonjour", lang="zh"),
        _prompt("Name three colours."),
    ]
    asked = to_translate(prompts)
    assert asked.prompts == (prompts[3],)
    rows, translations = _translated(_asker(lab_url, tmp_path), prompts)
    assert len(rows) == 1
    assert translations.counts == {
        "translated": 1, "rejected": 3, "already_chinese": 2, "conversation": 1
    }  # fmt: skip
    assert [row["reasons"] for row in translations.rejected] == [
        {"instruction": [reason]}
        for reason in ("already_chinese", "conversation", "already_chinese")
    ]


def test_what_a_translation_lost_keeps_its_row_english(tmp_path: Path) -> None:
    prompts = [
        _prompt(f"Tell me about the year {1900 + number} in the town.") for number in range(40)
    ]
    with running(lab_app(ServerConfig(WORLD, loses_numbers=0.5))) as url:
        rows, translations = _translated(_asker(url, tmp_path), prompts)
    kept = {row["source_id"] for row in rows}
    assert 5 < len(kept) < 35
    assert {row["id"] for row in translations.rejected} == {p.id for p in prompts} - kept
    for row in translations.rejected:
        assert row["reasons"] == {"instruction": ["numbers"]}
        assert "19" not in row["translation"]["instruction"]
    assert translations.counts["numbers"] == 40 - len(kept)


def test_failed_cut_and_empty_replies_keep_their_rows_english(tmp_path: Path) -> None:
    prompts = [
        _prompt(f"Write a long letter to friend number {n}.", f"{n} cats") for n in range(60)
    ]
    faults = FaultRates(rate_empty=0.1, rate_content_filter=0.1, rate_length=0.1)
    with running(lab_app(ServerConfig(WORLD, faults=faults))) as url:
        rows, translations = _translated(_asker(url, tmp_path), prompts)
    counts = translations.counts
    assert len(rows) + len(translations.rejected) == 60
    assert min(counts["empty"], counts["failed"], counts["truncated"]) > 0
    assert {each.failure.kind for each in translations.failed if each.failure} == {"content_filter"}
    for row in translations.rejected:
        assert row["reasons"]
        assert set(row["reasons"]) <= {"instruction", "input"}


def test_two_rows_with_one_translation_are_one_row(lab_url: str, tmp_path: Path) -> None:
    rows, translations = _translated(
        _asker(lab_url, tmp_path), [_prompt("Name a colour."), _prompt("name a colour.")]
    )
    assert len(rows) == 1
    assert translations.counts["same_as_another"] == 1


def test_the_least_share_of_chinese_is_the_runs(lab_url: str, tmp_path: Path) -> None:
    prompts = [_prompt("Fix my_long_variable_name and other_variable_name")]
    rows, _ = _translated(_asker(lab_url, tmp_path), prompts, min_cjk=0.1)
    assert len(rows) == 1
    rows, translations = _translated(_asker(lab_url, tmp_path), prompts, min_cjk=0.5)
    assert rows == []
    assert translations.counts["not_chinese"] == 1
