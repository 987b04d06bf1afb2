"""Ratings of answers from 1 to 10: how one is read out of a reply, and what they say of a source.

Peng et al. 2023, section 3.2: GPT-4 rates each response alone, so that scores are absolute, and
writes the score first and its reasons after it. A reply that says no score is no score: it is
counted by what is wrong with it and never becomes a number.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from understudy.metrics.intervals import NUM_RESAMPLES, Interval, mean_intervals

LOWEST, HIGHEST = 1.0, 10.0
PROBLEMS = ("empty", "no_score", "out_of_range")
"""What is wrong with a reply: it says nothing, its first line is no score, or one outside 1-10."""

_FIRST_LINE = re.compile(
    r"^\s*(?:score\s*[:=]?\s*)?(\d+(?:\.\d+)?)(?:\s*/\s*10)?\s*$", re.IGNORECASE
)
_MAX_DRAWS = 100_000_000
_MIN_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Rating:
    """What a reply says.

    Attributes:
        score: From 1 to 10, halves included; null where the reply says none.
        explanation: What stands below the score; the whole reply where there is none.
        problem: One of :data:`PROBLEMS`; "" where there is a score.
    """

    score: float | None
    explanation: str
    problem: str = ""


def read_rating(reply: str) -> Rating:
    r"""The rating on the first line of a reply that is not empty, which holds it and nothing else.

    "8", "7.5", "Score: 8" and "8/10" are scores; "8 out of 10", "**8**" and "0" are not.

    >>> read_rating("\n 7.5 \nClear, but short.")
    Rating(score=7.5, explanation='Clear, but short.', problem='')
    >>> read_rating("I give it an 8.").problem
    'no_score'
    """
    lines = reply.strip().splitlines()
    if not lines:
        return Rating(None, "", "empty")
    found = _FIRST_LINE.match(lines[0])
    if found is None:
        return Rating(None, reply.strip(), "no_score")
    score = float(found.group(1))
    if not LOWEST <= score <= HIGHEST:
        return Rating(None, reply.strip(), "out_of_range")
    return Rating(score, "\n".join(lines[1:]).strip())


@dataclass(frozen=True, slots=True)
class SourceRatings:
    """What was said of a source's answers.

    Attributes:
        source: Who answered.
        mean: Over prompts, of the mean over the source's answers to one; with its interval.
        sd: Standard deviation of the single ratings; null where there are not two.
        nines: Share of ratings that are exactly 9, which is where GPT-4's pile up; null without
            ratings.
        counts: How many ratings there are of each score, from the lowest score up.
    """

    source: str
    mean: Interval
    sd: float | None
    nines: float | None
    counts: Mapping[float, int]

    @property
    def n(self) -> int:
        """The number of ratings."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Ties:
    """How often answers of two sources to one prompt got the same rating.

    Attributes:
        first: A source.
        second: The other one, or the same where it answered several times.
        share: Over prompts, of the share of the pairs of answers to one; with its interval.
    """

    first: str
    second: str
    share: Interval


ScoresOfPrompt = Mapping[str, Sequence[float]]
"""The ratings of the answers to one prompt, by source; unrated answers are not in it."""


def statistics_of(
    prompts: Sequence[ScoresOfPrompt], sources: Sequence[str]
) -> tuple[list[SourceRatings], list[Ties]]:
    """What the ratings say of each source, and of each two; two that share no prompt are left out.

    Intervals are of a bootstrap over prompts, the same resamples for all; of many prompts it takes
    fewer of them.
    """
    pairs = [(one, other) for one, other in combinations(sources, 2)]
    pairs += [(one, one) for one in sources]
    ties = [[_tie_share(scores, *pair) for scores in prompts] for pair in pairs]
    means = [[_mean(scores.get(one, ())) for scores in prompts] for one in sources]
    intervals = _intervals([*means, *ties], len(prompts))
    rated = [
        _source_ratings(one, interval, [s for scores in prompts for s in scores.get(one, ())])
        for one, interval in zip(sources, intervals, strict=False)
    ]
    shares = zip(pairs, intervals[len(sources) :], strict=True)
    return rated, [Ties(*pair, share) for pair, share in shares if share.n]


def interval_in_words(found: Interval, form: str) -> str:
    """A mean with its interval, as far as there are any; ``form`` is that of the numbers."""
    if found.mean is None:
        return f"null: {found.reason}"
    if found.low is None or found.high is None:
        return f"{found.mean:{form}}"
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _intervals(columns: Sequence[Sequence[float]], num_prompts: int) -> list[Interval]:
    if not num_prompts:
        return [Interval(None, None, None, 0, "there is no prompt") for _ in columns]
    resamples = max(_MIN_RESAMPLES, min(NUM_RESAMPLES, _MAX_DRAWS // num_prompts))
    return mean_intervals(np.array(columns, dtype=float).T, num_resamples=resamples)


def _source_ratings(source: str, mean: Interval, scores: Sequence[float]) -> SourceRatings:
    counts = Counter(scores)
    return SourceRatings(
        source,
        mean,
        statistics.stdev(scores) if len(scores) > 1 else None,
        counts[9.0] / len(scores) if scores else None,
        {score: counts[score] for score in sorted(counts)},
    )


def _tie_share(scores: ScoresOfPrompt, one: str, other: str) -> float:
    """The share of tied pairs of answers to a prompt; NaN where there is no pair."""
    first, second = scores.get(one, ()), scores.get(other, ())
    pairs = combinations(first, 2) if one == other else ((a, b) for a in first for b in second)
    return _mean([float(a == b) for a, b in pairs])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
