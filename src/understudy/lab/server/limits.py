"""The server's own limits: so many requests and tokens in any minute, as the strictest count them.

What was answered within the last minute counts, whatever the clock's minute. The largest counts
that any minute had are kept, so a client's care can be read off.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from understudy.lab.server.errors import Headers, too_many

WINDOW_SECONDS = 60.0


class _Window:
    """What was used within the last minute, of one kind."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.used = self.peak = 0
        self._uses: deque[tuple[float, int]] = deque()

    def forget(self, now: float) -> None:
        while self._uses and self._uses[0][0] <= now - WINDOW_SECONDS:
            self.used -= self._uses.popleft()[1]

    def take(self, now: float, amount: int) -> None:
        self._uses.append((now, amount))
        self.used += amount
        self.peak = max(self.peak, self.used)

    def wait_for(self, now: float, amount: int) -> float:
        """Seconds until so much fits, 0 where it does; what is above the limit fits when alone."""
        excess = self.used + min(amount, self.limit) - self.limit
        if excess <= 0:
            return 0.0
        for at, each in self._uses:
            excess -= each
            if excess <= 0:
                return at + WINDOW_SECONDS - now
        return WINDOW_SECONDS

    def headers(self, kind: str, now: float) -> list[tuple[str, str]]:
        reset = self.wait_for(now, int(self.limit))
        return [
            (f"x-ratelimit-limit-{kind}", f"{self.limit:.0f}"),
            (f"x-ratelimit-remaining-{kind}", f"{max(self.limit - self.used, 0):.0f}"),
            (f"x-ratelimit-reset-{kind}", f"{reset:.3f}s"),
        ]


class Limits:
    """Refuses what goes beyond the limits; null is none."""

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Both limits hold for all models together; ``clock`` gives seconds."""
        self._clock = clock
        given = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._windows = {kind: _Window(limit) for kind, limit in given.items() if limit is not None}
        self._refused = 0

    def take(self, tokens: int) -> Headers:
        """Counts a request of so many tokens; the headers that say what is left.

        Raises:
            ApiError: It does not fit into this minute; nothing was counted.
        """
        if not self._windows:
            return ()
        now = self._clock()
        amounts = {"requests": 1, "tokens": tokens}
        for window in self._windows.values():
            window.forget(now)
        waits = [each.wait_for(now, amounts[kind]) for kind, each in self._windows.items()]
        if max(waits) > 0:
            self._refused += 1
            raise too_many(max(waits), self._headers(now))
        for kind, window in self._windows.items():
            window.take(now, amounts[kind])
        return self._headers(now)

    def facts(self) -> dict[str, dict[str, float] | int]:
        """Of each limit the largest count that any minute had, and how many were refused."""
        peaks: dict[str, dict[str, float] | int] = {
            kind: {"limit": each.limit, "most_in_a_minute": each.peak}
            for kind, each in self._windows.items()
        }
        return {**peaks, "refused": self._refused}

    def _headers(self, now: float) -> list[tuple[str, str]]:
        return [
            each for kind, window in self._windows.items() for each in window.headers(kind, now)
        ]
