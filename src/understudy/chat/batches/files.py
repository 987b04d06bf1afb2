"""The files of requests that the Batch API takes, split at its limits.

They lie beside the ledger until their replies are in it. A line is known by the key of its request,
so replies may come in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest
from understudy.durable import sync
from understudy.records import InputError, Turn

if TYPE_CHECKING:
    from understudy.chat.ledger.ledger import Ledger

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
FETCHED = "fetched"
"""The state of a batch whose replies are all in the ledger."""

ENDPOINT, AZURE_ENDPOINT = "/v1/chat/completions", "/chat/completions"


@dataclass(frozen=True)
class BatchRules:
    """How the Batch API is used.

    Args:
        poll_seconds: How long is waited before a batch is looked at again.
        most_requests: Of one file; the API takes 50,000.
        most_bytes: Of one file; the API takes 200 MB.

    Raises:
        InputError: A value is out of range.
    """

    poll_seconds: float = 30.0
    most_requests: int = MOST_REQUESTS
    most_bytes: int = MOST_BYTES

    def __post_init__(self) -> None:
        """Refuses what no batch can be."""
        if self.poll_seconds <= 0:
            raise InputError(f"asker.batches.poll_seconds={self.poll_seconds:g} must be above 0")
        if self.most_requests < 1 or self.most_bytes < 1:
            raise InputError("asker.batches: most_requests and most_bytes must be at least 1")


def keys_at_provider(ledger: Ledger) -> set[bytes]:
    """The keys of the requests whose batches are made, and whose replies are not all fetched."""
    left = (each.keys for each in ledger.batches() if each.state != FETCHED)
    return {bytes.fromhex(key) for keys in left for key in keys}


@dataclass(slots=True)
class RequestFile:
    """A file of requests, as long as it is written and after.

    Attributes:
        path: Where it is.
        keys: Of its requests, in the order of its lines.
        rows: What they are for, in the same order.
        samples: Their numbers among requests of the same content.
        bound_usd: What their replies cost at most.
        num_bytes: Its size.
    """

    path: Path
    keys: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    bound_usd: float = 0.0
    num_bytes: int = 0

    def note(self, model: ChatModel) -> dict[str, Any]:
        """What the ledger keeps, so that any later process can go on with the batch."""
        return {
            "file": self.path.name,
            "endpoint": model.endpoint,
            "model": model.model,
            "params": model.sent_params(),
            "bound_usd": self.bound_usd,
            "rows": self.rows,
            **({"samples": self.samples} if any(self.samples) else {}),
        }


class RequestFiles:
    """Writes requests into files within the API's limits; used as a context manager."""

    def __init__(self, folder: Path, model: ChatModel, rules: BatchRules) -> None:
        """The folder is made with the first request."""
        self._folder, self._model, self._rules = folder, model, rules
        self._stream: BinaryIO | None = None
        self.files: list[RequestFile] = []

    def __enter__(self) -> RequestFiles:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the last file; afterwards all are on disk."""
        self._end_file()

    def add(self, request: ChatRequest, key: str, bound_usd: float) -> None:
        """Writes a request.

        Raises:
            InputError: It alone is larger than a file may be.
        """
        line = line_of(request, key, self._model)
        if len(line) > self._rules.most_bytes:
            raise InputError(
                f"the request for row {request.id or key} has {len(line):,} bytes, more than a "
                f"file of the Batch API may have ({self._rules.most_bytes:,}); leave the row out"
            )
        if self._stream is None or self._is_full(len(line)):
            self._begin_file(key)
        assert self._stream is not None
        self._stream.write(line)
        file = self.files[-1]
        file.keys.append(key)
        file.rows.append(request.id)
        file.samples.append(request.sample)
        file.bound_usd += bound_usd
        file.num_bytes += len(line)

    def remove(self) -> None:
        """Takes all files away again: none of them will be sent."""
        self._end_file()
        for file in self.files:
            file.path.unlink(missing_ok=True)
        self.files.clear()

    def _is_full(self, more_bytes: int) -> bool:
        file = self.files[-1]
        too_many = len(file.keys) >= self._rules.most_requests
        return too_many or file.num_bytes + more_bytes > self._rules.most_bytes

    def _begin_file(self, first_key: str) -> None:
        self._end_file()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{first_key[:16]}.jsonl"
        self._stream = path.open("wb")
        self.files.append(RequestFile(path))

    def _end_file(self) -> None:
        if self._stream is not None:
            self._stream.close()
            sync(self.files[-1].path)
            self._stream = None


class Lines:
    """The requests of a file by their keys, read one by one: only their places are kept."""

    def __init__(self, path: Path) -> None:
        """Reads where each line begins."""
        self._stream = path.open("rb")
        self._offsets: dict[bytes, int] = {}
        offset = 0
        for line in self._stream:
            self._offsets[bytes.fromhex(json.loads(line)["custom_id"])] = offset
            offset += len(line)

    def messages(self, key: str) -> tuple[Turn, ...]:
        """The messages of a request."""
        self._stream.seek(self._offsets[bytes.fromhex(key)])
        body = json.loads(self._stream.readline())["body"]
        return tuple(Turn(each["role"], each["content"]) for each in body["messages"])

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()


def batch_folder(ledger: Path) -> Path:
    """Where the files of a ledger's batches lie."""
    return ledger.with_name(f"{ledger.name}.batches")


def line_of(request: ChatRequest, key: str, model: ChatModel) -> bytes:
    """The line of a request."""
    line = {
        "custom_id": key,
        "method": "POST",
        "url": AZURE_ENDPOINT if model.api == "azure" else ENDPOINT,
        "body": model.body_of(request),
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def rows_of(file: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a file that the API gave; blank lines are none.

    Raises:
        ValueError: A line is no JSON object: it was not received whole.
    """
    with file.open("rb") as stream:
        for line in stream:
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"a line holds {type(row).__name__}, not an object")
            yield row


def remove_but(folder: Path, names: Sequence[str]) -> None:
    """Removes files that no batch needs, and the folder where none is left."""
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
