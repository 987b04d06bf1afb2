"""What is not on the list has no price, which is not 0; nothing is guessed from a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.asking.prices import PriceList
from understudy.lab.teachers import HABITS
from understudy.records import InputError

CONF = Path(__file__).parents[3] / "conf" / "prices"


def shipped(name: str) -> PriceList:
    values: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert values.pop("_target_") == "understudy.chat.asking.prices.PriceList"
    return PriceList(**values)


def test_the_papers_bill_by_hand() -> None:
    # 52,002 answers of gpt-4 at 115 tokens in and 220 out: 52,002 * (115 * 30 + 220 * 60) / 1e6
    prices = shipped("default")
    assert prices.cost("gpt-4-0613", 52_002 * 115, 52_002 * 220) == pytest.approx(865.8333)
    assert prices.cost("gpt-4-0613", 52_002 * 115, 52_002 * 220, batch=True) == pytest.approx(
        432.91665
    )


def test_every_teacher_of_the_lab_has_a_price_and_every_other_name_leads_to_one() -> None:
    prices = shipped("default")
    lab = [f"lab-{name}" for name in (*HABITS, "rater", "judge", "translator", "inventor")]
    for model in (*lab, *prices.same_as, *prices.usd_per_million):
        price = prices.of(model)
        assert price is not None
        assert min(price) > 0
    assert prices.of("gpt-4o-2024-11-20") == prices.of("gpt-4o") == (2.5, 10)


@pytest.mark.parametrize("model", ["gpt-4o-2025-01-01", "gpt-4-", "GPT-4", "my-deployment", ""])
def test_no_price_is_guessed(model: str) -> None:
    assert shipped("default").of(model) is None
    assert shipped("default").cost(model, 1, 1) is None


def test_a_server_of_ones_own_costs_nothing_where_it_is_said() -> None:
    assert shipped("local").cost("whatever/it-is", None, None) == 0.0


def test_unknown_tokens_have_no_price() -> None:
    prices = PriceList("d", "s", {"m": {"input": 1, "output": 2}})
    assert prices.cost("m", None, 5) is None
    assert prices.cost("m", 5, None) is None


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 0.99))
def test_cost_is_linear_and_a_batch_is_its_share(tokens: int, more: int, discount: float) -> None:
    prices = PriceList("d", "s", {"m": {"input": 3.5, "output": 7}}, discount)
    cost = prices.cost("m", tokens, more)
    assert cost is not None
    assert cost == pytest.approx((3.5 * tokens + 7 * more) / 1e6)
    assert prices.cost("m", tokens, more, batch=True) == pytest.approx(cost * (1 - discount))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"usd_per_million": {"m": {"input": 1}}}, "of m is"),
        ({"usd_per_million": {"m": {"input": 1, "output": -2}}}, "output -2"),
        ({"usd_per_million": {"m": {"input": "1", "output": 2}}}, "input 1"),
        ({"usd_per_million": {"m": {"input": True, "output": 2}}}, "input True"),
        ({"usd_per_million": {"m": {"input": float("nan"), "output": 2}}}, "input nan"),
        ({"usd_per_million": {"m": 5}}, "of m is 5"),
        ({"same_as": {"a": "b"}}, "a is to cost what b does"),
        ({"batch_discount": 1.0}, "batch_discount=1.0"),
        ({"any_other": {"input": 1}}, "any_other"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PriceList(**{"date": "d", "source": "s", "usd_per_million": {}, **wrong})
