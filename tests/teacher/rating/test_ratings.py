"""How a rating is read from a reply, and what ratings say of who answered."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.teacher.rating.ratings import read_rating, statistics_of


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("8", 8.0),
        ("8\nGood.", 8.0),
        ("\n\n  9  \n\nGood.", 9.0),
        ("7.5", 7.5),
        ("10", 10.0),
        ("1", 1.0),
        ("8/10", 8.0),
        ("8 / 10\r\nGood.", 8.0),
        ("score 8", 8.0),
        ("Score: 8.5", 8.5),
        ("score=3/10", 3.0),
    ],
)
def test_a_score_alone_on_the_first_line_is_a_rating(reply: str, score: float) -> None:
    rating = read_rating(reply)
    assert (rating.score, rating.problem) == (score, "")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("I would say 8", "no_score"),
        ("8 out of 10", "no_score"),
        ("8/100", "no_score"),
        ("8, 9", "no_score"),
        ("-3", "no_score"),
        ("8.", "no_score"),
        ("**8**", "no_score"),
        ("八", "no_score"),
        ("Good.\n8", "no_score"),
        ("nan", "no_score"),
        ("0", "out_of_range"),
        ("0.5\nBad.", "out_of_range"),
        ("10.5", "out_of_range"),
        ("85", "out_of_range"),
        ("9" * 400, "out_of_range"),
    ],
)
def test_whatever_else_a_reply_says_is_no_score_and_is_told_apart(reply: str, problem: str) -> None:
    rating = read_rating(reply)
    assert (rating.score, rating.problem) == (None, problem)
    assert rating.explanation == reply.strip()


@given(st.integers(min_value=2, max_value=20), st.text(max_size=40))
def test_halves_are_scores_and_what_follows_is_the_explanation(halves: int, why: str) -> None:
    rating = read_rating(f"{halves / 2:g}\nbecause {why}")
    assert rating.score == halves / 2
    assert rating.explanation.startswith("because")


def test_statistics_are_those_worked_out_by_hand() -> None:
    prompts = [
        {"a": [9.0], "b": [9.0]},
        {"a": [9.0], "b": [7.0]},
        {"a": [6.0], "b": [4.0]},
        {"a": [8.0]},
    ]
    (a, b), ties = statistics_of(prompts, ["a", "b"])
    assert (a.n, a.mean.mean, a.nines, a.counts) == (4, 8.0, 0.5, {6.0: 1, 8.0: 1, 9.0: 2})
    assert a.sd == pytest.approx(math.sqrt(2))
    assert (b.n, b.mean.n) == (3, 3)
    assert b.mean.mean == pytest.approx(20 / 3)
    assert b.mean.low is not None
    assert b.mean.high is not None
    assert 4.0 <= b.mean.low < b.mean.high <= 9.0
    assert [(each.first, each.second, each.share.n) for each in ties] == [("a", "b", 3)]
    assert ties[0].share.mean == pytest.approx(1 / 3)


def test_several_answers_of_one_source_tie_with_each_other_and_weigh_as_one_prompt() -> None:
    prompts = [{"policy": [5.0, 5.0, 7.0]}, {"policy": [9.0]}]
    (policy,), (ties,) = statistics_of(prompts, ["policy"])
    assert policy.mean.mean == pytest.approx((17 / 3 + 9) / 2)
    assert policy.n == 4
    assert (ties.first, ties.second) == ("policy", "policy")
    assert ties.share.mean == pytest.approx(1 / 3)
    assert ties.share.n == 1


def test_nothing_rated_is_null_with_a_reason_and_no_zero() -> None:
    (a,), ties = statistics_of([{}, {}], ["a"])
    assert (a.mean.mean, a.sd, a.nines, a.n) == (None, None, None, 0)
    assert a.mean.reason
    assert ties == []
    (a,), _ = statistics_of([], ["a"])
    assert (a.mean.mean, a.n) == (None, 0)


@pytest.mark.skipif(
    "UNDERSTUDY_TEST_DATA" not in os.environ,
    reason="UNDERSTUDY_TEST_DATA names no folder of real data",
)
def test_the_released_scores_have_the_statistics_that_were_published() -> None:
    file = Path(os.environ["UNDERSTUDY_TEST_DATA"]) / "comparison" / "cmp_data_scores.json"
    released = json.loads(file.read_text())
    prompts = [{"gpt4": [float(score)]} for score in released["gpt4"]]
    (gpt4,), _ = statistics_of(prompts, ["gpt4"])
    assert gpt4.mean.mean == pytest.approx(8.9366, abs=1e-4)
    assert gpt4.sd == pytest.approx(0.503, abs=1e-3)
    assert gpt4.nines == pytest.approx(0.895, abs=1e-3)
    assert gpt4.counts[7.5] == 4
