"""However answers turn out and in whatever order they come, the budget is never passed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.asking.budget import Budget, BudgetSpentError


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0, 20),
    st.integers(1, 8),
)
def test_spending_stays_within_the_budget_and_stops_only_when_the_next_would_not_fit(
    requests: list[tuple[float, float]], limit: float, num_workers: int
) -> None:
    """Each request has a bound and costs a share of it."""
    budget, waiting, refused = Budget(limit, 0.0), iter(requests), []

    async def work() -> None:
        for bound, share in waiting:
            try:
                await budget.reserve(bound)
            except BudgetSpentError:
                refused.append((bound, budget.spent_usd))
                return
            await asyncio.sleep(0)
            budget.settle(bound, bound * share)
            assert budget.spent_usd <= limit + 1e-6

    async def all_of_them() -> None:
        await asyncio.gather(*(work() for _ in range(num_workers)))

    asyncio.run(all_of_them())
    assert all(spent + bound > limit - 1e-6 for bound, spent in refused)
    if not refused:
        assert budget.spent_usd == pytest.approx(sum(bound * share for bound, share in requests))


def test_a_request_waits_for_what_turns_out_cheaper() -> None:
    order: list[str] = []

    async def go() -> None:
        budget = Budget(10.0, 0.0)
        await budget.reserve(6.0)

        async def second() -> None:
            await budget.reserve(5.0)
            order.append("second")

        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        order.append("first")
        budget.settle(6.0, 1.0)
        await waiting
        budget.settle(5.0, 5.0)
        with pytest.raises(BudgetSpentError):
            await budget.reserve(4.5)

    asyncio.run(go())
    assert order == ["first", "second"]


def test_without_a_limit_everything_goes() -> None:
    async def go() -> None:
        budget = Budget(None, 0.0)
        for _ in range(3):
            await budget.reserve(1e9)

    asyncio.run(go())
