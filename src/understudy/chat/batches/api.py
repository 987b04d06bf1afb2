"""The provider's Batch API by the official client: files up, batches made and watched, files down.

Every call is safe to make again, but for the making of a batch, which costs money: whenever it is
not known whether one was made of a file, the provider's own list is asked first.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import openai

from understudy.chat.batches.files import AZURE_ENDPOINT, ENDPOINT, rows_of
from understudy.chat.chat_model import ChatModel
from understudy.chat.wire.advice import cannot_ask
from understudy.chat.wire.errors import Fault, Then
from understudy.chat.wire.faults import fault_of
from understudy.chat.wire.pauses import asked_wait
from understudy.chat.wire.providers import key_for, opened
from understudy.durable import replacing
from understudy.records import RunError

ENDED = ("completed", "failed", "expired", "cancelled")
_WINDOW: Literal["24h"] = "24h"
_TRANSFER_SECONDS = 1800.0  # of a file of 200 MB
_LONGEST_WAIT_SECONDS = 60.0
_PAGE = 100
_log = logging.getLogger(__name__)
_Given = TypeVar("_Given")


@dataclass(frozen=True, slots=True)
class Batch:
    """How a batch stands at the provider.

    Attributes:
        id: The provider's.
        state: The provider's word: "validating", "in_progress", "completed", "expired", ...
        num_done: Requests with a reply or an error.
        output_id: Of the file of replies, null while there is none.
        error_id: Of the file of errors.
        problems: Why it failed: codes and messages.
    """

    id: str
    state: str
    num_done: int = 0
    output_id: str | None = None
    error_id: str | None = None
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ENDED


class BatchApi:
    """The calls; an async context manager, used in one event loop."""

    def __init__(self, model: ChatModel) -> None:
        """Opens nothing yet."""
        self._model = model
        self._key = key_for(model)
        self._opened: openai.AsyncOpenAI | None = None

    async def __aenter__(self) -> BatchApi:
        """Opens the connections."""
        self._opened = opened(self._model)
        self._quiet = [
            (logger, logger.level) for logger in map(logging.getLogger, ("httpx2", "httpx"))
        ]
        for logger, _ in self._quiet:  # else a line for each look at a batch in the run's log
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
        await self._api.close()
        self._opened = None

    async def check(self) -> None:
        """Asks for nothing but the models, which costs nothing.

        Raises:
            CannotAskError: No key, a wrong one, no such model or server.
        """
        offered = [each.id for each in (await self._call(self._models)).data]
        if self._model.api != "azure" and offered and self._model.model not in offered:
            fault = Fault(Then.FATAL, "model", f"it offers no {self._model.model}", 404)
            raise cannot_ask(fault, self._model, offered)

    async def _models(self) -> Any:  # noqa: ANN401 - a page of the client's
        return await self._api.models.list()

    async def upload(self, path: Path) -> str:
        """Sends a file of requests and returns its id."""
        sent = await self._call(
            lambda: self._api.files.create(file=path, purpose="batch", timeout=_TRANSFER_SECONDS)
        )
        return sent.id

    async def make(self, file_id: str, *, is_new: bool) -> Batch:
        """Makes a batch of a file, once.

        ``is_new``: surely no batch was made of the file before.
        """
        may_be_there = not is_new

        async def once() -> Batch:
            nonlocal may_be_there
            if may_be_there and (found := await self._found(file_id)) is not None:
                return found
            may_be_there = True
            url: Any = AZURE_ENDPOINT if self._model.api == "azure" else ENDPOINT
            return _batch(
                await self._api.batches.create(
                    input_file_id=file_id, endpoint=url, completion_window=_WINDOW
                )
            )

        return await self._call(once)

    async def look(self, batch_id: str) -> Batch:
        """How a batch stands; waits while the provider cannot be reached."""

        async def once() -> Batch:
            return _batch(await self._api.batches.retrieve(batch_id))

        return await self._call(once, is_patient=True)

    async def fetch(self, file_id: str, path: Path) -> None:
        """Writes a file of the provider to ``path``, whole or not at all."""

        async def once() -> None:
            with replacing(path) as partial:
                async with self._api.files.with_streaming_response.content(
                    file_id, timeout=_TRANSFER_SECONDS
                ) as response:
                    await response.stream_to_file(partial)
                try:
                    for _ in rows_of(partial):
                        pass
                except ValueError as error:
                    raise Fault(Then.RETRY, "unreadable", f"file {file_id}: {error}") from None

        await self._call(once, is_patient=True)

    @property
    def _api(self) -> openai.AsyncOpenAI:
        if self._opened is None:
            raise RuntimeError("the client is not open; use it in an async with")
        return self._opened

    async def _found(self, file_id: str) -> Batch | None:
        """The batch that was made of a file, by the provider's own list."""
        async for each in self._api.batches.list(limit=_PAGE):
            if each.input_file_id == file_id:
                return _batch(each)
        return None

    async def _call(
        self, once: Callable[[], Awaitable[_Given]], *, is_patient: bool = False
    ) -> _Given:
        """Calls until it succeeds; a patient call outlasts outages of ``max_wait_seconds``.

        Raises:
            RunError: It cannot succeed, or did not in time.
        """
        loop = asyncio.get_running_loop()
        failing_since: float | None = None
        attempts = 0
        while True:
            try:
                return await once()
            except Exception as error:  # whatever the client or its transport came up with
                fault = error if isinstance(error, Fault) else fault_of(error, self._key, ())
                failing_since = failing_since or loop.time()
                attempts += fault.then is not Then.PAUSE
                has_waited = loop.time() - failing_since > self._model.max_wait_seconds
                is_over = has_waited or (attempts >= self._model.max_attempts and not is_patient)
                if fault.then in (Then.FATAL, Then.GIVE_UP) or is_over:
                    raise self._refusal(fault) from None
                _log.debug("%s: %s", self._model.name, fault.said)
            await asyncio.sleep(self._wait_seconds(fault, attempts))

    def _refusal(self, fault: Fault) -> RunError:
        if fault.then is Then.FATAL or fault.is_unreachable:
            return cannot_ask(fault, self._model)
        status = f"{fault.status}: " if fault.status else ""
        return RunError(
            f"the Batch API of {self._model.name} at {self._model.url} refuses ({status}"
            f"{fault.said})"
        )

    def _wait_seconds(self, fault: Fault, attempts: int) -> float:
        most = min(self._model.retry_seconds * 2.0**attempts, _LONGEST_WAIT_SECONDS)
        asked = asked_wait(fault.headers) or 0.0
        return max(random.uniform(most / 2, most), min(asked, _LONGEST_WAIT_SECONDS))


def _batch(given: Any) -> Batch:  # noqa: ANN401 - servers leave out what the client promises
    counts, errors = given.request_counts, given.errors
    return Batch(
        id=given.id,
        state=given.status,
        num_done=0 if counts is None else (counts.completed or 0) + (counts.failed or 0),
        output_id=given.output_file_id or None,
        error_id=given.error_file_id or None,
        problems=tuple(
            (str(each.code or ""), str(each.message or ""))
            for each in (errors and errors.data) or ()
        ),
    )
