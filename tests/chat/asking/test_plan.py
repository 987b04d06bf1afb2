"""A plan by hand: calls, tokens, dollars, hours, and what binds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chat.ledgers import TEACHER
from understudy.chat.asking.asker import Asker
from understudy.chat.asking.prices import PriceList
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.requests import ChatRequest, Reply

PRICES = PriceList("2026-01-01", "-", {"gpt-4": {"input": 30.0, "output": 60.0}})
MODEL = ChatModel("gpt4", "gpt-4", base_url="http://127.0.0.1:1/v1", params={"max_tokens": 500})
REQUESTS = [ChatRequest.of_user("abcd" * 93, id=str(n), sample=n) for n in range(1000)]


@pytest.fixture
def asker(tmp_path: Path) -> Asker:
    return Asker(MODEL, str(tmp_path / "l.sqlite"), PRICES)


def test_calls_tokens_and_dollars_by_hand(asker: Asker) -> None:
    plan = asker.plan(iter(REQUESTS), expected_tokens=200)
    assert (plan.calls, plan.cached, plan.duplicates) == (1000, 0, 0)
    assert plan.prompt_tokens == 1000 * (93 + 4 + 3)
    assert (plan.most_tokens, plan.expected_tokens) == (500_000, 200_000)
    assert plan.usd_most == pytest.approx(0.1 * 30 + 0.5 * 60)
    assert plan.usd_expected == pytest.approx(0.1 * 30 + 0.2 * 60)
    assert plan.hours is None
    said = plan.facts()
    assert said["API calls"] == "1,000"
    assert said["cost"] == "at most $33.00, about $15.00 expected (prices of 2026-01-01)"
    assert said["time"].startswith("about 2.6 minutes at 32 at once, if an answer takes 1 s and 50")
    assert "budget" not in said
    assert not Path(asker.ledger).exists()


def test_a_batch_costs_half(asker: Asker) -> None:
    plan = replace(asker, batch=True).plan(REQUESTS, expected_tokens=200)
    assert plan.usd_most == pytest.approx(16.5)
    assert plan.usd_expected == pytest.approx(7.5)
    assert "Batch API" in plan.facts()["cost"]


@pytest.mark.parametrize(
    ("requests", "tokens", "hours", "binds"),
    [
        (10.0, None, 1000 / 10 / 60, "requests per minute"),
        (10.0, 2000.0, 300_000 / 2000 / 60, "tokens per minute"),
        (1.0, 2000.0, 1000 / 60, "requests per minute"),
    ],
)
def test_the_slower_limit_says_how_long_it_takes(
    asker: Asker, requests: float, tokens: float | None, hours: float, binds: str
) -> None:
    model = replace(MODEL, requests_per_minute=requests, tokens_per_minute=tokens)
    plan = replace(asker, model=model).plan(REQUESTS, expected_tokens=200)
    assert plan.hours == pytest.approx(hours)
    assert plan.bound_by == binds
    assert binds in plan.facts()["time"]


def test_what_the_ledger_holds_is_not_asked_and_tells_how_long_answers_are(asker: Asker) -> None:
    with Ledger.open(asker.ledger) as ledger:
        for request in REQUESTS[:10]:
            reply = Reply(MODEL.key_of(request), "a", "stop", "gpt-4", 100, 50, 1.0)
            ledger.add(request, MODEL, reply).result(10)
        other = ChatRequest.of_user("something else")
        long = Reply(TEACHER.key_of(other), "a", "stop", "lab", 1, 10**6, 2.0)
        ledger.add(other, TEACHER, long).result(10)
    plan = asker.plan([*REQUESTS, *REQUESTS[5:20]], expected_tokens=400)
    assert (plan.calls, plan.cached, plan.duplicates) == (990, 10, 15)
    assert plan.expected_tokens == 990 * 50
    assert plan.spent_usd == 12.0
    said = plan.facts()
    assert said["API calls"] == "990 (10 answered already; 15 asked twice, once is enough)"
    assert "as the 10 replies in the ledger have" in said["completion tokens"]
    assert "$12.00 spent" in said["ledger"]


def test_an_expectation_above_the_bound_is_the_bound(asker: Asker) -> None:
    plan = asker.plan(REQUESTS, expected_tokens=900)
    assert plan.expected_tokens == plan.most_tokens == 500_000


def test_no_price_and_no_bound_are_said_as_such(asker: Asker) -> None:
    unpriced = replace(asker, prices=replace(PRICES, usd_per_million={})).plan(REQUESTS)
    assert unpriced.usd_most is None
    assert "no price of gpt-4" in unpriced.facts()["cost"]
    unbounded = asker.with_params(max_tokens=None).plan(REQUESTS)
    assert unbounded.most_tokens is None
    assert "nothing bounds" in unbounded.facts()["cost"]
    expected = asker.with_params(max_tokens=None).plan(REQUESTS, expected_tokens=200)
    assert expected.usd_most is None
    assert expected.usd_expected == pytest.approx(15.0)


def test_budget_and_refused_parameters_are_named(asker: Asker) -> None:
    model = replace(MODEL, refused=("temperature",))
    plan = replace(asker, model=model, budget_usd=20.0).plan(REQUESTS)
    assert plan.facts()["budget"] == "$20.00, ledger included"
    assert "temperature" in plan.facts()["left out"]
