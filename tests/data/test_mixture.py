"""Mixtures: every row of every part once, under one teacher, whatever the parts are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from understudy.data.files import AnswerFile
from understudy.data.hub import HubAnswers
from understudy.data.mixture import Mixture
from understudy.data.published import num_published
from understudy.records import CompletionSource, InputError, Instruction

ENGLISH = {"Say a": "b", "Say c": "d"}
CHINESE = {"解释细胞": "好", "Say c": "other"}


def part(folder: Path, name: str, answers: Mapping[str, str]) -> AnswerFile:
    rows = [{"instruction": asked, "output": output} for asked, output in answers.items()]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return AnswerFile(str(path))


def both(folder: Path) -> Sequence[CompletionSource]:
    return [part(folder, "en", ENGLISH), part(folder, "zh", CHINESE)]


def test_all_rows_in_the_parts_order_under_one_name(tmp_path: Path) -> None:
    found = Mixture(both(tmp_path), "gpt4").read()
    assert [(row.prompt.instruction, row.output, row.author) for row in found.rows] == [
        ("Say a", "b", "gpt4"),
        ("Say c", "d", "gpt4"),
        ("解释细胞", "好", "gpt4"),
    ]
    assert [row.prompt.lang for row in found.rows] == ["en", "en", "zh"]


def test_an_instruction_of_two_parts_is_the_first_ones_and_counted(tmp_path: Path) -> None:
    found = Mixture(both(tmp_path), "gpt4").read()
    assert found.dropped == Counter(duplicate_instruction=1)
    assert [(Path(file.path).name, file.rows) for file in found.inputs] == [
        ("en.json", 2),
        ("zh.json", 2),
    ]


def test_what_the_parts_left_out_is_counted_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        text = json.dumps(
            [{"instruction": name, "output": "x"}, {"instruction": "e", "output": ""}]
        )
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    parts = [AnswerFile(str(tmp_path / f"{n}.json"), empty_output="drop") for n in ("a", "b")]
    assert Mixture(parts, "t").read().dropped == Counter(empty_output=2)


def test_the_parts_are_asked_in_turn(tmp_path: Path) -> None:
    asked = [Instruction("q1", "解释细胞"), Instruction("q2", "Say c"), Instruction("q3", "?")]
    assert Mixture(both(tmp_path), "gpt4").answers(asked) == {"q1": "好", "q2": "d"}


def test_mixtures_of_equal_parts_are_equal(tmp_path: Path) -> None:
    english, chinese = both(tmp_path)
    assert Mixture([english, chinese], "gpt4") == Mixture((english, chinese), "gpt4")
    assert Mixture([english, chinese], "gpt4") != Mixture([english], "gpt4")
    assert Mixture([english], "gpt4") != Mixture([english], "gpt35")


def test_a_mixture_can_be_a_part(tmp_path: Path) -> None:
    english, chinese = both(tmp_path)
    nested = Mixture([Mixture([english], "x"), chinese], "gpt4")
    assert nested.read() == Mixture([english, chinese], "gpt4").read()


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="mixture 'gpt4' has no parts"):
        Mixture([], "gpt4")


def test_a_part_given_twice_is_refused(tmp_path: Path) -> None:
    english = part(tmp_path, "en", ENGLISH)
    with pytest.raises(InputError, match="part 2 of the mixture 'gpt4' has 2 rows, all of them in"):
        Mixture([english, english], "gpt4").read()


def test_published_rows_are_known_before_anything_is_read() -> None:
    english = HubAnswers(name="en", repo="a/b", num_rows=52_002)
    chinese = HubAnswers(name="zh", repo="a/c", num_rows=48_818)
    unknown = AnswerFile("nowhere.json")
    assert num_published(english) == 52_002
    assert num_published(Mixture([english, chinese], "gpt4")) == 100_820
    assert num_published(Mixture([english, unknown], "gpt4")) is None
    assert num_published(unknown) is None
