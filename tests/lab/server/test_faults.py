"""What goes wrong goes wrong as it was asked for: on one request, or on a share of all."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import openai
import pytest

from lab.server.asking import FIRST, Lab
from understudy.forms.judging import PAIR_REVIEW
from understudy.forms.rating import RATING
from understudy.lab.server.faults import NAMES, FaultRates, Faults
from understudy.records import InputError

REFUSALS = {
    "429": (429, "rate_limit_exceeded"),
    "429_bare": (429, "rate_limit_exceeded"),
    "insufficient_quota": (429, "insufficient_quota"),
    "500": (500, None),
    "503": (503, None),
    "content_filter_400": (400, "content_filter"),
}
FORM = RATING.render(instruction=FIRST, response="answer : c")


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_has_openais_body_and_costs_nothing(fault: str, lab: Lab) -> None:
    before = lab.bill()
    said = lab.chat(x_lab_fault=fault)
    assert (said.status, said.error["code"]) == REFUSALS[fault]
    bill = lab.bill(said.headers["x-request-id"])
    assert (bill["outcome"], bill["fault"], bill["picodollars"]) == ("refused", fault, 0)
    after = lab.bill()
    assert after["billed_picodollars"] == before["billed_picodollars"]
    assert after["requests"] == before["requests"] + 1


@pytest.mark.parametrize(
    ("fault", "expected"), [("429", "1"), ("429:2.5", "2.5"), ("429_bare", None), ("500", None)]
)
def test_only_a_limit_says_when_to_come_back(fault: str, expected: str | None, lab: Lab) -> None:
    assert lab.chat(x_lab_fault=fault).headers.get("retry-after") == expected


@pytest.mark.parametrize("fault", ["dropped", "dropped_midway"])
def test_a_dropped_connection_is_the_clients_connection_error(fault: str, lab: Lab) -> None:
    with pytest.raises(openai.APIConnectionError):
        lab.ask(FIRST, extra_headers={"x-lab-fault": fault})
    assert lab.answer(FIRST) == "c a b answer : c"


def test_half_a_json_is_whole_http(lab: Lab) -> None:
    said = lab.chat(x_lab_fault="truncated_json")
    assert said.status == 200
    assert len(said.content) == int(said.headers["content-length"])
    with pytest.raises(json.JSONDecodeError):
        json.loads(said.content)
    assert lab.bill(said.headers["x-request-id"])["outcome"] == "dropped"


@pytest.mark.parametrize(
    ("fault", "text", "finish", "tokens"),
    [
        ("empty", "", "stop", 0),
        ("null", None, "stop", 0),
        ("content_filter", None, "content_filter", 0),
        ("length", "c a b", "length", 3),
    ],
)
def test_a_reply_can_lack_its_text(
    fault: str, text: str | None, finish: str, tokens: int, lab: Lab
) -> None:
    reply = lab.ask(FIRST, extra_headers={"x-lab-fault": fault})
    (choice,) = reply.choices
    assert (choice.message.content, choice.finish_reason) == (text, finish)
    bill = lab.bill(reply.id)
    assert (bill["outcome"], bill["is_full"]) == ("answered", fault == "length")
    assert bill["picodollars"] == 7 * 30_000_000 + tokens * 60_000_000


def test_a_slow_reply_is_late_by_the_stated_time(lab: Lab) -> None:
    start = time.monotonic()
    assert lab.chat(x_lab_fault="slow:0.3").status == 200
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize("model", ["lab-rater", "lab-judge"])
def test_a_malformed_rating_has_no_number_at_its_beginning(model: str, lab: Lab) -> None:
    pair = PAIR_REVIEW.render(question=FIRST, answer_1="answer : c", answer_2="answer : a")
    prompt = FORM if model == "lab-rater" else pair
    malformed = lab.answer(prompt, model, extra_headers={"x-lab-fault": "malformed"})
    assert not any(character.isdigit() for character in malformed)
    assert lab.answer(prompt, model)[0].isdigit()


def test_a_fault_that_there_is_not_is_refused_by_name(lab: Lab) -> None:
    said = lab.chat(x_lab_fault="fire")
    assert (said.status, said.error["param"]) == (400, "x-lab-fault")
    assert "429_bare" in said.error["message"]
    assert lab.chat(x_lab_fault="slow:soon").status == 400


def test_other_paths_have_refusals_on_request_too(lab: Lab) -> None:
    assert lab.post("/v1/batches", {}, x_lab_fault="503").status == 503


def test_rates_fall_on_their_share_of_requests_and_a_repeat_is_another_throw() -> None:
    rates = FaultRates(rate_429=0.1, rate_dropped=0.05)
    faults = Faults(rates, seed=0)
    drawn = [faults.on(number, "same") for number in range(20_000)]
    counts = Counter(None if each is None else each.name for each in drawn)
    assert set(counts) == {None, "429", "dropped"}
    assert counts["429"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts["dropped"] / 20_000 == pytest.approx(0.05, abs=0.01)
    assert drawn == [Faults(rates, seed=0).on(number, "same") for number in range(20_000)]
    assert drawn != [Faults(rates, seed=1).on(number, "same") for number in range(20_000)]


def test_a_server_with_rates_counts_what_it_did(serve: Callable[..., Lab]) -> None:
    lab = serve(faults=FaultRates(rate_500=0.5))
    statuses = Counter(str(lab.chat({"seed": number}).status) for number in range(40))
    bill = lab.bill()
    assert bill["statuses"] == statuses
    assert bill["faults"] == {"500": statuses["500"]}
    assert 8 <= statuses["500"] <= 32


@pytest.mark.parametrize("rates", [{"rate_429": 1.1}, {"rate_429": -0.1}, {"slow_seconds": -1.0}])
def test_rates_that_are_no_shares_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"server\.faults"):
        FaultRates(**rates)


def test_rates_that_are_more_than_a_whole_are_refused() -> None:
    with pytest.raises(InputError, match="together more than 1"):
        FaultRates(**{f"rate_{name}": 0.1 for name in NAMES})
