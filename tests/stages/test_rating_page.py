"""The page of ratings says its numbers, and what could not be read."""

from __future__ import annotations

from understudy.stages.rating_page import rating_page
from understudy.teacher.rating.ratings import statistics_of

PROMPTS = [
    {"gpt4": [9.0], "弱": [4.5]},
    {"gpt4": [9.0], "弱": [9.0]},
    {"gpt4": [10.0], "弱": [3.0]},
]


def test_means_shares_ties_and_unreadable_replies_are_on_the_page() -> None:
    sources, ties = statistics_of(PROMPTS, ["gpt4", "弱"])
    page = rating_page("rater", sources, ties, {"no_score": ["<b>8</b>"]}, {"no_score": 7})
    assert "Mean rating: gpt4 9.33, 弱 5.50." in page
    assert "66.7%" in page
    assert "gpt4 and 弱" in page
    assert "33.3% [0.0%, 100.0%]" in page
    assert "&lt;b&gt;8&lt;/b&gt;" in page
    assert "<b>8</b>" not in page
    assert "6 answers, each rated alone from 1 to 10" in page
    assert page == rating_page("rater", sources, ties, {"no_score": ["<b>8</b>"]}, {"no_score": 7})


def test_without_a_rating_the_page_says_so_and_shows_no_zero() -> None:
    sources, ties = statistics_of([{}, {}], ["gpt4"])
    page = rating_page("rater", sources, ties, {"empty": [""]}, {"empty": 2})
    assert "No answer has a rating." in page
    assert "null: " in page
    assert "No prompt has two ratings." in page
