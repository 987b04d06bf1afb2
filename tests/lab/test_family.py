"""Writing an answer and reading it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.lab.family import Words, key_symbol, read_answer, write_answer, write_off_format

WORDS = st.lists(st.sampled_from(["a", "7", "yes", "the", "answer"]), max_size=6).map(tuple)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("answer : a", ("a",)),
        ("a c f answer : a", ("a",)),
        ("answer : f c a", ("f", "c", "a")),
        ("answer : a answer : b", ("a", "answer", ":", "b")),
        ("answer answer : a", ("a",)),
        ("", None),
        ("a", None),
        ("maybe a", None),
        ("answer", None),
        ("answer :", None),
        ("answer a", None),
        (": a", None),
        ("answer: a", None),
        ("Answer : a", None),
    ],
)
def test_reads_what_follows_the_first_marker_and_guesses_nothing(
    response: str, answer: Words | None
) -> None:
    assert read_answer(tuple(response.split())) == answer


@given(explanation=WORDS, answer=WORDS.filter(bool))
def test_a_written_answer_is_read_back(explanation: Words, answer: Words) -> None:
    assert read_answer(write_answer(explanation, answer)) == answer


@given(answer=WORDS)
def test_an_off_format_answer_is_never_read(answer: Words) -> None:
    assert read_answer(write_off_format(answer)) is None


def test_the_key_symbol_is_the_first_word() -> None:
    assert key_symbol(("c", ":", "a")) == "c"
