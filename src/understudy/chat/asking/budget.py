"""A budget that is never passed: a request goes out only if even its dearest answer still fits.

What is under way counts at its bound until its cost is known: no fewer prompt tokens than any
tokenizer would make of it, and as many of the answer as the model may write.
"""

from __future__ import annotations

import asyncio
import math

from understudy.chat.asking.prices import PriceList
from understudy.chat.asking.token_counts import most_tokens
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Counts, Ledger
from understudy.chat.requests import ChatRequest, Failure
from understudy.records import InputError

_WRITTEN = ("content_filter", "no_text", "timeout", "unreadable")


class BudgetSpentError(Exception):
    """The next request might pass the budget, and nothing under way can still make room for it."""


class FailuresError(Exception):
    """So many requests fail that going on would only cost; the text says how many, and the last."""


class Budget:
    """Lets requests go while they surely fit; without a limit, all."""

    def __init__(self, limit_usd: float | None, spent_usd: float) -> None:
        """``spent_usd`` is what the ledger's replies have cost."""
        self.limit_usd, self.spent_usd = limit_usd, spent_usd
        self._reserved = 0.0
        self._changed, self._turn = asyncio.Event(), asyncio.Lock()

    async def reserve(self, bound_usd: float) -> None:
        """Waits, in order of arrival, until a request that costs at most so much surely fits.

        Raises:
            BudgetSpentError: It never will.
        """
        async with self._turn:
            while not self._fits(bound_usd):
                if not self._reserved:
                    raise BudgetSpentError
                await self._changed.wait()
            self._reserved += bound_usd

    def settle(self, bound_usd: float, cost_usd: float) -> None:
        """Puts the cost of a request in the place of its bound."""
        self.spent_usd += cost_usd
        self._reserved = max(0.0, self._reserved - bound_usd)
        if self._reserved < 1e-12:  # rounding must not look like a request under way
            self._reserved = 0.0
        self._changed.set()
        self._changed.clear()

    def _fits(self, bound_usd: float) -> bool:
        if self.limit_usd is None:
            return True
        return self.spent_usd + self._reserved + bound_usd <= self.limit_usd + 1e-9


def bound_usd(
    request: ChatRequest, model: ChatModel, prices: PriceList, *, batch: bool
) -> float | None:
    """What a request costs at most; null where price or length have no bound."""
    return prices.cost(model.model, most_tokens(request.messages), model.max_tokens, batch=batch)


def may_be_billed(failure: Failure) -> bool:
    """Whether a request that was given up may have cost something: nobody says how much.

    An answer that a filter withheld, that came too late or that could not be read was written all
    the same; a refusal and a connection that never was are free.
    """
    return failure.kind in _WRITTEN and (failure.status or 0) < 400


def spent_before(ledger: Ledger, prices: PriceList, *, budget_usd: float | None) -> Counts:
    """What the ledger holds; under a budget no reply may be without a price.

    Raises:
        InputError: The cost of some is not known.
    """
    counts = ledger.counts()
    if budget_usd is not None and counts.unpriced:
        raise InputError(
            f"budget_usd={budget_usd:g} cannot be kept: {counts.unpriced:,} replies in "
            f"{ledger.path} have no price; leave budget_usd out, or type ledger=FILE for another"
        )
    return counts


def require_bounded(model: ChatModel, prices: PriceList, budget_usd: float | None) -> None:
    """Refuses a budget that nothing could keep.

    Raises:
        InputError: The model has no price, or no bound on its answers.
    """
    if budget_usd is None:
        return
    if not (math.isfinite(budget_usd) and budget_usd >= 0):
        raise InputError(f"budget_usd={budget_usd:g} is no amount; type dollars, such as 25")
    price = prices.of(model.model)
    if price is None:
        raise InputError(
            f"budget_usd={budget_usd:g} cannot be kept: the prices of {prices.date} have none for "
            f"{model.model}; type '+prices.usd_per_million={{{model.model}: {{input: USD, "
            "output: USD}}' (a million tokens), prices=local for a server of your own, or leave "
            "budget_usd out"
        )
    if model.max_tokens is None and price[1]:
        raise InputError(
            f"budget_usd={budget_usd:g} cannot be kept: nothing bounds an answer of "
            f"{model.model}; type teacher.params.max_tokens=512"
        )
