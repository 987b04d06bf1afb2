"""``stage=rate``: a model rates answers from 1 to 10, and the ratings become comparisons.

Peng et al. 2023, section 3.2. Answers come from runs and files (``answers=[RUN_A,RUN_B,A.json]``)
and are brought together by what was asked. ``ratings.jsonl`` has every rating with its reasons,
``comparisons.jsonl`` the released schema that ``stage=reward`` reads, ``statistics.json`` and
``ratings.html`` what the ratings say of each source. The same line again asks nothing and writes
the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from understudy.chat.asking.asker import Asker
from understudy.durable import replacing, saying_what
from understudy.forms.rating import RATING
from understudy.lab.families import FAMILIES
from understudy.stages.printing import in_words, print_facts, print_next
from understudy.teacher.rating.rate import (
    FAILED,
    PARSE_ERROR,
    RATED,
    Ratings,
    comparison_rows,
    distinct_requests,
    examples_in_words,
    num_identical,
    rating_request,
)
from understudy.teacher.rating.ratings import (
    PROBLEMS,
    SourceRatings,
    Ties,
    interval_in_words,
    statistics_of,
)
from understudy.teacher.rating.responses import Answers, Responses, read_responses
from understudy.teacher.record import ask, record_used, used_facts
from understudy.teacher.rows import (
    FAILURES,
    Outcome,
    failure_row,
    keeping_first,
    write_failures,
)

if TYPE_CHECKING:
    from understudy.teacher.rating.responses import Response
    from understudy.tracking.run import Run

RATINGS, COMPARISONS, STATISTICS = "ratings.jsonl", "comparisons.jsonl", "statistics.json"

_FILES = f"{RATINGS}, {COMPARISONS}, {STATISTICS}, ratings.html, {FAILURES}"
_TEXT = ("instruction", "input", "response", "explanation")


def run(*, run: Run, asker: Asker, answers: Answers, limit: int | None) -> None:
    """Asks for the ratings that the ledger lacks, then writes rows, comparisons and statistics.

    Raises:
        InputError: A run or file is wrong, or no prompt has two answers.
        RunError: The budget is spent or too many requests failed; what came is in the ledger.
    """
    responses = read_responses(answers, limit=limit)
    run.add_inputs(responses.inputs)
    run.manifest.comparable |= {"judge": asker.model.model, "template": RATING.sha256}
    total = responses.num_responses - num_identical(responses)
    replies = ask(run, asker, distinct_requests(responses), title="ratings", total=total)
    ratings, failed = Ratings(), list[Outcome["Response"]]()
    shown: list[dict[str, Any]] = []
    run.write_rows(RATINGS, keeping_first(ratings.rows(responses, replies, failed), shown))
    write_failures(run, map(_failure, failed))
    record_used(run, replies.tally.used)
    run.write_rows(COMPARISONS, comparison_rows(responses, ratings.scores))
    run.add_dropped(_dropped(responses, ratings))
    with run.timed("statistics"):
        sources, ties = statistics_of(ratings.by_prompt(responses), responses.sources)
    _write_statistics(run, asker.model.name, ratings, sources, ties)
    run.add_metrics(*_metrics(responses, ratings, sources, ties))
    run.log_table("rate/sources", [_source_row(each) for each in sources])
    run.log_table("rate/ratings", shown, text=_TEXT)
    print_facts(
        f"{ratings.counts[RATED]:,} answers rated by {asker.model.name}, "
        f"{ratings.num_comparisons:,} comparisons",
        {
            **_facts(responses, ratings),
            **{each.source: _source_in_words(each) for each in sources},
            **{f"{each.first} and {each.second}": _ties_in_words(each) for each in ties},
            **used_facts(replies.tally),
            "files": _FILES,
        },
    )
    if ratings.num_comparisons:
        print_next(f"stage=reward {_learner(responses)} data.path={{}}", run.folder / COMPARISONS)


def plan(*, seed: int, asker: Asker, answers: Answers, limit: int | None) -> None:
    """Prints what would be asked and what it would cost; asks nothing."""
    del seed
    responses = read_responses(answers, limit=limit)
    facts = asker.plan(distinct_requests(responses)).facts()
    print_facts("Plan: rate", {**_read_facts(responses), **facts})


def check(*, asker: Asker, answers: Answers, limit: int | None) -> None:
    """Reads the answers and asks for the first rating, so that a refusal leaves no run folder."""
    responses = read_responses(answers, limit=limit)
    asker.check(rating_request(responses.prompts[0][0]))


def _failure(outcome: Outcome[Response]) -> dict[str, Any]:
    return {
        **failure_row(outcome),
        "source": outcome.row.source,
        "number": outcome.row.number,
    }


def _dropped(responses: Responses, ratings: Ratings) -> dict[str, int]:
    counts = {
        **responses.left_out,
        "answers_rating_unreadable": ratings.counts[PARSE_ERROR],
        "answers_rating_failed": ratings.counts[FAILED],
        "prompts_under_two_ratings": len(responses.prompts) - ratings.num_comparisons,
    }
    return {reason: count for reason, count in counts.items() if count}


def _write_statistics(
    run: Run, rater: str, ratings: Ratings, sources: Sequence[SourceRatings], ties: Sequence[Ties]
) -> None:
    """Writes ``statistics.json`` and the page."""
    from understudy.stages.rating_page import PAGE, rating_page  # noqa: PLC0415 - loads plotly

    found = {
        "sources": [asdict(each) for each in sources],
        "ties": [asdict(each) for each in ties],
        "unreadable": {
            kind: {"replies": ratings.counts[kind], "first": texts}
            for kind, texts in ratings.examples.items()
        },
    }
    page = rating_page(rater, sources, ties, ratings.examples, ratings.counts)
    texts = {STATISTICS: json.dumps(found, indent=2, ensure_ascii=False) + "\n", PAGE: page}
    for name, text in texts.items():
        path = run.folder / name
        with saying_what(str(path)), replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
        run.add_output(path)


def _metrics(
    responses: Responses,
    ratings: Ratings,
    sources: Sequence[SourceRatings],
    ties: Sequence[Ties],
) -> tuple[dict[str, float | None], dict[str, str]]:
    """The run's metrics, and why some are null."""
    metrics: dict[str, float | None] = {
        "rate/prompts": len(responses.prompts),
        "rate/responses": responses.num_responses,
        "rate/identical": num_identical(responses),
        "rate/comparisons": ratings.num_comparisons,
        **{f"rate/{status}": ratings.counts[status] for status in (RATED, PARSE_ERROR, FAILED)},
        **{f"rate/parse_error/{each}": ratings.counts[each] for each in PROBLEMS},
    }
    for each in sources:
        metrics |= {
            f"rate/mean/{each.source}": each.mean.mean,
            f"rate/sd/{each.source}": each.sd,
            f"rate/nines/{each.source}": each.nines,
        }
    metrics |= {f"rate/ties/{each.first}_{each.second}": each.share.mean for each in ties}
    reasons = {name: "too few answers were rated" for name, v in metrics.items() if v is None}
    return metrics, reasons


