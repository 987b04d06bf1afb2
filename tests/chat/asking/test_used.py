from __future__ import annotations

from dataclasses import replace

from understudy.chat.asking.used import Used
from understudy.chat.requests import Reply

FIRST = Reply("aa" * 32, "3", "stop", "m-1", 10, 3, 0.1, created="2026-01-02T00:00:00+00:00")
EMPTY = Reply("bb" * 32, "", "stop", "m-2", 10, 0, 0.2, created="2026-01-01T00:00:00+00:00")


def test_each_reply_counts_once_however_often_it_is_read_and_whatever_it_says() -> None:
    used = Used()
    for reply in (FIRST, EMPTY, FIRST):
        used.count(reply)
    assert used.facts() == {
        "models": {"m-1": 1, "m-2": 1},
        "prompt_tokens": 20,
        "completion_tokens": 3,
        "usd": 0.3,
        "first_reply": EMPTY.created,
        "last_reply": FIRST.created,
    }


def test_one_reply_without_a_price_makes_the_sum_unknown() -> None:
    used = Used()
    used.count(FIRST)
    used.count(replace(EMPTY, cost_usd=None))
    used.count(replace(FIRST, key="cc" * 32))
    assert used.usd is None
    assert used.facts()["usd"] is None


def test_nothing_read_is_nothing_paid() -> None:
    assert (Used().facts()["usd"], Used().facts()["first_reply"]) == (0.0, None)
