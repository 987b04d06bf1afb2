"""What an evaluation leaves in its run: rows, metrics, samples; and the base, asked only once.

The untuned base is the same for every arm of a sweep, so its answers are kept in a cache and scored
anew for each arm (inherited errors depend on the teacher, the answers do not).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from understudy.eval.summary import Summary, summarise
from understudy.records import (
    Prediction,
    Question,
    prediction_from_json,
    prediction_to_json,
    question_to_json,
    read_jsonl,
    write_jsonl,
)
from understudy.tracking.run import Run

_log = logging.getLogger(__name__)
BASE = "base"
_NUM_SAMPLES = 50
_TEXT = ("instruction", "input", "output", "references")


def record_predictions(
    run: Run, predictions: Sequence[Prediction], baselines: Sequence[Prediction] = ()
) -> Summary:
    """Writes ``predictions.jsonl`` and ``baselines.jsonl``, metrics, and a W&B table of samples."""
    summary = summarise(predictions)
    run.write_rows("predictions.jsonl", map(prediction_to_json, predictions))
    if baselines:
        run.write_rows("baselines.jsonl", map(prediction_to_json, baselines))
    run.add_metrics(summary.metrics, summary.reasons)
    run.log_predictions()
    samples = [_sample(each) for each in islice(predictions, _NUM_SAMPLES)]
    run.log_table("eval/samples", samples, text=_TEXT)
    metrics = [
        {"metric": name, "value": value, "n": summary.counts[name]}
        for name, value in sorted(summary.metrics.items())
    ]
    run.log_table("eval/metrics", metrics)
    return summary


def questions_sha256(questions: Sequence[Question]) -> str:
    """Hash of all questions with their references, in order."""
    digest = hashlib.sha256()
    for question in questions:
        row = json.dumps(question_to_json(question), sort_keys=True, ensure_ascii=False)
        digest.update(row.encode())
    return digest.hexdigest()


def cached_answers(
    folder: Path,
    key: Mapping[str, Any],
    answer: Callable[[], Sequence[Prediction]],
    *,
    num_rows: int,
) -> list[Prediction]:
    """The rows kept in ``folder`` under ``key``, else those of ``answer``, which are kept.

    ``key`` is all that the answers depend on. A file that cannot be read back as ``num_rows`` rows
    is made anew, with a warning.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = folder / "answers" / f"{name}.jsonl"
    if path.exists():
        try:
            return _kept(path, num_rows)
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged (%r); its answers are made anew", path, error)
    predictions = list(answer())
    _keep(path, predictions)
    return predictions


def _kept(path: Path, num_rows: int) -> list[Prediction]:
    predictions = [prediction_from_json(row) for row in read_jsonl(path)]
    if len(predictions) != num_rows:
        raise ValueError(f"{len(predictions)} rows instead of {num_rows}")
    return predictions


def _keep(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes the rows so that the file is there as a whole or not at all."""
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        write_jsonl(partial, map(prediction_to_json, predictions))
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def without_author(questions: Sequence[Question], author: str) -> list[Question]:
    """The questions for scoring ``author``'s own answers: that author's reference is left out.

    A question with no other reference is left out too: an answer is no measure of itself.
    """
    others = [
        replace(
            question,
            references={name: text for name, text in question.references.items() if name != author},
        )
        for question in questions
    ]
    return [question for question in others if question.references]


def _sample(prediction: Prediction) -> dict[str, Any]:
    question = prediction.question
    return {
        "id": question.prompt.id,
        "instruction": question.prompt.instruction,
        "input": question.prompt.input,
        "output": prediction.output,
        "references": json.dumps(dict(question.references), ensure_ascii=False),
        "scores": json.dumps(dict(prediction.scores)),
    }
