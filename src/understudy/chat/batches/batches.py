"""Asks through the provider's Batch API: files of requests, answered within a day at half price.

The ledger knows a batch before it is made, and its id before anything is waited for, so a process
may die at any moment: the next one looks what became of each batch and fetches it, and none is made
twice. Replies go into the ledger as those of single requests do. What a batch did not answer is
asked again by the same line.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.chat.asking.asking import Rules
from understudy.chat.asking.budget import Budget, FailuresError, bound_usd
from understudy.chat.asking.progress import Progress, Tally
from understudy.chat.batches.api import Batch, BatchApi
from understudy.chat.batches.files import (
    FETCHED,
    BatchRules,
    Lines,
    RequestFile,
    RequestFiles,
    batch_folder,
    remove_but,
    rows_of,
)
from understudy.chat.batches.results import left_over, outcome_of
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.ledger.schema import BatchState
from understudy.chat.requests import ChatRequest, Failure, Reply
from understudy.chat.wire.providers import key_for
from understudy.records import RunError

_LOOK_SECONDS = 0.5
_AT_LEAST = 100  # requests before a share of failures says anything
_GROUP = 500
_QUEUE_FULL = "token_limit_exceeded"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Asked:
    """Who a batch asked, whoever is asked now."""

    endpoint: str
    model: str
    params: Mapping[str, Any]

    def sent_params(self) -> Mapping[str, Any]:
        return self.params


class BatchAsking:
    """One run through an iterable of requests, by batches; used once, as ``Asking`` is."""

    def __init__(
        self, rules: Rules, ledger: Ledger, budget: Budget, tally: Tally, batches: BatchRules
    ) -> None:
        """The ledger is held; ``tally`` is changed as things come about."""
        self._rules, self._ledger, self._budget, self.tally = rules, ledger, budget, tally
        self._batches = batches
        self._folder = batch_folder(ledger.path)
        self._api_key = key_for(rules.model)
        self._from_before: set[bytes] = set()
        self._done_of: dict[str, int] = {}
        self._working: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ended_by: BaseException | None = None

    def stop(self, name: str) -> None:
        """Ends the waiting, because a signal of this name came; from its handler."""
        self.tally.stopped_by = self.tally.stopped_by or name
        at_work = sum(each.state != FETCHED for each in self._ledger.batches())
        _log.warning(
            "%s: %d batches go on at the provider and are paid for there; the same line fetches "
            "their replies, today or later",
            name,
            at_work,
        )
        self.hurry()

    def hurry(self) -> None:
        """Ends at once; from a signal's handler. All that is in the ledger stays there."""
        if self._loop is not None and self._working is not None:
            with suppress(RuntimeError):  # it has just closed
                self._loop.call_soon_threadsafe(self._working.cancel)

    async def ask(self, requests: Iterable[ChatRequest], progress: Progress) -> None:
        """Asks and fetches; ``ended_by`` says what went wrong."""
        self._loop = asyncio.get_running_loop()
        self._working = asyncio.create_task(self._work(requests))
        while not self._working.done():
            await asyncio.wait({self._working}, timeout=_LOOK_SECONDS)
            progress.look()
        if not self._working.cancelled():
            self.ended_by = self._working.exception()

    async def _work(self, requests: Iterable[ChatRequest]) -> None:
        async with BatchApi(self._rules.model) as api:
            await self._go_on(api)
            files = self._written(requests)
            if files:
                await self._ask(api, deque(files))
        remove_but(self._folder, [])
        self._check_failures()

    async def _go_on(self, api: BatchApi) -> None:
        """Fetches what earlier runs had made."""
        left = [await self._made(api, each, is_new=False) for each in self._unfetched()]
        if left:
            _log.info("%d batches of an earlier run are gone on with", len(left))
        remove_but(self._folder, [_note(each)["file"] for each in left])
        self.tally.asked += sum(len(each.keys) for each in left)
        self._from_before = {bytes.fromhex(key) for each in left for key in each.keys}
        while left:
            for state, batch in await self._ended(api, left):
                left.remove(state)
                await self._fetch(api, state, batch)
                if batch.state == "failed":
                    _log.warning("a batch failed (%s); it is made anew", _why(batch))
            if left:
                await asyncio.sleep(self._batches.poll_seconds)

    def _unfetched(self) -> list[BatchState]:
        """The batches of this server whose replies are not in the ledger."""
        found = [each for each in self._ledger.batches() if each.state != FETCHED]
        own = [each for each in found if _note(each)["endpoint"] == self._rules.model.endpoint]
        if len(own) < len(found):
            _log.warning("%d batches of other servers are left alone", len(found) - len(own))
        return own

    async def _ended(
        self, api: BatchApi, states: Iterable[BatchState]
    ) -> list[tuple[BatchState, Batch]]:
        """Those that have ended, by a look at each."""
        looked = [(each, await api.look(each.batch_id)) for each in states]
        self._done_of.update({batch.id: batch.num_done for _, batch in looked})
        self.tally.at_provider = sum(self._done_of.values())
        return [(state, batch) for state, batch in looked if batch.has_ended]

    def _written(self, requests: Iterable[ChatRequest]) -> list[RequestFile]:
        """Files of all requests that are still to be asked.

        Raises:
            RunError: Their replies might pass the budget; nothing was sent.
        """
        model, seen = self._rules.model, set[bytes]()
        with RequestFiles(self._folder, model, self._batches) as files:
            for request in requests:
                key = model.key_of(request)
                if self._is_new(key, seen):
                    bound = bound_usd(request, model, self._rules.prices, batch=True) or 0.0
                    files.add(request, key, bound)
            bound = sum(each.bound_usd for each in files.files)
            limit = self._budget.limit_usd
            if limit is not None and self.tally.ledger_usd + bound > limit + 1e-9:
                num_requests = sum(len(each.keys) for each in files.files)
                files.remove()
                remove_but(self._folder, [])
                self.tally.stopped_by = "budget"
                raise RunError(self._too_dear(num_requests, bound))
        return files.files

    def _is_new(self, key: str, seen: set[bytes]) -> bool:
        digest = bytes.fromhex(key)
        if digest in seen:
            self.tally.duplicates += 1
            return False
        seen.add(digest)
        if not self._ledger.has(key):
            return True
        self.tally.cached += digest not in self._from_before
        return False

    async def _ask(self, api: BatchApi, waiting: deque[RequestFile]) -> None:
        """Makes all batches, one at a time where the provider's queue is full, and fetches them."""
        at_work: dict[str, tuple[RequestFile, BatchState]] = {}
        is_full = False
        while waiting or at_work:
            while waiting and not (is_full and at_work):
                file = waiting.popleft()
                state = await self._sent(api, file)
                at_work[state.input_file_id] = file, state
            for state, batch in await self._ended(api, [each for _, each in at_work.values()]):
                file, _ = at_work.pop(state.input_file_id)
                if at_work and _QUEUE_FULL in dict(batch.problems):
                    is_full = True
                    waiting.append(file)
                    await self._note(state, FETCHED)
                    continue
                await self._fetch(api, state, batch)
                if batch.state == "failed":
                    raise RunError(self._failed(batch))
            if at_work:
                await asyncio.sleep(self._batches.poll_seconds)

    async def _sent(self, api: BatchApi, file: RequestFile) -> BatchState:
        """Uploads a file and makes its batch; the ledger knows each before the next step."""
        file_id = await api.upload(file.path)
        self.tally.asked += len(file.keys)
        state = BatchState(file_id, keys=tuple(file.keys), note=file.note(self._rules.model))
        await asyncio.wrap_future(self._ledger.note_batch(state))
        return await self._made(api, state, is_new=True)

    async def _made(self, api: BatchApi, state: BatchState, *, is_new: bool) -> BatchState:
        if state.batch_id:
            return state
        batch = await api.make(state.input_file_id, is_new=is_new)
        return await self._note(replace(state, batch_id=batch.id), batch.state)

    async def _note(self, state: BatchState, word: str) -> BatchState:
        noted = replace(state, state=word)
        await asyncio.wrap_future(self._ledger.note_batch(noted))
        return noted

    async def _fetch(self, api: BatchApi, state: BatchState, batch: Batch) -> None:
        """Puts all that an ended batch gave into the ledger, and then its end."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / str(_note(state)["file"])
        if not path.is_file():
            await api.fetch(state.input_file_id, path)
        given = []
        for file_id in (batch.output_id, batch.error_id):
            if file_id is not None:
                given.append(self._folder / f"{file_id}.jsonl")
                await api.fetch(file_id, given[-1])
        lines = Lines(path)
        try:
            await self._keep(state, self._outcomes(state, batch, given), lines)
        finally:
            lines.close()
        await self._note(state, FETCHED)
        for each in (path, *given):
            each.unlink()

    def _outcomes(
        self, state: BatchState, batch: Batch, given: Iterable[Path]
    ) -> Iterator[Reply | Failure]:
        """What came of each request that the ledger has no reply to."""
        open_keys = {key for key in state.keys if not self._ledger.has(key)}
        self._done_of[batch.id] = len(open_keys)
        for file in given:
            for row in rows_of(file):
                key = str(row.get("custom_id"))
                if key in open_keys:
                    open_keys.remove(key)
                    yield outcome_of(row, key, self._api_key)
        if batch.state != "failed":
            for key in state.keys:
                if key in open_keys:
                    yield left_over(key, batch.state)
        self._done_of[batch.id] = 0

    async def _keep(
        self, state: BatchState, outcomes: Iterator[Reply | Failure], lines: Lines
    ) -> None:
        """Writes them down in groups and counts those that are on disk."""
        note = _note(state)
        asked = _Asked(note["endpoint"], note["model"], note["params"])
        place_of = {key: place for place, key in enumerate(state.keys)}
        rows, samples = note["rows"], note.get("samples")
        group: list[tuple[Reply | Failure, asyncio.Future[bool]]] = []
        for outcome in outcomes:
            place = place_of[outcome.key]
            request = ChatRequest(
                lines.messages(outcome.key), samples[place] if samples else 0, rows[place]
            )
            if isinstance(outcome, Reply):
                reply = self._priced(outcome, asked.model)
                group.append((reply, asyncio.wrap_future(self._ledger.add(request, asked, reply))))
            else:
                done = self._ledger.fail(request, asked, outcome)
                group.append((outcome, asyncio.wrap_future(done)))
            if len(group) == _GROUP:
                await self._counted(group, state.batch_id)
        await self._counted(group, state.batch_id)

    async def _counted(
        self, group: list[tuple[Reply | Failure, asyncio.Future[bool]]], batch_id: str
    ) -> None:
        for outcome, done in group:
            await done
            if isinstance(outcome, Reply):
                self.tally.count(outcome)
            else:
                self.tally.failed[outcome.kind] += 1
        self._done_of[batch_id] = max(0, self._done_of.get(batch_id, 0) - len(group))
        self.tally.at_provider = sum(self._done_of.values())
        group.clear()
        if (trouble := self._ledger.trouble) is not None:
            raise RunError(trouble)

    def _priced(self, reply: Reply, model: str) -> Reply:
        cost = self._rules.prices.cost(
            model, reply.prompt_tokens, reply.completion_tokens, batch=True
        )
        return replace(reply, cost_usd=cost)

    def _check_failures(self) -> None:
        """Says so where more requests failed than may."""
        tally = self.tally
        num_failed, num_ended = tally.failed.total(), tally.failed.total() + tally.replied
        if num_ended >= _AT_LEAST and num_failed > self._rules.max_failed * num_ended:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in tally.failed.most_common())
            raise FailuresError(
                f"{num_failed:,} of {num_ended:,} requests failed ({kinds}), more than max_failed="
                f"{self._rules.max_failed:g}"
            )

    def _too_dear(self, num_requests: int, bound: float) -> str:
        limit = self._budget.limit_usd or 0.0
        return (
            f"a batch of {num_requests:,} requests may cost up to ${bound:,.4f}, and of budget_usd="
            f"{limit:g} there is ${max(0.0, limit - self.tally.ledger_usd):,.4f} left; nothing was "
            f"sent: type budget_usd={self.tally.ledger_usd + bound:.2f}, or limit=N for fewer rows"
        )

    def _failed(self, batch: Batch) -> str:
        hint = "the same line asks again"
        if any(code == _QUEUE_FULL for code, _ in batch.problems):
            hint = (
                "one batch alone is more than the account may have in its queue: type "
                f"asker.batches.most_requests={max(1, self._batches.most_requests // 10)}"
            )
        return f"{self._rules.model.name}: the provider takes no such batch ({_why(batch)}); {hint}"


def check_batches(model: ChatModel) -> None:
    """Asks for the models, which is free, to see whether anything can be asked.

    Raises:
        CannotAskError: No key, a wrong one, no such model or server.
    """

    async def once() -> None:
        async with BatchApi(model) as api:
            await api.check()

    asyncio.run(once())


def _note(state: BatchState) -> Mapping[str, Any]:
    return state.note or {}


def _why(batch: Batch) -> str:
    said = [" ".join(f"{code}: {message}".split()) for code, message in batch.problems]
    return "; ".join(said[:2])[:300] or "no reason given"
