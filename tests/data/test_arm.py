"""Arms: the same instructions in every arm, the same in every run, and every row accounted for."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.arm import DataArm, PreparedArm
from understudy.data.contamination import Decontamination
from understudy.data.files import AnswerFile, siblings
from understudy.data.questions import QuestionFile
from understudy.data.selection import Selection
from understudy.encoding import Encoder
from understudy.prompts import ALPACA_COMPACT
from understudy.records import (
    Completion,
    InputError,
    InputFile,
    Instruction,
    SourceRows,
    instruction_id,
)


@dataclass(frozen=True)
class Answers:
    """A source in memory: (instruction, input) to output."""

    teacher: str
    texts: Mapping[tuple[str, str], str]
    dropped: int = 0

    def read(self) -> SourceRows:
        rows = [
            Completion(Instruction(instruction_id(*asked), *asked), output, self.teacher)
            for asked, output in self.texts.items()
        ]
        file = InputFile(f"{self.teacher}.json", "0" * 64, len(rows) + self.dropped)
        return SourceRows(rows, Counter(empty_output=self.dropped), [file])

    def answers(self, prompts: Sequence[Instruction]) -> Mapping[str, str]:
        return {}


def source(teacher: str, keys: range, *, words: int = 1, dropped: int = 0) -> Answers:
    """Answers of ``words`` words to an instruction of its own for each key."""
    texts = {(f"say {key}", ""): " ".join([teacher] * words) for key in keys}
    return Answers(teacher, texts, dropped)


def asked(arm: PreparedArm) -> tuple[list[str], list[str]]:
    return list(arm.train.ids), list(arm.val.ids)


def num_accounted(arm: PreparedArm) -> int:
    return len(arm.train) + len(arm.val) + arm.dropped.total()


STRONG, WEAK = source("strong", range(100), words=5), source("weak", range(100))


def test_arms_train_and_hold_out_the_same_instructions(word_encoder: Encoder) -> None:
    strong = DataArm(STRONG, [WEAK], num_val=10).prepare(word_encoder)
    weak = DataArm(WEAK, [STRONG], num_val=10).prepare(word_encoder)
    assert asked(strong) == asked(weak)
    assert (len(strong.train), len(strong.val)) == (90, 10)
    assert strong.prompts_sha256 == weak.prompts_sha256
    assert (strong.teacher, weak.teacher) == ("strong", "weak")
    assert (strong.num_supervised_tokens, weak.num_supervised_tokens) == (90 * 6, 90 * 2)
    assert [row.author for row in weak.held_out] == ["weak"] * 10


def test_the_order_of_a_file_changes_nothing(word_encoder: Encoder) -> None:
    backwards = Answers("strong", dict(reversed(list(STRONG.texts.items()))))
    one = DataArm(STRONG).prepare(word_encoder)
    other = DataArm(backwards).prepare(word_encoder)
    assert asked(one) == asked(other)
    assert one.prompts_sha256 == other.prompts_sha256


def test_an_instruction_missing_from_one_arm_is_in_none(word_encoder: Encoder) -> None:
    fewer = source("weak", range(30, 100), dropped=3)
    strong = DataArm(STRONG, [fewer], num_val=7).prepare(word_encoder)
    weak = DataArm(fewer, [STRONG], num_val=7).prepare(word_encoder)
    assert asked(strong) == asked(weak)
    assert strong.dropped == Counter(not_in_every_arm=30)
    assert weak.dropped == Counter(empty_output=3)
    assert num_accounted(strong) == 100
    assert num_accounted(weak) == 73


def test_a_row_too_long_in_one_arm_is_in_none(word_encoder: Encoder) -> None:
    texts = {**WEAK.texts, ("say 7", ""): "a " * 50, ("say 8", ""): "a " * 50}
    long, coder = Answers("long", texts), replace(word_encoder, max_length=20)
    dropping = replace(coder, overlength="drop", max_dropped_fraction=0.02)
    strong = DataArm(STRONG, [long], num_val=10).prepare(dropping)
    weak = DataArm(long, [STRONG], num_val=10).prepare(dropping)
    assert asked(strong) == asked(weak)
    assert strong.dropped == Counter(not_in_every_arm=2)
    assert weak.dropped == Counter(overlength=2)
    cut = DataArm(long, [STRONG], num_val=10).prepare(coder)
    assert (cut.dropped, cut.truncated) == (Counter(), Counter(truncated_response=2))


def test_a_smaller_number_of_examples_is_a_part_of_a_larger_one(word_encoder: Encoder) -> None:
    few = DataArm(STRONG, num_examples=20).prepare(word_encoder)
    more = DataArm(STRONG, num_examples=40).prepare(word_encoder)
    peer = DataArm(WEAK, [STRONG], num_examples=20).prepare(word_encoder)
    assert few.train.ids == more.train.ids[:20] == peer.train.ids
    assert few.val.ids == more.val.ids
    assert few.dropped == Counter(beyond_num_examples=70)
    assert few.prompts_sha256 != more.prompts_sha256


def test_an_equal_token_budget_takes_rows_until_it_is_reached(word_encoder: Encoder) -> None:
    budget: dict[str, Any] = {"budget": "supervised_tokens", "num_val": 10}
    strong = DataArm(STRONG, [WEAK], **budget).prepare(word_encoder)
    weak = DataArm(WEAK, [STRONG], **budget).prepare(word_encoder)
    assert (len(strong.train), strong.num_supervised_tokens) == (30, 180)
    assert (len(weak.train), weak.num_supervised_tokens) == (90, 180)
    assert strong.train.ids == weak.train.ids[:30]
    assert strong.dropped == Counter(beyond_token_budget=60)
    assert strong.prompts_sha256 == weak.prompts_sha256
    given_number = DataArm(STRONG, num_supervised_tokens=100, **budget).prepare(word_encoder)
    assert (len(given_number.train), given_number.num_supervised_tokens) == (16, 96)


def test_a_row_over_the_token_budget_makes_way_for_shorter_ones(word_encoder: Encoder) -> None:
    texts = {(f"say {key}", ""): " ".join("b" * (1 + 8 * (key % 2))) for key in range(100)}
    arm = DataArm(Answers("t", texts), budget="supervised_tokens", num_supervised_tokens=97)
    prepared, every = arm.prepare(word_encoder), DataArm(arm.source).prepare(word_encoder)
    assert prepared.num_supervised_tokens == 96  # sizes are 2 and 10
    assert set(prepared.train.num_supervised.tolist()) == {2, 10}
    assert prepared.dropped == Counter(beyond_token_budget=90 - len(prepared.train))
    order = [every.train.ids.index(each) for each in prepared.train.ids]
    assert order == sorted(order)
    assert order != list(range(len(order)))


@pytest.mark.parametrize("peers", [[], [STRONG]])
def test_a_budget_of_the_smallest_arm_needs_another_arm(peers: list[Answers]) -> None:
    said = (
        "data.budget=supervised_tokens needs data.num_supervised_tokens=N, or peers to take the "
        "smallest arm of"
    )
    with pytest.raises(InputError, match=re.escape(said)):
        DataArm(STRONG, peers, budget="supervised_tokens")


def test_a_peer_in_the_arms_own_file_is_the_arm(
    word_encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"instruction": f"say {key}", "output": "b"} for key in range(20)]
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text(json.dumps(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    own = AnswerFile("one.json", teacher="star")
    arm = DataArm(own, siblings(own, [str(tmp_path / "one.json"), "two.json"]))
    prepared = arm.prepare(word_encoder)
    assert [file.path for file in prepared.inputs] == ["one.json", "two.json"]
    assert list(prepared.references) == ["star", "two"]


def test_all_rows_of_an_instruction_are_on_one_side(word_encoder: Encoder) -> None:
    texts = {(f"say {key // 5}", f"{key}"): "b" for key in range(100)}
    arm = DataArm(Answers("t", texts), num_val=10).prepare(word_encoder)
    assert len(arm.val) == 10
    held_out = {row.prompt.instruction for row in arm.held_out}
    trained = {asked for asked, given in texts if instruction_id(asked, given) in arm.train.ids}
    assert (len(held_out), len(trained), held_out & trained) == (2, 18, set())


def test_a_world_of_few_instructions_is_split_by_row(word_encoder: Encoder) -> None:
    few = Answers("t", {("say", f"{key}"): "b" for key in range(100)})
    with pytest.raises(InputError, match=r"data\.split_by=row"):
        DataArm(few, num_val=10).prepare(word_encoder)
    assert len(DataArm(few, num_val=10, split_by="row").prepare(word_encoder).val) == 10


@pytest.mark.parametrize(
    ("num_rows", "options", "num_val"),
    [(100, {}, 10), (100, {"num_val": 4}, 4), (5, {}, 1), (100, {"num_val": 0}, 0), (2, {}, 1)],
)
def test_how_many_are_held_out(
    word_encoder: Encoder, num_rows: int, options: dict[str, Any], num_val: int
) -> None:
    arm = DataArm(source("t", range(num_rows)), **options).prepare(word_encoder)
    assert (len(arm.val), len(arm.train)) == (num_val, num_rows - num_val)


def test_held_out_questions_have_every_teachers_answer(word_encoder: Encoder) -> None:
    arm = DataArm(STRONG, [WEAK], num_val=3).prepare(word_encoder)
    questions = arm.held_out_questions()
    assert [each.prompt.id for each in questions] == list(arm.val.ids)
    assert {tuple(each.references.items()) for each in questions} == {
        (("strong", "strong strong strong strong strong"), ("weak", "weak"))
    }


def test_every_arm_trains_its_tokenizer_on_the_same_texts(word_encoder: Encoder) -> None:
    strong = DataArm(STRONG, [WEAK], num_val=10, num_examples=3)
    weak = DataArm(WEAK, [STRONG], num_val=10)
    corpus = list(strong.corpus(ALPACA_COMPACT))
    assert corpus == list(weak.corpus(ALPACA_COMPACT))
    assert (len(corpus), corpus[90], corpus[180]) == (
        270,
        "strong strong strong strong strong",
        "weak",
    )
    held_out = {row.prompt.instruction for row in weak.prepare(word_encoder).held_out}
    assert not {ALPACA_COMPACT.render(text) for text in held_out} & set(corpus)


def test_files_of_all_arms_are_named_and_a_peer_that_is_the_arm_is_not_one(
    word_encoder: Encoder,
) -> None:
    arm = DataArm(STRONG, [STRONG, WEAK]).prepare(word_encoder)
    assert [file.path for file in arm.inputs] == ["strong.json", "weak.json"]


def test_a_second_run_finds_its_tokens(word_encoder: Encoder, tmp_path: Path) -> None:
    first = DataArm(STRONG, [WEAK], cache_dir=str(tmp_path)).prepare(word_encoder)
    files = sorted(tmp_path.iterdir())
    second = DataArm(WEAK, [STRONG], cache_dir=str(tmp_path)).prepare(word_encoder)
    assert sorted(tmp_path.iterdir()) == files
    assert len(files) == 2
    assert asked(first) == asked(second)


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (
            DataArm(STRONG, [source("weak", range(51, 200))]),
            r"only 49 .* \(strong: 100, weak: 149\)",
        ),
        (DataArm(STRONG, [source("weak", range(200, 300))]), r"0 valid instructions in every arm"),
        (DataArm(source("t", range(1))), r"1 valid instructions in every arm \(t: 1\)"),
        (DataArm(STRONG, [source("strong", range(9))]), r"2 arms .* called 'strong'"),
        (DataArm(STRONG, num_examples=91), r"num_examples=91 .* more than the 90 training rows"),
        (
            DataArm(STRONG, budget="supervised_tokens", num_supervised_tokens=1000),
            r"asks for more than the 540 of the smallest arm",
        ),
        (
            DataArm(STRONG, budget="supervised_tokens", num_supervised_tokens=5),
            r"less than the shortest row has \(6\)",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_numbers(
    word_encoder: Encoder, arm: DataArm, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        arm.prepare(word_encoder)


def test_too_little_in_common_may_be_accepted(word_encoder: Encoder) -> None:
    arm = DataArm(STRONG, [source("weak", range(51, 200))], min_common_fraction=0.32)
    assert num_accounted(arm.prepare(word_encoder)) == 100


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": "tokens"}, r"data\.budget='tokens' is unknown; choose one of examples, "),
        ({"split_by": "task"}, r"data\.split_by='task' is unknown"),
        ({"num_examples": 0}, r"data\.num_examples=0"),
        ({"num_val": -1}, r"data\.num_val=-1"),
        ({"max_val_fraction": 1.0}, r"data\.max_val_fraction=1\.0"),
        ({"num_supervised_tokens": 9}, r"has no effect with data\.budget=examples"),
    ],
)
def test_values_that_cannot_work_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        DataArm(STRONG, **wrong)


keys = st.sets(st.integers(0, 30), min_size=1)


@given(
    mine=keys,
    theirs=keys,
    limits=st.tuples(st.integers(0, 8), st.integers(1, 20), st.integers(6, 12)),
)
def test_any_two_arms_agree_and_account_for_every_row(
    word_encoder: Encoder, mine: set[int], theirs: set[int], limits: tuple[int, int, int]
) -> None:
    num_val, num_examples, max_length = limits
    texts = {key: (f"say {key % 7}", " ".join("a" * (key % 3))) for key in range(31)}
    sources = [
        Answers(name, {texts[key]: " ".join("b" * (1 + key % 5)) for key in sorted(chosen)}, 2)
        for name, chosen in (("mine", mine), ("theirs", theirs))
    ]
    options: dict[str, Any] = {
        "num_val": num_val,
        "num_examples": num_examples,
        "min_common_fraction": 0.0,
    }
    coder = replace(
        word_encoder, max_length=max_length, overlength="drop", max_dropped_fraction=1.0
    )
    try:
        one = DataArm(sources[0], sources[1:], **options).prepare(coder)
    except InputError:
        with pytest.raises(InputError):
            DataArm(sources[1], sources[:1], **options).prepare(coder)
        return
    other = DataArm(sources[1], sources[:1], **options).prepare(coder)
    assert asked(one) == asked(other)
    assert num_accounted(one) == one.inputs[0].rows
    assert num_accounted(other) == other.inputs[0].rows
    assert not set(one.train.ids) & set(one.val.ids)


def test_a_selection_leaves_the_held_out_rows_and_the_tokenizers_texts_alone(
    word_encoder: Encoder,
) -> None:
    """Equal length is asked of training rows; all arms of the sweep hold out the same."""
    uneven = Answers("weak", {asked: " ".join(["weak"] * (1 + int(asked[0][4:]) % 2 * 4))
                              for asked in STRONG.texts})  # fmt: skip
    plain = DataArm(STRONG, [uneven], num_val=10)
    matched = replace(plain, selection=Selection(max_length_ratio=1.25))
    every, chosen = plain.prepare(word_encoder), matched.prepare(word_encoder)
    assert chosen.val.ids == every.val.ids
    assert list(matched.corpus(ALPACA_COMPACT)) == list(plain.corpus(ALPACA_COMPACT))
    odd = [instruction_id(f"say {key}") for key in range(1, 100, 2)]
    assert set(chosen.train.ids) == set(every.train.ids) & set(odd)
    assert chosen.dropped["length_mismatch"] == 90 - len(chosen.train)
    assert num_accounted(chosen) == 100
    assert chosen.prompts_sha256 != every.prompts_sha256


@pytest.mark.parametrize("mode", ["warn", "drop"])
def test_questions_that_will_be_asked_are_named_and_leave_when_asked_to(
    word_encoder: Encoder, tmp_path: Path, mode: str
) -> None:
    """Dropped from training and from the held-out rows alike, and counted."""
    planted = [f"say {key}" for key in (3, 4, 5)]
    file = tmp_path / "asked.json"
    file.write_text(json.dumps([{"instruction": text.upper()} for text in planted]))
    decontamination = Decontamination(mode, questions=QuestionFile(str(file)))
    arm = DataArm(STRONG, num_val=10, selection=Selection(decontamination=decontamination))
    prepared = arm.prepare(word_encoder)
    assert {match.id for match in prepared.matches} == set(map(instruction_id, planted))
    num_left_out = 3 if mode == "drop" else 0
    assert prepared.dropped["contaminated"] == num_left_out
    assert num_accounted(prepared) == 100
    kept = {*prepared.train.ids, *prepared.val.ids}
    assert len(kept) == 100 - num_left_out
    assert kept.isdisjoint({match.id for match in prepared.matches}) == (mode == "drop")
