"""Asks a model within a budget and keeps every reply: what each stage that asks works with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.chat.asking.budget import Budget, FailuresError, require_bounded, spent_before
from understudy.chat.asking.plan import AskPlan, ask_plan
from understudy.chat.asking.prices import PriceList
from understudy.chat.asking.progress import Progress, Tally
from understudy.chat.asking.stops import stops_noted
from understudy.chat.batches.files import BatchRules
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.requests import NO_SERVER, ChatRequest, Failure, Reply
from understudy.chat.wire.errors import CannotAskError
from understudy.records import InputError, RunError

if TYPE_CHECKING:
    from understudy.chat.asking.asking import Asking
    from understudy.chat.batches.batches import BatchAsking

_log = logging.getLogger(__name__)
_checked: dict[str, tuple[str, Tally]] = {}
"""By ledger: the key of the request that a check has made, and its tally, for the run after it."""


class Answers:
    """What a ledger holds for the requests of a run; read from the file, so memory stays flat.

    Attributes:
        tally: What asking has come to.
    """

    def __init__(self, ledger: str | Path, model: ChatModel, tally: Tally) -> None:
        """Opens nothing yet."""
        self.tally = tally
        self._model = model
        self._ledger = Ledger.open(ledger)

    def reply(self, request: ChatRequest) -> Reply | None:
        """The reply to a request."""
        reply = self._ledger.reply(self._model.key_of(request))
        if reply is not None:
            self.tally.used.count(reply)
        return reply

    def failure(self, request: ChatRequest) -> Failure | None:
        """Why a request was not answered; null where it was, or was not asked."""
        return self._ledger.failure(self._model.key_of(request))

    def close(self) -> None:
        """Lets go of the file."""
        self._ledger.close()

    def __del__(self) -> None:
        """Lets go of the file at the latest when nobody asks any more."""
        self.close()


@dataclass(frozen=True)
class Asker:
    """Who is asked, where replies are kept, and what may be spent.

    Args:
        model: Who is asked.
        ledger: The file of replies; it is there from the first one on.
        prices: Of the day.
        budget_usd: What the ledger's replies may cost in all; null is no limit.
        batch: Whether the provider's Batch API is used: later, and cheaper.
        max_failed: The share of failed requests, of at least 100, beyond which asking ends.
        batches: How the Batch API is used.

    Raises:
        InputError: ``max_failed`` is no share.
    """

    model: ChatModel
    ledger: str
    prices: PriceList
    budget_usd: float | None = None
    batch: bool = False
    max_failed: float = 0.05
    batches: BatchRules = field(default_factory=BatchRules)

    def __post_init__(self) -> None:
        """Refuses values that mean nothing."""
        if not 0 <= self.max_failed <= 1:
            raise InputError(f"max_failed={self.max_failed} is no share; type max_failed=0.05")

    def with_params(self, **params: Any) -> Asker:  # noqa: ANN401 - any of the API's
        """The same with other values of some parameters of the model."""
        return replace(self, model=self.model.with_params(**params))

    def facts(self) -> dict[str, Any]:
        """For the manifest: who is asked and how, and what it costs; without the key."""
        price = self.prices.of(self.model.model)
        return {
            **self.model.facts(),
            "ledger": self.ledger,
            "budget_usd": self.budget_usd,
            "batch": self.batch,
            "usd_per_million": None if price is None else {"input": price[0], "output": price[1]},
            "prices_of": self.prices.date,
        }

    def plan(
        self, requests: Iterable[ChatRequest], *, expected_tokens: float | None = None
    ) -> AskPlan:
        """What asking would take; nothing is asked or written.

        ``expected_tokens`` is how long an answer is on average; the ledger's own replies know it
        better, where there are any.
        """
        with Ledger.open(self.ledger) as ledger:
            return ask_plan(
                requests,
                model=self.model,
                ledger=ledger,
                prices=self.prices,
                batch=self.batch,
                budget_usd=self.budget_usd,
                expected_tokens=expected_tokens,
            )

    def check(self, first: ChatRequest) -> None:
        """Refuses what could not be asked, by asking ``first`` where the ledger lacks it.

        Raises:
            CannotAskError: No key, a wrong one, no such model or server; nothing was written.
            RunError: Nobody answers, or another process writes the ledger.
            InputError: The budget cannot be kept.
        """
        if self.batch:
            self._check_batches()
            return
        tally = self._asked([first], Tally(), "check", total=1, is_shown=False).tally
        if tally.replied or tally.failed:
            _checked[self.ledger] = (self.model.key_of(first), tally)
        if any(kind in tally.failed for kind in NO_SERVER):
            with Ledger.open(self.ledger) as ledger:
                failure = ledger.failure(self.model.key_of(first))
            said = "" if failure is None else failure.message
            raise RunError(f"{self.model.name} at {self.model.url} does not answer: {said}")

    def _check_batches(self) -> None:
        """Refuses what could not be asked through the Batch API; asks for the models alone."""
        from understudy.chat.batches.batches import check_batches  # noqa: PLC0415 - it imports openai

        require_bounded(self.model, self.prices, self.budget_usd)
        with Ledger.open(self.ledger) as ledger:
            ledger.hold()
            spent_before(ledger, self.prices, budget_usd=self.budget_usd)
        check_batches(self.model)

    def ask(
        self,
        requests: Iterable[ChatRequest],
        *,
        title: str,
        total: int | None = None,
        is_shown: bool = True,
        tally: Tally | None = None,
    ) -> Answers:
        """Asks what the ledger lacks; every reply is on disk when this ends, however it ends.

        ``is_shown``: whether there is a bar; who asks in rounds has one of its own. ``tally`` is
        counted on, for who asks several times or wants to know what it came to before an error.
        What :meth:`check` has asked in this process counts as asked here.

        Raises:
            RunError: The budget is spent, too many requests fail, or nothing can be asked.
            KeyboardInterrupt: Or what else the run makes of a signal, after a bounded time.
        """
        tally = Tally() if tally is None else tally
        key, paid = _checked.pop(self.ledger, (None, Tally()))
        tally.add(paid)
        return self._asked(requests, tally, title, total=total, is_shown=is_shown, checked=key)

    def _asked(
        self,
        requests: Iterable[ChatRequest],
        tally: Tally,
        title: str,
        *,
        total: int | None,
        is_shown: bool = True,
        checked: str | None = None,
    ) -> Answers:
        from understudy.chat.asking.asking import Asking, Rules  # noqa: PLC0415 - it imports openai
        from understudy.chat.batches.batches import BatchAsking  # noqa: PLC0415 - so does this

        require_bounded(self.model, self.prices, self.budget_usd)
        with Ledger.open(self.ledger) as ledger:
            ledger.hold()
            before = spent_before(ledger, self.prices, budget_usd=self.budget_usd)
            tally.ledger_usd = before.spent_usd
            budget = Budget(self.budget_usd, before.spent_usd + before.perhaps_usd)
            rules = Rules(self.model, self.prices, self.max_failed)
            asking: Asking | BatchAsking = (
                BatchAsking(rules, ledger, budget, tally, self.batches)
                if self.batch
                else Asking(rules, ledger, budget, tally, checked=checked)
            )
            with (
                self._saying_how_far(tally, total),
                stops_noted(asking.stop, asking.hurry),
                Progress(title, total, tally, is_shown=is_shown) as progress,
            ):
                asyncio.run(asking.ask(requests, progress))
            self._raise(asking, total)
        return Answers(self.ledger, self.model, tally)

    @contextmanager
    def _saying_how_far(self, tally: Tally, total: int | None) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            _log.warning("stopped: %s; the same line goes on", self._how_far(tally, total))
            raise

    def _raise(self, asking: Asking | BatchAsking, total: int | None) -> None:
        """Ends with the reason, in one line, where not all was asked."""
        tally, how_far = asking.tally, self._how_far(asking.tally, total)
        match asking.ended_by:
            case None if tally.stopped_by == "budget":
                raise RunError(
                    f"budget_usd={self.budget_usd:g} is reached: ${tally.ledger_usd:,.4f} is "
                    f"spent{_unknown(tally)}, and the next request might pass it; {how_far}; type "
                    f"budget_usd={2 * (self.budget_usd or 0):g} to go on"
                )
            case None:
                return
            case FailuresError() as error:
                tally.stopped_by = "failures"
                raise RunError(f"{error}; {how_far}; the same line goes on") from error
            case InputError() as error:
                raise error
            case RunError() as error if tally.replied and type(error) in (RunError, CannotAskError):
                raise type(error)(f"{error}; {how_far}") from error
            case error:
                raise error

    def _how_far(self, tally: Tally, total: int | None) -> str:
        of = "" if total is None else f" of {total:,}"
        return f"{tally.cached + tally.replied:,}{of} answered, all kept in {self.ledger}"


def _unknown(tally: Tally) -> str:
    """What may have been billed without an answer, where there is such."""
    if not tally.unknown_usd:
        return ""
    return f", up to ${tally.unknown_usd:,.4f} may be for answers that never came"
