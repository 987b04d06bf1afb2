"""When a provider says "not now", nobody asks until it may be asked again.

A 429 pauses the whole client: for as long as the provider says (``retry-after-ms``,
``retry-after`` in seconds or as a date, ``x-ratelimit-reset-*``, or its own words), else for a
random time that doubles with each round of refusals. A provider whose headers say that nothing
remains is left alone without a refusal first.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from understudy.chat.wire.errors import Fault, Then

_FIRST_SECONDS = 0.25
_LONGEST_SECONDS = 60.0
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_SPAN_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_IN_WORDS = re.compile(
    r"(?:try again|retry) (?:in|after) ((?:\d+(?:\.\d+)?(?:ms|[hmsd]))+|\d+ sec)"
)

OnWait = Callable[[float, str], None]


class Pauses:
    """The time until which nobody asks."""

    def __init__(self, max_wait_seconds: float, on_wait: OnWait | None) -> None:
        """``on_wait`` is told of each pause: seconds, and why."""
        self._max_wait_seconds = max_wait_seconds
        self._on_wait = on_wait
        self._until = self._began = 0.0
        self._refused_since: float | None = None
        self._rounds = 0

    def remaining(self) -> float:
        """Seconds until somebody may ask again; 0 or less is now."""
        return self._until - _now()

    async def over(self) -> None:
        """Waits for the end of the pause, also when it is prolonged meanwhile."""
        while (seconds := self.remaining()) > 0:
            await asyncio.sleep(seconds)

    def refused(self, fault: Fault, sent_at: float) -> None:
        """A request that was sent at that time was refused by a 429.

        Raises:
            Fault: The provider wants a longer wait than allowed, or goes on refusing.
        """
        now = _now()
        self._refused_since = self._refused_since or now
        seconds = asked_wait(fault.headers, fault.said)
        if (seconds or 0.0) > self._max_wait_seconds:
            raise _too_long(f"it asks to wait for {_spelled(seconds or 0.0)}", fault)
        if now - self._refused_since > self._max_wait_seconds:
            refused = _spelled(now - self._refused_since)
            raise _too_long(f"it has refused every request for {refused}", fault)
        if seconds is None:
            seconds = self._backoff(sent_at)
        self._pause(seconds * random.uniform(1.0, 1.05), f"429: {fault.said}")

    def answered(self, headers: Mapping[str, str]) -> None:
        """A reply came; its headers may say that nothing remains for now."""
        self._refused_since, self._rounds = None, 0
        for what in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{what}") == "0":
                seconds = _until_one_more(headers, what)
                if 0 < seconds <= self._max_wait_seconds:
                    self._pause(seconds, f"no {what} remain")

    def _backoff(self, sent_at: float) -> float:
        """One round more, unless the request was already under way when the last one began."""
        if sent_at >= self._began:
            self._rounds += 1
        longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** max(self._rounds - 1, 0))
        return random.uniform(longest / 2, longest)

    def _pause(self, seconds: float, why: str) -> None:
        now = _now()
        if now + seconds <= self._until:
            return
        self._began, self._until = now, now + seconds
        if self._on_wait is not None:
            self._on_wait(seconds, why)


def asked_wait(headers: Mapping[str, str], said: str = "") -> float | None:
    """How many seconds the provider asks to wait; null where it does not say."""
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (value := headers.get(header)) is not None:
            seconds = _seconds_of(value, unit)
            if seconds is not None:
                return seconds
    resets = [
        seconds
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
        and (seconds := _span_of(headers.get(f"x-ratelimit-reset-{what}", ""))) is not None
    ]
    if resets:
        return max(resets)
    found = _IN_WORDS.search(said)
    return _span_of(found.group(1).removesuffix(" sec")) if found else None


def _seconds_of(value: str, unit: float) -> float | None:
    """Seconds of a number, or until a date; a date in the past is now."""
    try:
        seconds = float(value) * unit
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return _span_of(value)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max((date - datetime.now(UTC)).total_seconds(), 0.0)
    return max(seconds, 0.0) if seconds == seconds else None  # a NaN is no time  # noqa: PLR0124


def _span_of(value: str) -> float | None:
    """Seconds of "6m0s", "12ms" or "30"; null for anything else."""
    value = value.strip()
    if value.replace(".", "", 1).isdigit():
        return float(value)
    parts = _SPAN.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        return None
    return sum(float(number) * _SPAN_SECONDS[unit] for number, unit in parts)


def _until_one_more(headers: Mapping[str, str], what: str) -> float:
    """The reset is when all is there again; one more is there after its share of that time."""
    seconds = _span_of(headers.get(f"x-ratelimit-reset-{what}", "")) or 0.0
    limit = headers.get(f"x-ratelimit-limit-{what}", "")
    is_shared = what == "requests" and limit.isdigit() and int(limit) > 0
    return seconds / int(limit) if is_shared else seconds


def _too_long(what: str, fault: Fault) -> Fault:
    return Fault(Then.FATAL, fault.kind, f"{what}: {fault.said}", fault.status, fault.headers)


def _spelled(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _now() -> float:
    return asyncio.get_running_loop().time()
