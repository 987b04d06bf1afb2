"""Batches: requests in a file, answered in the background at half price, over real time.

A batch is validated, in progress, finalizing and completed, whether or not its client looks; it is
gone with the server. One that is cancelled keeps, and bills, what was answered before.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.lab.server.batch_lines import Line, Problem, read_lines, written
from understudy.lab.server.bills import Bill
from understudy.lab.server.desk import Desk
from understudy.lab.server.errors import ApiError, broken, missing, not_found, wrong
from understudy.lab.server.files import Files
from understudy.lab.server.replies import reply_of

_PATHS = {"/v1/chat/completions": True, "/v1/completions": False}
"""What a batch may ask for, and whether that is a chat."""

_STEPS = 20  # in which a batch goes on
_LARGEST_STEP = 50
_DAY_SECONDS = 86_400
_ENDED = ("completed", "failed", "cancelled")


@dataclass(slots=True)
class Batch:
    """One batch: where it stands, and since when."""

    id: str
    endpoint: str
    input_file_id: str
    metadata: Any
    created_at: int
    status: str = "validating"
    moments: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    total: int = 0
    replies: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None

    def becomes(self, status: str) -> None:
        """Enters the status and its moment."""
        self.status = status
        self.moments[f"{status}_at"] = int(time.time())

    def listed(self) -> dict[str, Any]:
        """The batch as the API says it."""
        moments = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "cancelling_at",
                   "cancelled_at", "expired_at")  # fmt: skip
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": {"object": "list", "data": self.problems} if self.problems else None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.created_at + _DAY_SECONDS,
            **{name: self.moments.get(name) for name in moments},
            "request_counts": {
                "total": self.total,
                "completed": len(self.replies),
                "failed": len(self.errors),
            },
            "metadata": self.metadata,
        }


class Batches:
    """All batches of a server."""

    def __init__(self, desk: Desk, files: Files) -> None:
        """Requests are answered at ``desk``, out of and into ``files``."""
        self._desk = desk
        self._files = files
        self._batches: dict[str, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def create(self, values: Mapping[str, Any]) -> Batch:
        """Begins a batch.

        Raises:
            ApiError: A parameter is missing or wrong, or the file is not there.
        """
        for param in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(values.get(param), str):
                raise missing(param)
        if values["endpoint"] not in _PATHS:
            raise wrong("endpoint", f"choose from {', '.join(_PATHS)}")
        if values["completion_window"] != "24h":
            raise wrong("completion_window", "it must be 24h")
        content = self._files.get(values["input_file_id"]).content
        batch = Batch(
            self._desk.id_of("batch", len(self._batches)),
            values["endpoint"],
            values["input_file_id"],
            values.get("metadata"),
            int(time.time()),
        )
        self._batches[batch.id] = batch
        task = asyncio.get_running_loop().create_task(self._work(batch, content))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    def get(self, batch_id: str) -> Batch:
        """A batch by its id.

        Raises:
            ApiError: There is none.
        """
        if batch_id not in self._batches:
            raise not_found(f"batch: {batch_id}")
        return self._batches[batch_id]

    def cancel(self, batch_id: str) -> Batch:
        """Ends a batch early.

        Raises:
            ApiError: There is none, or it has ended.
        """
        batch = self.get(batch_id)
        if batch.status in _ENDED:
            raise ApiError(409, f"Cannot cancel a batch with status '{batch.status}'.")
        if batch.status in ("validating", "in_progress"):
            batch.becomes("cancelling")
        return batch

    def page(self, limit: int, after: str | None) -> dict[str, Any]:
        """Batches, the newest first: so many of those that are older than ``after``."""
        newest = list(self._batches)[::-1]
        start = newest.index(self.get(after).id) + 1 if after else 0
        shown = newest[start : start + limit]
        return {
            "object": "list",
            "data": [self._batches[each].listed() for each in shown],
            "first_id": shown[0] if shown else None,
            "last_id": shown[-1] if shown else None,
            "has_more": start + limit < len(newest),
        }

    async def close(self) -> None:
        """Stops what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, batch: Batch, content: bytes) -> None:
        """A batch from its beginning to its end."""
        await asyncio.sleep(self._desk.config.batches.validating_seconds)
        lines, batch.problems = read_lines(content, batch.endpoint)
        if batch.problems:
            batch.becomes("failed")
            return
        batch.total = len(lines)
        if batch.status == "validating":
            batch.becomes("in_progress")
        step = min(-(-len(lines) // _STEPS), _LARGEST_STEP)
        for start in range(0, len(lines), step):
            part = lines[start : start + step]
            await asyncio.sleep(self._desk.config.batches.seconds * len(part) / len(lines))
            if batch.status == "cancelling":
                break
            for line in part:
                self._answer(batch, line)
        self._finish(batch)

    def _finish(self, batch: Batch) -> None:
        was_cancelled = batch.status == "cancelling"
        if not was_cancelled:
            batch.becomes("finalizing")
        if batch.replies:
            batch.output_file_id = self._kept(batch, "output", batch.replies)
        if batch.errors:
            batch.error_file_id = self._kept(batch, "error", batch.errors)
        batch.becomes("cancelled" if was_cancelled else "completed")

    def _kept(self, batch: Batch, kind: str, lines: list[bytes]) -> str:
        return self._files.add(b"".join(lines), f"{batch.id}_{kind}.jsonl", "batch_output").id

    def _answer(self, batch: Batch, line: Line) -> None:
        """Answers and bills one request, or writes down why not."""
        bill = Bill(self._desk.bills.next_number(), batch=batch.id)
        request_id = self._desk.id_of("req", bill.number)
        line_id = self._desk.id_of("batch_req", bill.number)
        try:
            prepared = self._desk.prepare(
                line.body, bill, is_chat=_PATHS[batch.endpoint], fault=None
            )
            if self._is_failed(bill):
                bill.fault = "failed_in_batch"
                raise broken(500)
        except ApiError as error:
            self._desk.refuse(error, bill)
            batch.errors.append(written(line, line_id, error.status, request_id, error.body))
            return
        reply = reply_of(prepared.call, prepared.choices, prepared.names, prepared.usage)
        self._desk.bill(prepared, bill)
        batch.replies.append(written(line, line_id, 200, request_id, reply))

    def _is_failed(self, bill: Bill) -> bool:
        """Whether it is one of the share that fails; asked again it is another's turn."""
        text = f"{self._desk.config.seed}\x1fbatch\x1f{bill.number}\x1f{bill.content}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        share = int.from_bytes(digest, "big") / 2**64
        return share < self._desk.config.batches.failed_rate
