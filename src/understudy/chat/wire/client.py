"""Asks a model through the official client, within its limits, until it answers or cannot.

An attempt that fails for a moment (5xx, a dropped connection, a timeout, a body that cannot be
read) is made again after a random wait that doubles, ``max_attempts`` times in all. A 429 is no
attempt: the whole client pauses, see :mod:`understudy.chat.wire.pauses`. An answer that was cut by
``max_tokens`` is an answer. Nothing here keeps replies: see the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

import httpx2
import tenacity
from openai import AsyncOpenAI

from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest, Failure, Reply
from understudy.chat.wire.advice import cannot_ask
from understudy.chat.wire.errors import CannotAskError, Fault, RequestFailedError, Then
from understudy.chat.wire.faults import ERRORS, fault_of
from understudy.chat.wire.limits import Limits, Ticket, TokenEstimate
from understudy.chat.wire.pauses import OnWait, Pauses, asked_wait
from understudy.chat.wire.providers import key_for, opened
from understudy.chat.wire.replies import reply_of
from understudy.tracking.manifest import now

__all__ = ["CannotAskError", "ChatClient", "RequestFailedError"]

_CHAT = "/chat/completions"
_LONGEST_WAIT_SECONDS = 60.0
_MODELS_SECONDS = 10.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """One question to the server.

    Attributes:
        path: Below the base URL.
        body: What is sent.
        read: What the answer's body holds; raises Fault where it holds nothing.
        request: What is asked, for the estimate of its tokens.
    """

    path: str
    body: Mapping[str, Any]
    read: Callable[[bytes], _T]
    request: ChatRequest


class ChatClient:
    """One model, asked by many at once; an async context manager, used in one event loop."""

    def __init__(self, model: ChatModel, *, on_wait: OnWait | None = None) -> None:
        """``on_wait`` is told of each pause of the whole client: seconds, and why.

        Raises:
            CannotAskError: There is no key.
        """
        self._model = model
        self._key = key_for(model)
        self._sent = model.sent_params()
        self._estimate = TokenEstimate(model.max_tokens)
        self._limits = Limits(model.requests_per_minute, model.tokens_per_minute, self._estimate)
        self._pauses = Pauses(model.max_wait_seconds, on_wait)
        self._turn = asyncio.Lock()
        self._was_answered = False
        self._is_stopped = False
        self._at_rest: set[asyncio.Task[object] | None] = set()
        self._api: AsyncOpenAI | None = None

    async def __aenter__(self) -> ChatClient:
        """Opens the connections."""
        self._api = opened(self._model)
        self._quiet = [
            (logger, logger.level) for logger in map(logging.getLogger, ("httpx2", "httpx"))
        ]
        for logger, _ in self._quiet:  # else a line for each request in the run's log
            logger.setLevel(logging.WARNING)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connections."""
        for logger, level in self._quiet:
            logger.setLevel(level)
        if self._api is not None:
            await self._api.close()
            self._api = None

    @property
    def api(self) -> AsyncOpenAI:
        """The official client, for what is not asked one by one, such as files and batches."""
        if self._api is None:
            raise RuntimeError("the client is not open; use it in an async with")
        return self._api

    async def answer(self, request: ChatRequest) -> Reply:
        """The model's reply; ``cost_usd`` is null here.

        Raises:
            RequestFailedError: This request cannot be answered.
            CannotAskError: No request can be.
        """
        read = partial(reply_of, request_key=self._model.key_of(request), key=self._key)
        try:
            return await self.call(Call(_CHAT, self._model.body_of(request), read, request))
        except Fault as fault:
            raise await self._given_up(fault, request) from None

    async def call(self, call: Call[_T]) -> _T:
        """What the answer to a call holds, within limits, after as many attempts as it needs.

        Raises:
            Fault: It holds nothing, whatever was tried.
        """
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(self._model.max_attempts),
            wait=self._wait_seconds,
            reraise=True,
        )
        task = asyncio.current_task()
        self._at_rest.add(task)
        try:
            return await attempts(self._attempt, call)
        except Fault as fault:
            fault.attempts = int(attempts.statistics["attempt_number"])
            raise
        finally:
            self._at_rest.discard(task)

    def stop(self) -> None:
        """Sends nothing more: whoever waits to be sent, or sent again, is cancelled."""
        self._is_stopped = True
        for task in self._at_rest:
            if task is not None:
                task.cancel()

    async def _attempt(self, call: Call[_T]) -> _T:
        """One attempt; a 429 pauses and starts it again."""
        loop = asyncio.get_running_loop()
        refused_since: float | None = None
        while True:
            ticket = await self._enter(call.request)
            sent_at, found = loop.time(), None
            try:
                found = await self._sent_once(call)
                return found
            except Fault as fault:
                if fault.then is not Then.PAUSE:
                    raise
                self._pauses.refused(fault, sent_at)
                refused_since = refused_since or loop.time()
                if loop.time() - refused_since > self._model.max_wait_seconds:
                    raise
            finally:
                self._limits.leave(ticket, found if isinstance(found, Reply) else None)

    async def _enter(self, request: ChatRequest) -> Ticket:
        """Waits for the end of a pause and for room within the limits, in order of arrival."""
        if not self._limits.are_any and self._pauses.remaining() <= 0 and not self._turn.locked():
            return await self._limits.enter(request)
        async with self._turn:
            await self._pauses.over()
            ticket = await self._limits.enter(request)
            await self._pauses.over()
            return ticket

    async def _sent_once(self, call: Call[_T]) -> _T:
        """Asks; meanwhile a stop waits for the reply, but for no further attempt."""
        if self._is_stopped:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        self._at_rest.discard(task)
        try:
            return await self._ask(call)
        except Fault as fault:
            if self._is_stopped and fault.then in (Then.RETRY, Then.PAUSE):
                raise asyncio.CancelledError from None
            raise
        finally:
            self._at_rest.add(task)

    async def _ask(self, call: Call[_T]) -> _T:
        """Sends it once.

        Raises:
            Fault: Nothing came of it.
        """
        try:
            async with asyncio.timeout(self._model.timeout_seconds):
                response = await self.api.post(
                    call.path, cast_to=httpx2.Response, body=dict(call.body)
                )
        except ERRORS as error:
            fault = fault_of(error, self._key, self._sent)
            if fault.is_unreachable and not self._was_answered:
                fault.then = Then.FATAL
            raise fault from None
        if _is_a_page(response) and not self._was_answered:
            raise Fault(Then.FATAL, "url", "a web page", response.status_code, response.headers)
        found = call.read(response.content)
        self._was_answered = True
        self._pauses.answered(response.headers)
        return found

    def _wait_seconds(self, state: tenacity.RetryCallState) -> float:
        """A random wait that doubles, and no less than a 503 asks for."""
        doubled = self._model.retry_seconds * 2.0 ** (state.attempt_number - 1)
        wait = random.uniform(0.0, min(doubled, _LONGEST_WAIT_SECONDS))
        fault = state.outcome.exception() if state.outcome is not None else None
        asked = asked_wait(fault.headers) if isinstance(fault, Fault) else None
        return max(wait, min(asked or 0.0, _LONGEST_WAIT_SECONDS))

    async def _given_up(self, fault: Fault, request: ChatRequest) -> Exception:
        """What is raised when nothing more is tried."""
        if fault.then is Then.FATAL or fault.is_unreachable:
            offered = await self._offered() if fault.kind == "model" else []
            return cannot_ask(fault, self._model, offered)
        return RequestFailedError(
            Failure(
                key=self._model.key_of(request),
                kind=fault.kind,
                message=fault.said,
                status=fault.status,
                attempts=fault.attempts,
                created=now(),
            )
        )

    async def _offered(self) -> list[str]:
        """The models that the server names, where it does."""
        if self._model.api == "azure":
            return []
        try:
            async with asyncio.timeout(_MODELS_SECONDS):
                return [each.id for each in (await self.api.models.list()).data]
        except Exception:  # the line for the user does without them
            return []


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Fault) and error.then is Then.RETRY


def _is_a_page(response: httpx2.Response) -> bool:
    return "text/html" in response.headers.get("content-type", "")
