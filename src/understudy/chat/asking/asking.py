"""Asks many requests at once, and puts each reply on disk before anything else happens with it.

So many workers take the next request from an iterable that is read as they go; what the ledger
holds is not asked again, and the same request is asked once. Nothing is kept of a request but its
key. However asking ends, no new request goes out from then on, those under way are awaited for a
bounded time, because they are paid, and committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from understudy.chat.asking.budget import (
    Budget,
    BudgetSpentError,
    FailuresError,
    bound_usd,
    may_be_billed,
)
from understudy.chat.asking.prices import PriceList
from understudy.chat.asking.progress import Progress, Tally
from understudy.chat.batches.files import keys_at_provider
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.requests import NO_SERVER, ChatRequest, Failure, Reply
from understudy.chat.wire.client import ChatClient, RequestFailedError
from understudy.records import InputError, RunError

STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.5
_AT_LEAST = 100  # requests before a share of failures says anything
_IN_A_ROW = 20
_LONG_WAIT_SECONDS = 10.0
_PAUSE_EVERY = 200  # requests that need no asking, before others get their turn
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """Who is asked, at what price, and when it is enough."""

    model: ChatModel
    prices: PriceList
    max_failed: float


class Asking:
    """One run through an iterable of requests; used once."""

    def __init__(
        self,
        rules: Rules,
        ledger: Ledger,
        budget: Budget,
        tally: Tally,
        *,
        checked: str | None = None,
    ) -> None:
        """The ledger is held; ``tally`` is changed as things come about.

        ``checked`` is the key of a request that is in the tally already.
        """
        self._rules, self._ledger, self._budget, self.tally = rules, ledger, budget, tally
        self._seen: set[bytes] = set()
        self._checked = checked
        self._at_provider = keys_at_provider(ledger)
        self._num_failed_in_a_row = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halted, self._hurried = asyncio.Event(), asyncio.Event()
        self.ended_by: BaseException | None = None

    def stop(self, name: str) -> None:
        """Lets no new request out, because a signal of this name came; from its handler."""
        self.tally.stopped_by = self.tally.stopped_by or name
        _log.warning(
            "%s: no new requests; those in flight are paid, so they are awaited, up to %d s",
            name,
            STOP_SECONDS,
        )
        self._set(self._halted)

    def hurry(self) -> None:
        """Gives up what is in flight; from a signal's handler."""
        self._set(self._hurried)

    async def ask(self, requests: Iterable[ChatRequest], progress: Progress) -> None:
        """Asks; afterwards all that came is on disk, and ``ended_by`` says what went wrong."""
        self._loop = asyncio.get_running_loop()
        feed = iter(requests)
        async with ChatClient(self._rules.model, on_wait=self._waits) as client:
            looking = asyncio.create_task(_look(progress))
            workers = [
                asyncio.create_task(self._work(client, feed))
                for _ in range(self._rules.model.max_concurrent)
            ]
            try:
                await self._until_done(client, workers)
            finally:
                looking.cancel()

    async def _until_done(self, client: ChatClient, workers: list[asyncio.Task[None]]) -> None:
        everyone = asyncio.create_task(_all_done(workers))
        halted, hurried = (
            asyncio.create_task(each.wait()) for each in (self._halted, self._hurried)
        )
        await asyncio.wait({everyone, halted}, return_when=asyncio.FIRST_COMPLETED)
        if not everyone.done():
            client.stop()
            is_asked_to = self.tally.stopped_by is not None and self.ended_by is None
            more = 0.0 if is_asked_to else self._rules.model.timeout_seconds
            await asyncio.wait(
                {everyone, hurried},
                timeout=STOP_SECONDS + more,
                return_when=asyncio.FIRST_COMPLETED,
            )
        for task in (*workers, halted, hurried):
            task.cancel()
        await asyncio.wait([*workers, everyone])

    async def _work(self, client: ChatClient, feed: Iterator[ChatRequest]) -> None:
        """Takes requests until there are none, or asking has ended."""
        try:
            while (found := await self._next(feed)) is not None:
                await self._ask(client, *found)
        except BudgetSpentError:
            self.tally.stopped_by = self.tally.stopped_by or "budget"
            self._halted.set()
        except Exception as error:
            self._end(error)

    async def _next(self, feed: Iterator[ChatRequest]) -> tuple[ChatRequest, str] | None:
        """The next request that has to be asked, with its key."""
        passed = 0
        while not self._halted.is_set():
            request = next(feed, None)
            if request is None:
                return None
            key = self._rules.model.key_of(request)
            if self._is_new(key):
                return request, key
            passed += 1
            if passed % _PAUSE_EVERY == 0:
                await asyncio.sleep(0)
        return None

    def _is_new(self, key: str) -> bool:
        digest = bytes.fromhex(key)
        if digest in self._seen:
            self.tally.duplicates += 1
            return False
        self._seen.add(digest)
        if digest in self._at_provider and not self._ledger.has(key):
            raise InputError(
                "some of these requests are in a batch that is paid for at the provider; type "
                "batch=true to fetch their replies, or ledger=FILE to ask them anew"
            )
        if self._ledger.has(key):
            self.tally.cached += key != self._checked
            return False
        return key != self._checked

    async def _ask(self, client: ChatClient, request: ChatRequest, key: str) -> None:
        model, prices = self._rules.model, self._rules.prices
        bound = bound_usd(request, model, prices, batch=False) or 0.0
        await self._budget.reserve(bound)
        cost = 0.0
        try:
            if not self._halted.is_set():
                self.tally.asked += 1
                cost = await self._answered(client, request, bound)
        finally:
            self._budget.settle(bound, cost)

    async def _answered(self, client: ChatClient, request: ChatRequest, bound: float) -> float:
        """Asks and commits; returns the cost, or its bound where that is not known."""
        try:
            reply = await client.answer(request)
        except RequestFailedError as error:
            failure, unknown = error.failure, 0.0
            if may_be_billed(failure):
                unknown = bound * failure.attempts
                failure = replace(failure, cost_usd=unknown)
                self.tally.unknown_usd += unknown
            await self._failed(request, failure)
            return unknown
        except asyncio.CancelledError:
            self.tally.asked -= not self._hurried.is_set()  # it was never sent
            raise
        cost = self._rules.prices.cost(
            self._rules.model.model, reply.prompt_tokens, reply.completion_tokens
        )
        reply = replace(reply, cost_usd=cost)
        await asyncio.wrap_future(self._ledger.add(request, self._rules.model, reply))
        self._count(reply)
        if (trouble := self._ledger.trouble) is not None:
            self._end(RunError(trouble))
        return bound if cost is None else cost

    async def _failed(self, request: ChatRequest, failure: Failure) -> None:
        await asyncio.wrap_future(self._ledger.fail(request, self._rules.model, failure))
        tally = self.tally
        tally.failed[failure.kind] += 1
        self._num_failed_in_a_row += failure.kind in NO_SERVER
        num_failed, num_ended = tally.failed.total(), tally.failed.total() + tally.replied
        if self._num_failed_in_a_row >= _IN_A_ROW:
            self._end(
                FailuresError(
                    f"{_IN_A_ROW} requests in a row got no answer ({failure.kind}: "
                    f"{failure.message})"
                )
            )
        elif num_ended >= _AT_LEAST and num_failed > self._rules.max_failed * num_ended:
            self._end(
                FailuresError(
                    f"{num_failed:,} of {num_ended:,} requests failed, more than max_failed="
                    f"{self._rules.max_failed:g} (the last: {failure.kind}: {failure.message})"
                )
            )

    def _count(self, reply: Reply) -> None:
        self._num_failed_in_a_row = 0
        self.tally.count(reply)

    def _waits(self, seconds: float, why: str) -> None:
        """Says why nothing goes on, where that is long enough to wonder."""
        if seconds >= _LONG_WAIT_SECONDS:
            _log.info("%s: waiting %.0f s (%s)", self._rules.model.name, seconds, why)

    def _end(self, error: Exception) -> None:
        """Ends asking; the first reason counts."""
        if self.ended_by is None:
            self.ended_by = error
        self._halted.set()

    def _set(self, event: asyncio.Event) -> None:
        if self._loop is None or self._loop.is_closed():
            event.set()
        else:
            with suppress(RuntimeError):  # it has just closed
                self._loop.call_soon_threadsafe(event.set)


async def _look(progress: Progress) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        progress.look()


async def _all_done(workers: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(workers)
