"""What is shown while a model is asked: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from understudy.chat.asking.plan import dollars
from understudy.chat.asking.used import Used
from understudy.chat.requests import Reply

_WINDOW_SECONDS = 30.0
_LINE_SECONDS = 30.0
_BAR = "{desc} {percentage:3.0f}%|{bar}|{n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
_log = logging.getLogger(__name__)


@dataclass
class Tally:
    """What asking has come to.

    Attributes:
        asked: Requests made in this run, whatever came of them.
        cached: Answered before this run.
        duplicates: The same as an earlier one of this run, which is asked once.
        replied: Answers that this run paid for.
        failed: Requests that were given up, by kind.
        at_provider: Requests that batches have dealt with, and whose replies are still there.
        truncated: Of the answers of this run, those cut at their bound.
        empty: Of the answers of this run, those without text.
        prompt_tokens: Of the answers of this run, where the server counts them.
        completion_tokens: The same.
        spent_usd: By this run; null where a reply's price is not known.
        ledger_usd: By all replies in the ledger.
        unknown_usd: What answers that never came may have cost at most, in this run.
        used: What the replies came to that were read afterwards.
        stopped_by: What ended asking before all were asked: "budget", "failures", a signal's name.
    """

    asked: int = 0
    cached: int = 0
    duplicates: int = 0
    replied: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    at_provider: int = 0
    truncated: int = 0
    empty: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spent_usd: float | None = 0.0
    ledger_usd: float = 0.0
    unknown_usd: float = 0.0
    used: Used = field(default_factory=Used)
    stopped_by: str | None = None

    @property
    def done(self) -> int:
        """Requests that are dealt with."""
        kept = self.cached + self.duplicates + self.replied + self.failed.total()
        return kept + self.at_provider

    @property
    def tokens(self) -> int:
        """Of prompts and completions of this run."""
        return self.prompt_tokens + self.completion_tokens

    def count(self, reply: Reply) -> None:
        """Counts an answer that this run paid for."""
        self.replied += 1
        self.truncated += reply.finish_reason == "length"
        self.empty += not reply.text.strip()
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0
        self.ledger_usd += reply.cost_usd or 0.0
        if reply.cost_usd is None or self.spent_usd is None:
            self.spent_usd = None
        else:
            self.spent_usd += reply.cost_usd

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        own = {name: value for name, value in vars(self).items() if name != "used"}
        return {**own, "failed": dict(self.failed)}

    def add(self, more: Tally) -> None:
        """Adds what further asking came to; what is in the ledger now is as it says."""
        for name in ("asked", "cached", "duplicates", "replied", "truncated", "empty",
                     "prompt_tokens", "completion_tokens"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.failed += more.failed
        known = self.spent_usd is not None and more.spent_usd is not None
        self.spent_usd = (self.spent_usd or 0.0) + (more.spent_usd or 0.0) if known else None
        self.unknown_usd += more.unknown_usd
        self.ledger_usd = max(self.ledger_usd, more.ledger_usd)
        self.stopped_by = more.stopped_by


class Progress:
    """Shows a tally that someone else changes, whenever it is told to look."""

    def __init__(
        self, title: str, total: int | None, tally: Tally, *, is_shown: bool = True
    ) -> None:
        """Draws the bar where standard error is a terminal."""
        self._title, self._total, self._tally = title, total, tally
        self._bar: tqdm[Any] = tqdm(
            total=total,
            desc=title,
            disable=None if is_shown else True,
            dynamic_ncols=True,
            bar_format=_BAR if total is not None else None,
        )
        self._seen: deque[tuple[float, int, int]] = deque()
        self._said = time.monotonic()
        self.look()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shows the last state and leaves the bar."""
        self.look()
        self._bar.close()

    def look(self) -> None:
        """Shows how things stand."""
        at = time.monotonic()
        self._seen.append((at, self._tally.asked, self._tally.tokens))
        while len(self._seen) > 2 and at - self._seen[0][0] > _WINDOW_SECONDS:
            self._seen.popleft()
        if self._bar.disable:
            if at - self._said >= _LINE_SECONDS:
                self._said = at
                _log.info("%s: %s", self._title, self.in_words)
            return
        self._bar.set_postfix_str(self._speed_and_cost(), refresh=False)
        self._bar.update(self._tally.done - self._bar.n)

    @property
    def in_words(self) -> str:
        """How far it is, how fast and at what cost."""
        of = "" if self._total is None else f" of {self._total:,}"
        return f"{self._tally.done:,}{of} done, {self._speed_and_cost()}"

    def _speed_and_cost(self) -> str:
        (start, asked, tokens), (end, *_) = self._seen[0], self._seen[-1]
        seconds = max(end - start, 1e-9)
        requests = (self._seen[-1][1] - asked) / seconds
        per_second = (self._seen[-1][2] - tokens) / seconds
        return (
            f"{self._tally.failed.total():,} failed, {_short(requests)} req/s, "
            f"{_short(per_second)} tok/s, {self._cost()}"
        )

    def _cost(self) -> str:
        spent = self._tally.spent_usd
        if spent is None:
            return "price unknown"
        said = dollars(spent)
        if self._total is None or not self._tally.replied:
            return said
        left = max(0, self._total - self._tally.done)
        return f"{said} of {dollars(spent + spent / self._tally.replied * left)} projected"


def _short(speed: float) -> str:
    return f"{speed:,.1f}" if speed < 10 else f"{speed:,.0f}"
