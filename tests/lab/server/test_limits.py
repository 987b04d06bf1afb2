"""The server's own limits hold in any minute, and its headers say how much is left."""

from __future__ import annotations

import random
from collections.abc import Callable

import openai
import pytest

from lab.server.asking import FIRST, Lab
from understudy.lab.server.errors import ApiError
from understudy.lab.server.limits import Limits


def test_no_minute_has_more_than_the_limits_and_a_wait_suffices() -> None:
    rng = random.Random(0)
    now = 0.0
    held = Limits(requests_per_minute=20, tokens_per_minute=300, clock=lambda: now)
    taken: list[tuple[float, int]] = []
    for _ in range(2000):
        now += rng.expovariate(1.0)
        tokens = rng.randint(1, 40)
        try:
            held.take(tokens)
        except ApiError as refused:
            wait = float(dict(refused.headers)["retry-after"])
            now += wait + 0.001
            held.take(tokens)
        taken.append((now, tokens))
        last = [count for at, count in taken if at > now - 60]
        assert len(last) <= 20
        assert sum(last) <= 300
    facts = held.facts()
    assert facts["requests"] == {"limit": 20, "most_in_a_minute": 20}
    assert isinstance(facts["tokens"], dict)
    assert 280 <= facts["tokens"]["most_in_a_minute"] <= 300


def test_a_request_above_the_limit_passes_when_it_is_alone() -> None:
    now = 0.0
    held = Limits(tokens_per_minute=10, clock=lambda: now)
    held.take(50)
    with pytest.raises(ApiError):
        held.take(1)
    now = 60.0
    held.take(1)


def test_headers_count_down_and_a_refusal_says_when_to_come_back(
    serve: Callable[..., Lab],
) -> None:
    lab = serve(requests_per_minute=2, tokens_per_minute=1000)
    headers = [lab.chat().headers for _ in range(3)]
    assert [each["x-ratelimit-limit-requests"] for each in headers] == ["2"] * 3
    assert [each["x-ratelimit-remaining-requests"] for each in headers] == ["1", "0", "0"]
    assert [each["x-ratelimit-remaining-tokens"] for each in headers] == ["987", "974", "974"]
    assert headers[0]["x-ratelimit-reset-requests"] == "60.000s"
    assert "retry-after" not in headers[1]
    assert 50 < float(headers[2]["retry-after"]) <= 60
    with pytest.raises(openai.RateLimitError):
        lab.ask(FIRST)
    bill = lab.bill()
    assert bill["statuses"] == {"200": 2, "429": 2}
    assert bill["limits"] == {
        "requests": {"limit": 2, "most_in_a_minute": 2},
        "tokens": {"limit": 1000, "most_in_a_minute": 26},
        "refused": 2,
    }


def test_no_limits_have_no_headers(lab: Lab) -> None:
    assert not any(name.startswith("x-ratelimit") for name in lab.chat().headers)
