"""What a run records of having asked a model: who, how, what it came to and what it cost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from understudy.chat.asking.asker import Answers, Asker
from understudy.chat.asking.progress import Tally
from understudy.chat.asking.used import Used
from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest
from understudy.records import RunError

if TYPE_CHECKING:
    from understudy.tracking.run import Run

NOT_PRICED = "the price list has no price of the model"
UNCOUNTED = "the server counts no tokens"
_UNTIMED = "nothing was asked in this run"


def ask(
    run: Run, asker: Asker, requests: Iterable[ChatRequest], *, title: str, total: int
) -> Answers:
    """Asks what the ledger lacks, and records who was asked, the counts, the cost and the speed.

    Raises:
        RunError: The budget is spent, too many requests fail, or nothing was answered.
    """
    run.manifest.asking = asker.facts()
    tally, start = Tally(), time.perf_counter()
    try:
        with run.timed("asking"):
            answers = asker.ask(requests, title=title, total=total, tally=tally)
    finally:  # a budget that is spent, or a stop: what it came to is what counts then
        record_tally(run, tally, seconds=time.perf_counter() - start)
    kinds = ", ".join(sorted(tally.failed))
    if kinds not in ("", "content_filter") and not tally.cached + tally.replied:
        raise RunError(
            f"none of {tally.failed.total():,} requests was answered ({kinds}); {asker.ledger} "
            "says why, and the same line asks again"
        )
    return answers


def record_used(run: Run, used: Used) -> None:
    """Records what the replies came to that became rows, which are written by now."""
    run.manifest.asking |= {"used": used.facts()}


def used_facts(tally: Tally) -> dict[str, str]:
    """What the rows' replies came to, and what this run paid, for the user."""
    used = tally.used
    models = ", ".join(f"{name} ({count:,})" for name, count in sorted(used.models.items()))
    return {
        "answered by": models or "nobody",
        "tokens": f"{used.prompt_tokens:,} prompt, {used.completion_tokens:,} completion"
        if used.has_tokens
        else UNCOUNTED,
        "cost": f"{dollars(used.usd)} these rows, {dollars(tally.spent_usd)} this run",
    }


def record_tally(run: Run, tally: Tally, *, seconds: float) -> None:
    """Adds what asking has come to to the manifest's ``asking`` and to the metrics."""
    run.manifest.asking |= {"tally": tally.facts()}
    uncounted = tally.replied > 0 and not tally.tokens
    metrics = {
        "ask/requests": tally.asked,
        "ask/cached": tally.cached,
        "ask/replies": tally.replied,
        "ask/failed": tally.failed.total(),
        "ask/prompt_tokens": None if uncounted else tally.prompt_tokens,
        "ask/completion_tokens": None if uncounted else tally.completion_tokens,
        "ask/spent_usd": tally.spent_usd,
        "ask/tokens_per_second": tally.tokens / seconds if tally.tokens else None,
        "ask/requests_per_second": tally.replied / seconds if tally.replied else None,
    }
    why = UNCOUNTED if uncounted else _UNTIMED
    reasons = dict.fromkeys((each for each, value in metrics.items() if value is None), why)
    if tally.spent_usd is None and not uncounted:
        reasons["ask/spent_usd"] = NOT_PRICED
    run.add_metrics(metrics, reasons)


def collection_of(model: ChatModel, template: str) -> str:
    """How answers were asked for, as it must be the same in arms that differ in their teacher.

    By our names of the parameters, however the model calls them; a seed draws another sample of the
    same distribution, so it does not count.

    >>> collection_of(ChatModel("gpt4", "gpt-4"), "alpaca 5f4c")
    'alpaca 5f4c, max_tokens 512, temperature 1, top_p 1'
    """
    given = {
        name: value
        for name, value in model.params.items()
        if value is not None and name not in model.refused and name != "seed"
    }
    said = (f"{name} {_spelled(given[name])}" for name in sorted(given))
    return ", ".join((template, *said))


def _spelled(value: object) -> str:
    """Equal numbers alike: 1.0 is what 1 is."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def dollars(usd: float | None) -> str:
    """An amount for people; small ones keep their digits.

    >>> dollars(12.345), dollars(0.00123), dollars(0.0), dollars(None)
    ('$12.35', '$0.0012', '$0.00', 'unknown (no price)')
    """
    if usd is None:
        return "unknown (no price)"
    return f"${usd:,.4f}" if 0 < usd < 1 else f"${usd:,.2f}"
