"""Requests and tokens per minute, kept below their limits in every minute and close to them.

Two things hold a limit. A leaky bucket of about a second's worth (aiolimiter) spreads the requests
evenly; what is larger than the bucket takes several acquisitions. And the sum over the last minute
is known exactly, so that no sliding minute exceeds the limit whatever the bucket let through. A
minute here has 60.6 seconds: the time that requests need to arrive varies.

What an answer costs is unknown when it is asked for. Until eight replies are there it is bounded by
``max_tokens``; from then on it is the running mean of the completions, with three standard errors
of what is under way held back. Each reply's own usage then takes the estimate's place.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque

from aiolimiter import AsyncLimiter

from understudy.chat.asking.token_counts import by_rule
from understudy.chat.requests import ChatRequest, Reply

MINUTE_SECONDS = 60.0
_ALLOWANCE = 1.01
_BUCKETS = 60
_LOOK_AGAIN_SECONDS = 0.05
_ENOUGH_REPLIES = 8
_MEMORY = 1 / 64  # weight of the newest reply in the running means
_UNBOUNDED_TOKENS = 512
_MESSAGE_TOKENS = 4  # roles and marks around each message


class Entry:
    """So much of a limit, taken at a time."""

    __slots__ = ("amount", "time")

    def __init__(self, time: float, amount: float) -> None:
        """What was taken when."""
        self.time, self.amount = time, amount


class PerMinute:
    """A limit of so much a minute; one waiter at a time (see :class:`Limits`)."""

    def __init__(self, limit: float, *, minute_seconds: float = MINUTE_SECONDS) -> None:
        """``minute_seconds`` is what counts as a minute; tests have no time for real ones."""
        self._limit = limit
        self._window_seconds = minute_seconds * _ALLOWANCE
        bucket = max(1.0, limit / _BUCKETS)
        self._bucket = AsyncLimiter(bucket, self._window_seconds * bucket / limit)
        self._owed = 0.0
        self._taken: deque[Entry] = deque()
        self._sum = 0.0

    async def take(self, amount: float, *, reserve: float = 0.0) -> Entry:
        """Waits until so much more fits, ``reserve`` included, and takes it."""
        owed = self._owed + amount
        self._owed = min(owed, 0.0)
        while owed > 0:
            part = min(owed, self._bucket.max_rate)
            await self._bucket.acquire(part)
            owed -= part
        while (wait := self._wait_seconds(amount + reserve)) > 0:
            await asyncio.sleep(min(wait, _LOOK_AGAIN_SECONDS))
        entry = Entry(asyncio.get_running_loop().time(), amount)
        self._taken.append(entry)
        self._sum += amount
        return entry

    def correct(self, entry: Entry, amount: float) -> None:
        """What was taken turns out to be another amount."""
        self._owed += amount - entry.amount
        if not math.isinf(entry.time):
            self._sum += amount - entry.amount
        entry.amount = amount

    def _wait_seconds(self, amount: float) -> float:
        """Until the oldest leaves the minute, where there is no room; 0 where there is."""
        now = asyncio.get_running_loop().time()
        while self._taken and self._taken[0].time <= now - self._window_seconds:
            oldest = self._taken.popleft()
            self._sum -= oldest.amount
            oldest.time = -math.inf
        if not self._taken or self._sum + amount <= self._limit:
            return 0.0
        return max(self._taken[0].time + self._window_seconds - now, 1e-3)


class _Running:
    """A mean and a variance in which the past fades."""

    def __init__(self, mean: float) -> None:
        self.mean, self.variance, self.count = mean, 0.0, 0

    def add(self, value: float) -> None:
        self.count += 1
        weight = max(1 / self.count, _MEMORY)
        off = value - self.mean
        self.mean += weight * off
        self.variance = (1 - weight) * (self.variance + weight * off * off)


class TokenEstimate:
    """What a request costs in tokens, before and, better, after some replies."""

    def __init__(self, bound: int | None) -> None:
        """``bound`` is what a completion has at most; null where nothing bounds it."""
        self._bound = bound or _UNBOUNDED_TOKENS
        self._completion = _Running(float(self._bound))
        self._prompt_ratio = _Running(1.0)

    def prompt_tokens(self, request: ChatRequest) -> int:
        """Of the messages by the rule, uncorrected: replies say soon how far it is off."""
        return sum(by_rule(turn.content) + _MESSAGE_TOKENS for turn in request.messages)

    def of(self, prompt_tokens: int) -> float:
        """Prompt and completion together."""
        known = self._completion.count >= _ENOUGH_REPLIES
        completion = self._completion.mean if known else self._bound
        return prompt_tokens * self._prompt_ratio.mean + completion

    def reserve(self, num_under_way: int) -> float:
        """Three standard errors of the sum of the completions under way."""
        if self._completion.count < _ENOUGH_REPLIES:
            return 0.0
        return 3 * math.sqrt(num_under_way * self._completion.variance)

    def learn(self, prompt_tokens: int, reply: Reply) -> None:
        """Takes a reply's usage into account."""
        if reply.completion_tokens is not None:
            self._completion.add(reply.completion_tokens)
        if reply.prompt_tokens is not None and prompt_tokens:
            self._prompt_ratio.add(reply.prompt_tokens / prompt_tokens)


class Ticket:
    """The right to send one request, and what it is thought to cost."""

    __slots__ = ("entry", "prompt_tokens")

    def __init__(self, prompt_tokens: int = 0, entry: Entry | None = None) -> None:
        """Null ``entry``: tokens are not limited."""
        self.prompt_tokens, self.entry = prompt_tokens, entry


class Limits:
    """Both limits of a model; who comes first goes first."""

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        estimate: TokenEstimate,
    ) -> None:
        """Null is no limit."""
        self._requests = PerMinute(requests_per_minute) if requests_per_minute else None
        self._tokens = PerMinute(tokens_per_minute) if tokens_per_minute else None
        self._estimate = estimate
        self._num_under_way = 0

    @property
    def are_any(self) -> bool:
        """Whether anything is limited."""
        return self._requests is not None or self._tokens is not None

    async def enter(self, request: ChatRequest) -> Ticket:
        """Waits for the right to send; to be called by one at a time."""
        if self._requests is not None:
            await self._requests.take(1)
        if self._tokens is None:
            return Ticket()
        prompt_tokens = self._estimate.prompt_tokens(request)
        amount = self._estimate.of(prompt_tokens)
        reserve = self._estimate.reserve(self._num_under_way)
        entry = await self._tokens.take(amount, reserve=reserve)
        self._num_under_way += 1
        return Ticket(prompt_tokens, entry)

    def leave(self, ticket: Ticket, reply: Reply | None) -> None:
        """Puts the usage of the reply, where it has one, in place of the estimate."""
        if self._tokens is None or ticket.entry is None:
            return
        self._num_under_way -= 1
        if reply is None or reply.completion_tokens is None:
            return
        self._estimate.learn(ticket.prompt_tokens, reply)
        used = (reply.prompt_tokens or ticket.prompt_tokens) + reply.completion_tokens
        self._tokens.correct(ticket.entry, used)
