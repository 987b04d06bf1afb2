"""Counts and bills each request, exactly: in whole picodollars, a line of a file for each.

The rule: a reply is billed, just before the last of it is handed to the connection, if the client
is still there. A refusal is not, nor a reply that a fault dropped or cut, nor one whose client had
left. A request of a batch is billed at half price when its reply is written. The file outlives the
server; a server that goes on with it has the same totals.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from understudy.records import InputError

PICODOLLARS = 10**12
_PER_TOKEN = 10**6  # picodollars in a millionth of a dollar: prices are for a million tokens
_MAX_SHOWN = 100


@dataclass(slots=True)
class Bill:
    """One request and what came of it.

    Attributes:
        number: Of the request; its ids end with it.
        content: Hash of model, parameters and messages.
        model: That was asked for.
        status: Of HTTP; 0 where nothing was sent.
        outcome: "answered", "refused", "left" (the client had), or "dropped".
        fault: That was put on it.
        is_full: A reply with text was sent whole, with a finish that no client asks for again.
        prompt_tokens: As billed.
        completion_tokens: As billed, of all choices.
        picodollars: Null where the model has no price.
        batch: The batch it belongs to.
    """

    number: int
    content: str = ""
    model: str = ""
    status: int = 0
    outcome: str = "refused"
    fault: str | None = None
    is_full: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    picodollars: int | None = 0
    batch: str | None = None


_FIELDS = tuple(each.name for each in fields(Bill))


class Prices:
    """What a token costs, of each model that has a price."""

    def __init__(self, usd_per_million: Mapping[str, Mapping[str, float]]) -> None:
        """``usd_per_million``: ``input`` and ``output`` by model.

        Raises:
            InputError: A price is negative, has more than six decimals, or is not there.
        """
        sides = ("input", "output")
        self._per_token = {
            model: tuple(self._picodollars(model, price, side) for side in sides)
            for model, price in usd_per_million.items()
        }

    def of(self, model: str, prompt: int, completion: int, *, batch: bool = False) -> int | None:
        """Picodollars of a request; null where the model has no price."""
        prices = self._per_token.get(model)
        if prices is None:
            return None
        whole = prompt * prices[0] + completion * prices[1]
        return whole // 2 if batch else whole

    @staticmethod
    def _picodollars(model: str, price: Mapping[str, float], side: str) -> int:
        if side not in price:
            raise InputError(f"the price of {model} has no {side}; give input and output")
        exact = Decimal(str(price[side])) * _PER_TOKEN
        if exact < 0 or exact % 2:
            raise InputError(
                f"the {side} price of {model}, {price[side]} a million tokens, is below 0 or has "
                "more than five decimals"
            )
        return int(exact)


@dataclass(slots=True)
class _Totals:
    """Sums over all bills."""

    requests: int = 0
    replied: int = 0
    billed: int = 0
    unpriced: int = 0
    picodollars: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)

    def add(self, bill: Bill) -> None:
        self.requests += 1
        self.statuses[str(bill.status)] += 1
        self.outcomes[bill.outcome] += 1
        if bill.fault is not None:
            self.faults[bill.fault] += 1
        if bill.outcome != "answered":
            return
        self.replied += 1
        self.models[bill.model] += 1
        self.prompt_tokens += bill.prompt_tokens
        self.completion_tokens += bill.completion_tokens
        if bill.picodollars is None:
            self.unpriced += 1
        else:
            self.billed += 1
            self.picodollars += bill.picodollars


class Bills:
    """All bills of a server, in a file and in sums."""

    def __init__(self, path: Path | None = None) -> None:
        """Reads the bills that ``path`` holds and appends to them; null: a file that nobody keeps.

        Raises:
            InputError: A line of the file, other than a torn last one, is no bill.
        """
        self._file: BinaryIO = (
            tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
            if path is None
            else path.open("a+b", buffering=0)
        )
        self._name = "bills" if path is None else str(path)
        self._offsets = array("q")
        self._end = self._next = 0
        self._totals = _Totals()
        self._answered: dict[str, int] = {}
        self._again: dict[str, list[int]] = {}
        try:
            self._read()
        except InputError:
            self.close()
            raise

    def next_number(self) -> int:
        """The number of the next request."""
        self._next += 1
        return self._next - 1

    def add(self, bill: Bill) -> None:
        """Writes a bill down and counts it."""
        values = {name: getattr(bill, name) for name in _FIELDS}
        line = json.dumps(values, separators=(",", ":")).encode() + b"\n"
        self._file.write(line)
        self._count(bill, len(line))

    def of(self, number: int) -> dict[str, Any] | None:
        """The bill of a request; null where there is none, or none yet."""
        if not 0 <= number < len(self._offsets) or self._offsets[number] < 0:
            return None
        self._file.seek(self._offsets[number])
        values: dict[str, Any] = json.loads(self._file.readline())
        self._file.seek(0, 2)
        return {**values, "billed_usd": usd(values["picodollars"] or 0)}

    def facts(self, *, with_all: bool = False) -> dict[str, Any]:
        """All sums; of the contents that were answered in full again and again the first hundred.

        ``billed_usd`` is the sum as a number, ``billed_picodollars`` the same, exact.
        """
        totals = self._totals
        again = list(self._again.items())[: None if with_all else _MAX_SHOWN]
        return {
            "requests": totals.requests,
            "replied": totals.replied,
            "billed": totals.billed,
            "unpriced": totals.unpriced,
            "billed_usd": usd(totals.picodollars),
            "billed_picodollars": totals.picodollars,
            "prompt_tokens": totals.prompt_tokens,
            "completion_tokens": totals.completion_tokens,
            "asked_twice": len(self._again),
            "asked_twice_contents": [{"content": key, "numbers": each} for key, each in again],
            "contents": len(self._answered),
            "statuses": dict(totals.statuses),
            "outcomes": dict(totals.outcomes),
            "faults": dict(totals.faults),
            "models": dict(totals.models),
        }

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _count(self, bill: Bill, num_bytes: int) -> None:
        while len(self._offsets) <= bill.number:
            self._offsets.append(-1)
        self._offsets[bill.number] = self._end
        self._end += num_bytes
        self._totals.add(bill)
        if not bill.is_full:
            return
        first = self._answered.setdefault(bill.content, bill.number)
        if first != bill.number:
            self._again.setdefault(bill.content, [first]).append(bill.number)

    def _read(self) -> None:
        """Counts what the file holds; a line that a kill tore is cut off."""
        self._file.seek(0)
        for place, line in enumerate(self._file.readlines(), start=1):
            if not line.endswith(b"\n"):
                self._file.truncate(self._end)
                break
            try:
                bill = Bill(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise InputError(f"{self._name}, line {place} is no bill: {error}") from None
            self._count(bill, len(line))
        self._next = len(self._offsets)
        self._file.seek(0, 2)


def usd(picodollars: int) -> float:
    """Dollars, as the nearest number.

    >>> usd(1_500_000_000)
    0.0015
    """
    return picodollars / PICODOLLARS