def _source_row(source: SourceRatings) -> dict[str, Any]:
    """A row of the table of sources; how often each score was given stands in columns."""
    mean = source.mean
    return {
        "source": source.source,
        "ratings": source.n,
        "mean": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "sd": source.sd,
        "share of 9": source.nines,
        **{f"{half / 2:g}": source.counts.get(half / 2, 0) for half in range(2, 21)},
    }


def _facts(responses: Responses, ratings: Ratings) -> dict[str, str]:
    problems = {each: ratings.counts[each] for each in PROBLEMS if ratings.counts[each]}
    return {
        **_read_facts(responses),
        "unreadable ratings": in_words(problems),
        **examples_in_words(ratings.examples),
        "failed": f"{ratings.counts[FAILED]:,}",
        "prompts under two ratings": f"{len(responses.prompts) - ratings.num_comparisons:,}",
    }


def _learner(responses: Responses) -> str:
    """What learns from the comparisons: the lab's model from the lab's tasks."""
    is_the_labs = all(some[0].prompt.task in FAMILIES for some in responses.prompts)
    return "data=lab_rated" if is_the_labs else "model=scratch_10m data=comparison_json"


def _read_facts(responses: Responses) -> dict[str, str]:
    facts = {
        "prompts": f"{len(responses.prompts):,}",
        "answers": f"{responses.num_responses:,} of {', '.join(responses.sources)}",
        "left out": in_words(responses.left_out),
    }
    if responses.incomplete:
        facts["without one source's answer"] = f"{responses.incomplete:,} prompts, rated anyway"
    if identical := num_identical(responses):
        facts["same answer again"] = f"{identical:,}, asked once"
    return facts


def _source_in_words(source: SourceRatings) -> str:
    mean = interval_in_words(source.mean, ".2f")
    if source.nines is None:
        return mean
    sd = "" if source.sd is None else f", sd {source.sd:.2f}"
    return f"mean {mean}{sd}, {source.nines:.1%} nines (n={source.n:,})"


def _ties_in_words(ties: Ties) -> str:
    return f"{interval_in_words(ties.share, '.1%')} ties (n={ties.share.n:,} prompts)"
