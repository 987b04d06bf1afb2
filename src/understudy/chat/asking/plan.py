"""What asking would take, before anything is spent: calls, tokens, dollars and hours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from understudy.chat.asking.prices import PriceList
from understudy.chat.asking.token_counts import token_counter
from understudy.chat.batches.files import keys_at_provider
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.requests import ChatRequest

_FIRST_TOKEN_SECONDS = 1.0
_TOKENS_PER_SECOND = 50.0


@dataclass(frozen=True)
class AskPlan:
    """What a run would ask and pay.

    Attributes:
        calls: Requests that are still to be made.
        cached: Answered in the ledger.
        duplicates: The same as another one; asked once.
        in_batches: In batches that are made and paid for at the provider already.
        prompt_tokens: Of the calls, by ``counted_by``.
        most_tokens: Of all answers at their bound; null where nothing bounds them.
        expected_tokens: Of all answers, by what is known of earlier ones; null where nothing is.
        expected_from: Where the expectation comes from.
        usd_most: Of the calls, all answers at their bound; null where that is not known.
        usd_expected: The same at the expected length.
        hours: At the given limits and the expected length; null without limits.
        bound_by: The limit that takes longest.
    """

    model: ChatModel
    ledger: str
    prices_of: str
    batch: bool
    budget_usd: float | None
    spent_usd: float
    calls: int
    cached: int
    duplicates: int
    in_batches: int
    prompt_tokens: int
    counted_by: str
    most_tokens: int | None
    expected_tokens: float | None
    expected_from: str
    usd_most: float | None
    usd_expected: float | None
    hours: float | None
    bound_by: str

    def facts(self) -> dict[str, str]:
        """Names and values for the user."""
        said = {
            "who answers": f"{self.model.name} ({self.model.model} at {self.model.url})",
            "API calls": self._calls(),
            "prompt tokens": f"{self.prompt_tokens:,} ({self.counted_by})",
            "completion tokens": self._completion_tokens(),
            "cost": self._cost(),
            "time": self._time(),
            "ledger": f"{self.ledger} ({dollars(self.spent_usd)} spent)",
        }
        if self.budget_usd is not None:
            said["budget"] = f"${self.budget_usd:,.2f}, ledger included"
        if self.model.refused:
            said["left out"] = f"{', '.join(self.model.refused)} (the model refuses them)"
        return said

    @property
    def in_words(self) -> str:
        """Calls and cost in a line."""
        return f"{self._calls()}; {self._cost()}"

    def _calls(self) -> str:
        beside = [
            f"{count:,} {what}"
            for count, what in (
                (self.cached, "answered already"),
                (self.duplicates, "asked twice, once is enough"),
                (self.in_batches, "in batches that were made earlier: type batch=true"),
            )
            if count
        ]
        return f"{self.calls:,}" + (f" ({'; '.join(beside)})" if beside else "")

    def _completion_tokens(self) -> str:
        most = "without a bound" if self.most_tokens is None else f"at most {self.most_tokens:,}"
        if self.expected_tokens is None:
            return most
        return f"{most}, about {self.expected_tokens:,.0f} {self.expected_from}"

    def _cost(self) -> str:
        price = f"prices of {self.prices_of}{', Batch API' if self.batch else ''}"
        if self.usd_most is None and self.usd_expected is None:
            if self.most_tokens is None:
                return "unknown: nothing bounds an answer"
            return f"unknown: no price of {self.model.model} ({price}); docs/ledger.md"
        most = "without a bound" if self.usd_most is None else f"at most {dollars(self.usd_most)}"
        if self.usd_expected is None:
            return f"{most} ({price})"
        return f"{most}, about {dollars(self.usd_expected)} expected ({price})"

    def _time(self) -> str:
        if self.batch:
            return "within the provider's window for a batch, 24 hours each"
        if self.hours is None:
            return self._time_at_once()
        return f"{_duration(self.hours * 3600)}: {self.bound_by} bind"

    def _time_at_once(self) -> str:
        """Without limits the number of requests at once decides, and how fast a model writes."""
        at_once = self.model.max_concurrent
        tokens = self.most_tokens if self.expected_tokens is None else self.expected_tokens
        if tokens is None:
            return f"no limit is given, {at_once} at once; the server decides"
        seconds = (self.calls * _FIRST_TOKEN_SECONDS + tokens / _TOKENS_PER_SECOND) / at_once
        return (
            f"about {_duration(seconds)} at {at_once} at once, if an answer takes "
            f"{_FIRST_TOKEN_SECONDS:g} s and {_TOKENS_PER_SECOND:g} tokens/s (no limit is given: "
            "teacher.requests_per_minute, teacher.tokens_per_minute)"
        )


def ask_plan(
    requests: Iterable[ChatRequest],
    *,
    model: ChatModel,
    ledger: Ledger,
    prices: PriceList,
    batch: bool,
    budget_usd: float | None,
    expected_tokens: float | None,
) -> AskPlan:
    """Counts what is still to be asked; ``expected_tokens`` is what an answer has on average."""
    counter = token_counter(model.tokenizer)
    seen: set[bytes] = set()
    waiting = keys_at_provider(ledger)
    calls = cached = duplicates = in_batches = prompt_tokens = 0
    for request in requests:
        key = model.key_of(request)
        if bytes.fromhex(key) in seen:
            duplicates += 1
            continue
        seen.add(bytes.fromhex(key))
        if ledger.has(key):
            cached += 1
            continue
        if bytes.fromhex(key) in waiting:
            in_batches += 1
            continue
        calls += 1
        prompt_tokens += counter.of_messages(request.messages)
    mean, source = _expected(expected_tokens, ledger, model)
    most = None if model.max_tokens is None else calls * model.max_tokens
    expected = None if mean is None else calls * mean
    if most is not None and expected is not None:
        expected = min(expected, most)
    tokens = prompt_tokens + next((each for each in (expected, most) if each is not None), 0)
    hours, bound_by = _hours(model, calls, tokens)

    def usd(completion: float | None) -> float | None:
        return prices.cost(model.model, prompt_tokens, completion, batch=batch)

    facts: dict[str, Any] = {
        "model": model, "ledger": str(ledger.path), "prices_of": prices.date, "batch": batch,
        "budget_usd": budget_usd, "spent_usd": ledger.spent_usd(), "counted_by": counter.in_words,
    }  # fmt: skip
    return AskPlan(
        **facts,
        calls=calls,
        cached=cached,
        duplicates=duplicates,
        in_batches=in_batches,
        prompt_tokens=prompt_tokens,
        most_tokens=most,
        expected_tokens=expected,
        expected_from=source,
        usd_most=usd(most),
        usd_expected=None if expected is None else usd(expected),
        hours=hours,
        bound_by=bound_by,
    )


def _expected(
    given: float | None, ledger: Ledger, model: ChatModel
) -> tuple[float | None, str]:  # fmt: skip
    """What an answer has on average: by the ledger's own replies, else as given."""
    count, mean = ledger.mean_completion_tokens(model.model)
    if mean is not None:
        return mean, f"as the {count:,} replies in the ledger have"
    return given, "expected"


def _hours(model: ChatModel, calls: int, tokens: float) -> tuple[float | None, str]:
    """How long the limits make it take, and which of them."""
    limits = {
        "requests per minute": (calls, model.requests_per_minute),
        "tokens per minute": (tokens, model.tokens_per_minute),
    }
    hours = {name: amount / limit / 60 for name, (amount, limit) in limits.items() if limit}
    if not hours:
        return None, ""
    slowest = max(hours, key=lambda name: hours[name])
    return hours[slowest], slowest


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} hours"
    return f"{seconds / 60:,.1f} minutes"


def dollars(usd: float) -> str:
    """An amount for people; small ones keep their digits.

    >>> dollars(1234.567), dollars(0.00123), dollars(0.0)
    ('$1,234.57', '$0.0012', '$0.00')
    """
    return f"${usd:,.4f}" if 0 < usd < 0.1 else f"${usd:,.2f}"
