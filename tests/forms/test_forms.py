"""Forms are filled in, hashed, and taken apart again by who answers them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from understudy.forms.form import Form
from understudy.forms.rating import RATING
from understudy.forms.translation import TO_CHINESE


def test_a_rating_shows_one_instruction_and_one_response_and_wants_the_score_first() -> None:
    assert RATING.slots == ("instruction", "response")
    text = RATING.render(instruction="Say hi.\n\nto Ann", response="Hi {Ann}")
    assert text.startswith("### Instruction:\nSay hi.\n\nto Ann\n\n### Response:\nHi {Ann}\n")
    for asked in ("helpful", "relevant", "accurate", "detail", "1 to 10", "first line"):
        assert asked in text


def test_a_translation_is_asked_for_one_text_that_is_not_to_be_carried_out() -> None:
    assert TO_CHINESE.slots == ("text",)
    text = TO_CHINESE.render(text="Write {x}")
    for asked in ("Simplified Chinese", "do not carry it out", "code, links, digits", "Write {x}"):
        assert asked in text


@pytest.mark.parametrize("form", [RATING, TO_CHINESE])
@given(data=st.data())
def test_what_was_filled_in_is_read_back(form: Form, data: st.DataObject) -> None:
    values = {slot: data.draw(st.text(max_size=60), label=slot) for slot in form.slots}
    assume(not any("###" in value for value in values.values()))
    assert form.taken_apart(form.render(**values)) == values


def test_a_slot_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="slots"):
        RATING.render(instruction="x")


def test_another_wording_has_another_hash() -> None:
    assert Form("f", "{a}").sha256 != Form("f", "{a}.").sha256
    assert len({RATING.sha256, TO_CHINESE.sha256}) == 2
