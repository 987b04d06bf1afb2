"""Which requests of a run's rounds were given up: a round that is over stays as it was.

The ledger keeps replies, and a failure only until the request is answered. Were a failed request
asked again when a run goes on, its reply would change that round and all after it, and what was
paid for them would be of no use. So a run writes down what failed in each round that is over, and
goes by it when it goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from understudy.durable import saying_what


class Journal:
    """A file with a line for each round that is over."""

    def __init__(self, path: Path | None) -> None:
        """Reads what is there; null keeps nothing."""
        self._path = path
        self._rounds: list[tuple[str, frozenset[str]]] = []
        if path is not None and path.exists():
            self._rounds = list(_read(path))
            self._write_anew()

    def given_up(self, number: int, keys: Sequence[str]) -> frozenset[str] | None:
        """The requests that failed in a round, from 1; null for a round that is not over.

        Where the round asked for other things then, it and all after it are forgotten: the ledger
        is another one.
        """
        if number > len(self._rounds):
            return None
        asked, failed = self._rounds[number - 1]
        if asked == _joined(keys):
            return failed
        del self._rounds[number - 1 :]
        self._write_anew()
        return None

    def close_round(self, number: int, keys: Sequence[str], failed: Iterable[str]) -> None:
        """Writes down that a round is over; it is on disk when this returns."""
        if number <= len(self._rounds):
            return
        self._rounds.append((_joined(keys), frozenset(failed)))
        if self._path is None:
            return
        with saying_what(str(self._path)), self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line(number, *self._rounds[-1]))
            stream.flush()
            os.fsync(stream.fileno())

    def _write_anew(self) -> None:
        if self._path is not None:
            lines = [_line(number, *each) for number, each in enumerate(self._rounds, start=1)]
            with saying_what(str(self._path)):
                self._path.write_text("".join(lines), encoding="utf-8")


def _read(path: Path) -> Iterable[tuple[str, frozenset[str]]]:
    """The whole lines from the first on; half of one is at the end of a run that was killed."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            if row["round"] != number:
                return
            yield row["asked"], frozenset(row["failed"])
        except (ValueError, KeyError, TypeError):
            return


def _line(number: int, asked: str, failed: frozenset[str]) -> str:
    return json.dumps({"round": number, "asked": asked, "failed": sorted(failed)}) + "\n"


def _joined(keys: Sequence[str]) -> str:
    """The requests of a round, in short: the first digits of each key."""
    return " ".join(key[:16] for key in keys)
