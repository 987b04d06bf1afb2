"""Arms and baselines: the rows of every table, with item scores averaged over seeds.

An arm is the runs of one set of overrides, one run a seed. A baseline is another author's answers
to the same questions: the untuned base, a teacher. Several runs score the same baseline; equal
scores are one measurement, and what differs by seed is averaged like an arm's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from understudy.report.guard import agree, by_seed
from understudy.report.names import display_names, made_unique
from understudy.report.runs import ItemScores, RunRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """An arm or a baseline. ``tables`` holds one table of item scores for each of ``seeds``.

    ``runs`` are an arm's own runs in the order of their seeds, or those that scored a baseline. A
    baseline that all of them scored alike has one table and no seeds.
    """

    name: str
    arm: str
    runs: tuple[RunRecord, ...]
    seeds: tuple[int, ...]
    tables: tuple[ItemScores, ...]
    is_baseline: bool = False

    @property
    def metrics(self) -> set[str]:
        """The names of the metrics that have item scores."""
        return {metric for table in self.tables for metric in table}

    def mean_scores(self, metric: str) -> dict[str, float]:
        """Question id to score, averaged over those seeds in which it is defined."""
        found: dict[str, list[float]] = defaultdict(list)
        for table in self.tables:
            for question, score in table.get(metric, {}).items():
                if score is not None:
                    found[question].append(score)
        return {question: sum(scores) / len(scores) for question, scores in found.items()}


def group_arms(runs: Sequence[RunRecord]) -> tuple[list[Entry], list[RunRecord]]:
    """The arms, and the runs that a later run of the same arm and seed supersedes.

    Runs of one arm that are another stage or answer other questions are arms of their own.
    """
    groups: dict[tuple[str, str, str], dict[int, RunRecord]] = defaultdict(dict)
    superseded = []
    for run in sorted(runs, key=lambda run: (str(run.manifest.get("started") or ""), run.path)):
        group = groups[run.arm, run.stage, str(run.comparable.get("questions"))]
        if run.seed in group:
            superseded.append(group[run.seed])
        group[run.seed] = run
    ordered = sorted(groups.items())
    names = _arm_names([(arm, stage) for (arm, stage, _), _ in ordered])
    arms = []
    for name, ((arm, _, _), by_number) in zip(names, ordered, strict=True):
        own = tuple(by_number[seed] for seed in sorted(by_number))
        seeds = tuple(run.seed for run in own)
        arms.append(Entry(name, arm, own, seeds, tuple(run.items for run in own)))
    return arms, superseded


def _arm_names(groups: Sequence[tuple[str, str]]) -> list[str]:
    distinct = list(dict.fromkeys(arm for arm, _ in groups))
    short = dict(zip(distinct, display_names(distinct), strict=True))
    stages: dict[str, set[str]] = defaultdict(set)
    for arm, stage in groups:
        stages[arm].add(stage)
    return made_unique(
        [f"{short[arm]} ({stage})" if len(stages[arm]) > 1 else short[arm] for arm, stage in groups]
    )


def group_baselines(arms: Sequence[Entry]) -> list[Entry]:
    """Every other author that the arms' runs scored, the base first, then by name.

    Arms share a base when base model and tokenizer agree, and a teacher when its name does, each
    on the same questions.
    """
    groups: list[tuple[str, list[Entry]]] = []
    for author in sorted({author for arm in arms for run in arm.runs for author in run.baselines}):
        for arm in arms:
            if not any(author in run.baselines for run in arm.runs):
                continue
            for name, members in groups:
                if name == author and _shares_baseline(author, members[0], arm):
                    members.append(arm)
                    break
            else:
                groups.append((author, [arm]))
    counts = [author for author, _ in groups]
    names = made_unique(
        [
            f"{author} of {', '.join(arm.name for arm in members)}"
            if counts.count(author) > 1
            else author
            for author, members in groups
        ]
    )
    return [
        _baseline(name, author, members)
        for name, (author, members) in zip(names, groups, strict=True)
    ]


def _shares_baseline(author: str, one: Entry, other: Entry) -> bool:
    fields = ("questions", "base_model", "tokenizer") if author == "base" else ("questions",)
    return all(agree(by_seed(one.runs, field), by_seed(other.runs, field)) for field in fields)


def _baseline(name: str, author: str, members: Sequence[Entry]) -> Entry:
    runs = tuple(run for arm in members for run in arm.runs if author in run.baselines)
    kept: list[tuple[int, ItemScores]] = []
    for run in sorted(runs, key=lambda run: (run.seed, run.path)):
        table = run.baselines[author]
        if all(table != other for _, other in kept):
            kept.append((run.seed, table))
    seeds = tuple(seed for seed, _ in kept) if len(kept) > 1 else ()
    tables = tuple(table for _, table in kept)
    return Entry(name, author, runs, seeds, tables, is_baseline=True)


def score_matrix(
    scores: Sequence[Mapping[str, float]],
) -> Float[np.ndarray, "items columns"]:
    """One column for each mapping from question to score, NaN where a question is not in it.

    Rows are all questions, in the order of their ids.
    """
    questions = sorted({question for column in scores for question in column})
    row_of = {question: row for row, question in enumerate(questions)}
    matrix = np.full((len(questions), len(scores)), np.nan)
    for number, column in enumerate(scores):
        rows = [row_of[question] for question in column]
        matrix[rows, number] = list(column.values())
    return matrix


def seed_means(entry: Entry, metric: str) -> dict[int, float]:
    """The metric's mean over items in each seed; a seed without a defined score is absent.

    Several tables of one seed (a baseline scored by several arms' runs) count as their mean.
    """
    means: dict[int, list[float]] = defaultdict(list)
    for seed, table in _by_seed(entry):
        values = _defined(table.get(metric, {}).values())
        if values:
            means[seed].append(sum(values) / len(values))
    return {seed: sum(values) / len(values) for seed, values in means.items()}


def seed_differences(first: Entry, second: Entry, metric: str) -> dict[int, float]:
    """``first - second`` on the common items of each seed that both have."""
    differences = {}
    of_seed = dict(_by_seed(second))
    for seed, table in _by_seed(first):
        one, other = table.get(metric, {}), of_seed.get(seed, {}).get(metric, {})
        paired = [
            score - other_score
            for question, score in one.items()
            if score is not None and (other_score := other.get(question)) is not None
        ]
        if paired:
            differences[seed] = sum(paired) / len(paired)
    return differences


def _by_seed(entry: Entry) -> list[tuple[int, ItemScores]]:
    return list(zip(entry.seeds, entry.tables, strict=True)) if entry.seeds else []


def _defined(scores: Iterable[float | None]) -> list[float]:
    return [score for score in scores if score is not None]
