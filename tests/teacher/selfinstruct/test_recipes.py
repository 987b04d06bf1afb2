"""What the two recipes show, send and refuse."""

from __future__ import annotations

import random
from typing import Any

import pytest

from understudy.chat.requests import Reply
from understudy.forms.selfinstruct import TASK_BLOCKS, TASK_LINES
from understudy.records import InputError
from understudy.teacher.selfinstruct.filters import Instance
from understudy.teacher.selfinstruct.recipes import Alpaca, InstanceSteps, SelfInstruct
from understudy.teacher.selfinstruct.seeds import SeedTask

SEEDS = [SeedTask(f"Do thing number {n}:", Instance(f"in {n}", f"out {n}")) for n in range(20)]
SAMPLING: dict[str, Any] = {"temperature": 1.0}
STEPS = InstanceSteps({}, {}, {})


def reply(text: str, finish: str = "stop") -> Reply:
    return Reply("key", text, finish, "model")


def test_alpaca_shows_three_whole_seeds_and_opens_the_fourth() -> None:
    prompt = Alpaca(SAMPLING).prompt(SEEDS, ["Invented"], random.Random(0))
    slots = TASK_BLOCKS.taken_apart(prompt)
    assert slots is not None
    assert (slots["number"], slots["language"]) == ("20", "English")
    assert slots["tasks"].endswith("\n###\n4. Instruction:")
    assert slots["tasks"].count("Instruction: Do thing number") == 3
    assert "Invented" not in prompt
    shown = next(n for n in range(20) if f"1. Instruction: Do thing number {n}\n" in prompt)
    assert f"1. Input:\nin {shown}\n1. Output:\nout {shown}\n###\n2." in prompt


@pytest.mark.parametrize("num_accepted", [0, 1, 2, 30])
def test_self_instruct_mixes_up_to_two_invented_ones_among_eight(num_accepted: int) -> None:
    accepted = [f"Invented {n}" for n in range(num_accepted)]
    places = set()
    for number in range(30):
        prompt = SelfInstruct(SAMPLING).prompt(SEEDS, accepted, random.Random(number))
        slots = TASK_LINES.taken_apart(prompt)
        assert slots is not None
        *lines, opened = slots["tasks"].splitlines()
        assert [line.partition(".")[0] for line in lines] == [str(n) for n in range(1, 9)]
        assert opened == "9."
        assert sum("Invented" in line for line in lines) == min(2, num_accepted)
        assert not any(line.endswith(":") for line in lines)
        places |= {place for place, line in enumerate(lines) if "Invented" in line}
    assert len(places) == (8 if num_accepted else 0)


def test_what_is_sent() -> None:
    sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 3072}
    alpaca = Alpaca(sampling)
    assert alpaca.params(None) == {**sampling, "stop": ["\n20.", "\n20 ."]}
    assert alpaca.params("gpt2")["logit_bias"] == {"50256": -100}
    assert alpaca.params("gpt-4")["logit_bias"] == {"100257": -100}
    assert "logit_bias" not in alpaca.params("unheard-of")
    assert "logit_bias" not in Alpaca(sampling, ban_end_of_text=False).params("gpt-4")
    assert SelfInstruct(SAMPLING).params("gpt-4") == {**SAMPLING, "stop": ["\n16.", "\n16 ."]}
    assert STEPS.stop == ["\nExample 6", "\nTask:"]


def test_the_whole_of_a_cut_list_is_dropped_but_of_cut_blocks_the_last_alone() -> None:
    lines = SelfInstruct(SAMPLING).candidates(reply(" Sing a song\n10. Hop", "length"))
    assert [each.fault for each in lines] == ["cut_by_length"] * 2
    text = " Sing.\n4. Input:\n<noinput>\n4. Output:\nLa.\n###\n5. Instruction: Hop"
    blocks = Alpaca(SAMPLING).candidates(reply(text, "length"))
    assert [each.fault for each in blocks] == ["", "cut_by_length"]


def test_a_chinese_recipe_asks_for_chinese_and_knows_both_blacklists() -> None:
    recipe = Alpaca(SAMPLING, lang="zh")
    assert "in Chinese" in recipe.prompt(SEEDS, [], random.Random(0))
    assert recipe.filter.fault("描述一下这张图片") == "blacklisted"
    assert recipe.filter.fault("写一首关于大海的诗") == ""
    assert SelfInstruct(SAMPLING).filter.fault("Recommend some music for us.") == ""
    assert Alpaca(SAMPLING).filter.fault("Recommend some music for us.") == "blacklisted"
    own = Alpaca(SAMPLING, blacklist=["sea"])
    assert own.filter.fault("Describe the sea in words") == "blacklisted"
    assert own.filter.fault("Describe the image in words") == ""


def test_each_form_has_a_hash_of_its_own() -> None:
    forms = [*Alpaca(SAMPLING).forms, *SelfInstruct(SAMPLING, STEPS).forms]
    assert len({form.sha256 for form in forms}) == len(forms) == 5
    assert len(SelfInstruct(SAMPLING).forms) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"request_batch": 0}, "request_batch=0"),
        ({"num_in_context": 0}, "num_in_context=0"),
        ({"num_in_context": 19}, "from 1 to 18"),
        ({"max_rouge_l": 0.0}, "max_rouge_l=0.0"),
        ({"expected_acceptance": 1.5}, "expected_acceptance=1.5"),
        ({"lang": "de"}, "lang=de"),
    ],
)
def test_numbers_that_ask_for_nothing_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Alpaca(SAMPLING, **values)


def test_self_instructs_own_numbers_are_refused_too() -> None:
    with pytest.raises(InputError, match="num_machine=9"):
        SelfInstruct(SAMPLING, num_machine=9)
    with pytest.raises(InputError, match=r"instances\.most=0"):
        InstanceSteps({}, {}, {}, most=0)
