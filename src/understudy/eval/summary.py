"""From scored rows to a run's metrics: the mean of each score's known values, or null and why."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import exp, fsum, log

from understudy.eval.parts import no_parts, with_parts
from understudy.eval.rouge import why_no_rouge
from understudy.metrics.rouge import LENGTH_BUCKETS
from understudy.records import Prediction, Question, Scorer

GREEDY = "greedy"
LOSS, PERPLEXITY = "eval/loss", "eval/perplexity"
_MAX_EXPONENT = log(sys.float_info.max)
_ROUGE = re.compile(r"eval/rouge\w*")
_ROUGE_L = re.compile(r"(eval/rouge\w*_l)(@.+)?")


@dataclass(frozen=True, slots=True)
class Summary:
    """A run's metrics over its predictions.

    Attributes:
        metrics: Mean of the known scores, by name; null when there is none.
        reasons: Why a metric, or some of its scores, are null, by name.
        counts: Predictions with a known score, by name: the n of its mean.
        undefined: Predictions whose score is null, by name; those with none do not appear.
    """

    metrics: dict[str, float | None]
    reasons: dict[str, str]
    counts: dict[str, int]
    undefined: dict[str, int]


def score_predictions(
    predictions: Sequence[Prediction],
    scorers: Sequence[Scorer],
    parts: Callable[[Question], Sequence[str]] = no_parts,
) -> list[Prediction]:
    """The predictions with all scorers' scores in place of their own, in order.

    ``parts`` names the parts of the questions that one belongs to; a score over all questions then
    stands under ``NAME/PART`` too. This is the one place where a decoding enters a metric's name:
    every name gets ``@DECODING`` behind it unless the prediction was decoded greedily.

    Raises:
        ValueError: Two scorers write the same name.
    """
    scored = []
    for prediction in predictions:
        scores = _scores(prediction.question, prediction.output, scorers)
        scores = with_parts(scores, parts(prediction.question))
        suffix = "" if prediction.decoding == GREEDY else f"@{prediction.decoding}"
        named = {f"{name}{suffix}": score for name, score in scores.items()}
        scored.append(replace(prediction, scores=named))
    return scored


def summarise(predictions: Sequence[Prediction]) -> Summary:
    """Each metric's mean over the predictions that have a known score of that name.

    Where there is a ROUGE-L all four buckets of reference length are there too, and where there is
    a loss its exponential, the perplexity: the one metric that is no mean of scores.
    """
    scores: dict[str, list[float | None]] = {}
    for prediction in predictions:
        for name, score in prediction.scores.items():
            scores.setdefault(name, []).append(score)
    for name in _missing_buckets(scores):
        scores[name] = []
    known = {name: [score for score in all_ if score is not None] for name, all_ in scores.items()}
    nulls = {name: len(all_) - len(known[name]) for name, all_ in scores.items()}
    summary = Summary(
        metrics={name: fsum(some) / len(some) if some else None for name, some in known.items()},
        reasons={
            name: _reason(name, predictions)
            for name, some in known.items()
            if nulls[name] or not some
        },
        counts={name: len(some) for name, some in known.items()},
        undefined={name: count for name, count in nulls.items() if count},
    )
    _add_perplexity(summary)
    return summary


def _add_perplexity(summary: Summary) -> None:
    if LOSS not in summary.metrics:
        return
    loss = summary.metrics[LOSS]
    is_number = loss is not None and loss < _MAX_EXPONENT
    summary.metrics[PERPLEXITY] = exp(loss) if loss is not None and is_number else None
    summary.counts[PERPLEXITY] = summary.counts[LOSS]
    if LOSS in summary.reasons:
        summary.reasons[PERPLEXITY] = summary.reasons[LOSS]
    elif not is_number:
        summary.reasons[PERPLEXITY] = f"the exponential of {LOSS}={loss} is too large for a number"


def _scores(question: Question, output: str, scorers: Sequence[Scorer]) -> dict[str, float | None]:
    scores: dict[str, float | None] = {}
    for scorer in scorers:
        new = scorer.score(question, output)
        twice = sorted(scores.keys() & new.keys())
        if twice:
            raise ValueError(f"two scorers write {twice[0]}; give one of them another name")
        scores.update(new)
    return scores


def _missing_buckets(names: Collection[str]) -> list[str]:
    totals = [match for match in map(_ROUGE_L.fullmatch, names) if match]
    wanted = (f"{m[1]}/{bucket}{m[2] or ''}" for m in totals for bucket in LENGTH_BUCKETS)
    return [name for name in wanted if name not in names]


def _reason(metric: str, predictions: Sequence[Prediction]) -> str:
    """How many scores of ``metric`` are null, and why the first one is."""
    concerned = [prediction for prediction in predictions if metric in prediction.scores]
    if not concerned:
        return "no reference of that length"
    undefined = [prediction for prediction in concerned if prediction.scores[metric] is None]
    count = f"undefined for {len(undefined):,} of {len(concerned):,} predictions"
    why = ""
    if _ROUGE.match(metric):
        why = next(filter(None, map(why_no_rouge, undefined)), "")
    elif metric == LOSS:
        why = "no reference that fits the window whole, or none with a finite loss"
    return f"{count}: {why}" if why else count
