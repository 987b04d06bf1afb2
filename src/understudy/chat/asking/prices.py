"""What models cost, from a dated list: a model that is not on it has no price, which is not 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.records import InputError

_MILLION = 1_000_000
Price = Mapping[str, float]


@dataclass(frozen=True)
class PriceList:
    """Prices of a day.

    Args:
        date: When they were read.
        source: Where.
        usd_per_million: Of each model ``input`` and ``output``, in USD a million tokens; null says
            that the price is not known.
        batch_discount: What is taken off in the Batch API: 0.5 is half.
        same_as: A model to another with the same price.
        any_other: What a model costs that is not on the list; null is not known.

    Raises:
        InputError: A price is no number, or a name leads nowhere.
    """

    date: str
    source: str
    usd_per_million: Mapping[str, Price | None]
    batch_discount: float = 0.5
    same_as: Mapping[str, str] = field(default_factory=dict)
    any_other: Price | None = None

    def __post_init__(self) -> None:
        """Refuses a list that cannot be used."""
        if not 0 <= self.batch_discount < 1:
            raise InputError(
                f"prices.batch_discount={self.batch_discount} must be at least 0 and below 1"
            )
        for model, price in self.usd_per_million.items():
            _check(f"prices.usd_per_million of {model}", price)
        _check("prices.any_other", self.any_other)
        for model, other in self.same_as.items():
            if other not in self.usd_per_million:
                raise InputError(
                    f"prices.same_as: {model} is to cost what {other} does, which has no price"
                )

    def of(self, model: str) -> tuple[float, float] | None:
        """USD a million tokens of input and of output; null where it is not known."""
        if model not in self.usd_per_million:
            model = self.same_as.get(model, model)
        price = self.usd_per_million.get(model, self.any_other)
        return None if price is None else (float(price["input"]), float(price["output"]))

    def cost(
        self,
        model: str,
        prompt_tokens: float | None,
        completion_tokens: float | None,
        *,
        batch: bool = False,
    ) -> float | None:
        """USD of so many tokens; null where price or tokens are not known.

        >>> prices = PriceList("2026-01-01", "-", {"m": {"input": 10, "output": 30}})
        >>> prices.cost("m", 1000, 500), prices.cost("m", 1000, 500, batch=True)
        (0.025, 0.0125)
        >>> prices.cost("n", 1000, 500) is None
        True
        """
        price = self.of(model)
        if price == (0, 0):
            return 0.0
        if price is None or prompt_tokens is None or completion_tokens is None:
            return None
        cost = (price[0] * prompt_tokens + price[1] * completion_tokens) / _MILLION
        return cost * (1 - self.batch_discount) if batch else cost


def _check(place: str, price: Price | None) -> None:
    if price is None:
        return
    if not isinstance(price, Mapping) or set(price) != {"input", "output"}:
        raise InputError(f"{place} is {price}; type {{input: USD, output: USD}}, or null")
    for kind, value in price.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise InputError(f"{place}: {kind} {value} is no price; type USD a million tokens")
