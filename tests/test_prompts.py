"""The templates: golden hashes of the released text, and values that look like code."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.prompts import (
    ALPACA,
    ALPACA_COMPACT,
    ChatTemplate,
    has_input,
    prompt_template,
    without_oldest,
)
from understudy.records import Turn


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_alpaca_with_input_has_the_released_text() -> None:
    text = ALPACA.render("{instruction}", "{input}")
    assert len(text) == 224
    assert sha256(text) == "28811e9850d9511bab334d167a03a8a37614535fdb28d645492efac8e9951c0f"


def test_alpaca_without_input_has_the_released_text() -> None:
    text = ALPACA.render("{instruction}")
    assert len(text) == 152
    assert sha256(text) == "35101bc36d10997c7d926d8f21f7d173aec6523f3a57d78821b944a89925cdca"


def test_braces_in_values_stay_as_they_are() -> None:
    code = 'print("{0}".format({"input": {instruction}})) %s {input}'
    assert code in ALPACA.render(code, code)
    assert ALPACA.render(code, code).count(code) == 2


@given(st.text(), st.text().filter(has_input))
def test_values_stand_in_the_prompt_unchanged(instruction: str, given_input: str) -> None:
    start, middle, end = ALPACA.with_input
    expected = start + instruction + middle + given_input + end
    assert ALPACA.render(instruction, given_input) == expected


@pytest.mark.parametrize(
    "nothing", [None, "", " ", "\n\t", "<noinput>", "<NoInput>", " <noinput> "]
)
def test_input_that_says_nothing_is_no_input(nothing: str | None) -> None:
    assert not has_input(nothing)
    assert ALPACA.render("Say hi", nothing) == ALPACA.render("Say hi")
    assert "### Input:" not in ALPACA.render("Say hi", nothing)


@pytest.mark.parametrize("something", ["0", "noinput", "None", "<noinput> but more", "。"])
def test_input_that_says_something_is_input(something: str) -> None:
    assert has_input(something)
    assert f"### Input:\n{something}\n" in ALPACA.render("Say hi", something)


def test_the_compact_template_has_the_same_structure() -> None:
    assert ALPACA_COMPACT.render("say", "a b") == "<instruction> say <input> a b <response>"
    assert ALPACA_COMPACT.render("say") == "<instruction> say <response>"


def test_the_response_separator_ends_both_forms_and_changes_the_hash() -> None:
    lora = prompt_template("alpaca", response_sep="\n")
    assert lora.render("x").endswith("### Response:\n")
    assert lora.render("x", "y").endswith("### Response:\n")
    assert len({lora.sha256, ALPACA.sha256, ALPACA_COMPACT.sha256}) == 3
    assert prompt_template("alpaca") == ALPACA


def test_an_unknown_template_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'alpacca'; choose one of alpaca, alpaca_compact"):
        prompt_template("alpacca")


def test_a_chats_hash_is_its_texts() -> None:
    assert ChatTemplate("x").sha256 == sha256("x")
    assert (ChatTemplate.name, ChatTemplate.response_sep) == ("chat_template", "")


@pytest.mark.parametrize(
    ("roles", "left"), [("suaua", "sua"), ("sua", "s"), ("uuaa", "uaa"), ("u", ""), ("s", None)]
)
def test_the_oldest_exchange_goes_whole_and_the_system_turn_stays(
    roles: str, left: str | None
) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    kept = without_oldest([Turn(names[role], str(at)) for at, role in enumerate(roles)])
    assert left == (None if kept is None else "".join(turn.role[0] for turn in kept))
    assert kept is None or all(turn.content == roles_end(roles, kept, turn) for turn in kept[1:])


def roles_end(roles: str, kept: tuple[Turn, ...], turn: Turn) -> str:
    """The place that a turn had: those that stay are the last."""
    return str(len(roles) - len(kept) + kept.index(turn))
