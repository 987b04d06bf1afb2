"""``stage=score``: a file of somebody's answers scored against its references, by ROUGE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.eval.answers import AnswerRows, read_answers
from understudy.eval.evaluate import Evaluation
from understudy.eval.record import questions_sha256, record_predictions
from understudy.eval.summary import Summary
from understudy.metrics.rouge import LENGTH_BUCKETS
from understudy.stages.printing import in_words, print_facts

if TYPE_CHECKING:
    from understudy.tracking.run import Run


def run(
    *, run: Run, answers: str, fields: Mapping[str, str | None], evaluation: Evaluation
) -> None:
    """Scores every row, records the rows with their scores and prints the means."""
    rows = read_answers(answers, fields)
    run.add_inputs([rows.input_file])
    run.manifest.comparable["questions"] = questions_sha256(
        [prediction.question for prediction in rows.predictions]
    )
    with run.timed("scoring"):
        predictions = evaluation.score_rows(rows.predictions)
    summary = record_predictions(run, predictions)
    print_facts(f"{Path(answers).name}: mean over {len(predictions):,} answers", _lines(summary))
    if rows.num_empty:
        print_facts("Empty texts, kept", {"count": in_words(rows.num_empty)})


def plan(
    *, seed: int, answers: str, fields: Mapping[str, str | None], evaluation: Evaluation
) -> None:
    """Reads the file and prints how many answers would be scored, and with what."""
    del seed
    rows: AnswerRows = read_answers(answers, fields)
    scorers = ", ".join(type(scorer).__name__ for scorer in evaluation.scorers)
    facts = {
        "answers": f"{len(rows.predictions):,}",
        "empty texts": in_words(rows.num_empty),
        "scorers": scorers,
        "API calls": "0",
    }
    print_facts(f"Plan for {answers}", facts)


def _lines(summary: Summary) -> dict[str, str]:
    lines = {}
    for name, value in sorted(summary.metrics.items(), key=lambda pair: _by_length(pair[0])):
        if value is None:
            lines[name] = f"null: {summary.reasons[name]}"
            continue
        missing = summary.undefined.get(name, 0)
        why = f"; {missing} undefined: {summary.reasons.get(name, '')}" if missing else ""
        lines[name] = f"{value:.4f}  (n={summary.counts[name]:,}{why})"
    return lines


def _by_length(metric: str) -> tuple[str, int]:
    """Buckets of reference length in their own order, not the alphabet's."""
    name, _, bucket = metric.partition("_l/")
    return name, LENGTH_BUCKETS.index(bucket) + 1 if bucket in LENGTH_BUCKETS else 0
