"""What goes wrong on request: for a share of all requests, or for the one that asks for it.

A fault's name is that of its rate without ``rate_``: ``rate_429``, and ``x-lab-fault: 429``. Which
request a rate falls on follows from the seed, the request's number and its content: a repeated
request may be spared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

from understudy.lab.server.errors import ApiError, broken, filtered, quota_spent, too_many, wrong
from understudy.records import InputError

HEADER = "x-lab-fault"
_PREFIX = "rate_"


@dataclass(frozen=True, slots=True)
class FaultRates:
    """The share of requests that each fault falls on, 0 to 1, and its size.

    Attributes:
        rate_429: A limit is said to be reached, with ``retry-after``.
        rate_429_bare: The same without the header.
        rate_insufficient_quota: The account is said to be empty.
        rate_500: The server fails.
        rate_503: The server is busy.
        rate_slow: The reply comes late.
        rate_dropped: The connection is closed before any byte.
        rate_dropped_midway: The connection is closed in the middle of the body.
        rate_truncated_json: The body is half of a JSON object.
        rate_empty: The reply's text is "".
        rate_null: The reply has no text.
        rate_length: The reply is cut in the middle, ``finish_reason`` "length".
        rate_content_filter: The reply has no text, ``finish_reason`` "content_filter".
        rate_content_filter_400: The prompt is refused by the filter.
        rate_malformed: Rater and judge write no number.
        retry_after_seconds: What ``retry-after`` says.
        slow_seconds: How late a slow reply comes.
    """

    rate_429: float = 0.0
    rate_429_bare: float = 0.0
    rate_insufficient_quota: float = 0.0
    rate_500: float = 0.0
    rate_503: float = 0.0
    rate_slow: float = 0.0
    rate_dropped: float = 0.0
    rate_dropped_midway: float = 0.0
    rate_truncated_json: float = 0.0
    rate_empty: float = 0.0
    rate_null: float = 0.0
    rate_length: float = 0.0
    rate_content_filter: float = 0.0
    rate_content_filter_400: float = 0.0
    rate_malformed: float = 0.0
    retry_after_seconds: float = 1.0
    slow_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Refuses rates that are no shares of one whole.

        Raises:
            InputError: A rate is below 0, all together are above 1, or a time is negative.
        """
        for name, rate in self.rates.items():
            if not 0 <= rate <= 1:
                raise InputError(f"server.faults.{_PREFIX}{name}={rate} is no share from 0 to 1")
        if sum(self.rates.values()) > 1 + 1e-9:
            raise InputError(
                "the rates of server.faults are together more than 1; a request has one fault"
            )
        if min(self.retry_after_seconds, self.slow_seconds) < 0:
            raise InputError("server.faults has a time below 0")

    @property
    def rates(self) -> dict[str, float]:
        """The rate of each fault, by the fault's name."""
        return {
            each.name.removeprefix(_PREFIX): getattr(self, each.name)
            for each in fields(self)
            if each.name.startswith(_PREFIX)
        }


NAMES = tuple(FaultRates().rates)
"""The names of all faults."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault on one request; ``seconds`` is its size, where it has one."""

    name: str
    seconds: float = 0.0

    @property
    def is_of_connection(self) -> bool:
        """Whether it concerns how a reply is sent, which no batch has."""
        return self.name in ("slow", "dropped", "dropped_midway", "truncated_json")

    def error(self) -> ApiError | None:
        """The refusal that the fault is; null where it is none."""
        if self.name == "429":
            return too_many(self.seconds)
        if self.name == "429_bare":
            return too_many(None)
        if self.name == "insufficient_quota":
            return quota_spent()
        if self.name in ("500", "503"):
            return broken(int(self.name))
        return filtered() if self.name == "content_filter_400" else None


class Faults:
    """Says which request has which fault."""

    def __init__(self, rates: FaultRates, seed: int) -> None:
        """``seed`` decides which requests the rates fall on."""
        self._rates = rates
        self._seed = seed
        self._spans = [(name, rate) for name, rate in rates.rates.items() if rate]

    def named(self, header: str) -> Fault:
        """The fault that a request's header asks for, "slow:2.5" with a size of its own.

        Raises:
            ApiError: There is no such fault.
        """
        name, _, size = header.partition(":")
        if name not in NAMES:
            raise wrong(HEADER, f"choose from {', '.join(NAMES)}")
        try:
            return Fault(name, float(size) if size else self._size(name))
        except ValueError:
            raise wrong(HEADER, "a number of seconds follows the colon") from None

    def on(self, number: int, content: str) -> Fault | None:
        """The fault that the rates put on a request, by its number and content."""
        if not self._spans:
            return None
        text = f"{self._seed}\x1f{number}\x1f{content}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        left = int.from_bytes(digest, "big") / 2**64
        for name, rate in self._spans:
            left -= rate
            if left < 0:
                return Fault(name, self._size(name))
        return None

    def _size(self, name: str) -> float:
        sizes = {"429": self._rates.retry_after_seconds, "slow": self._rates.slow_seconds}
        return sizes.get(name, 0.0)
