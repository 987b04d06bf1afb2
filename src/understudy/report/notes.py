"""What a reader of a comparison must know beside its numbers, a sentence each.

What is left out on purpose, where amounts differ because arms ask about them, which runs a later
one stands for, and answers that hardly depend on the question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from understudy.report.arms import Entry
from understudy.report.guard import BUDGETS, differing
from understudy.report.read.runs import RunRecord

_MAX_NAMED = 5
_FEWEST_QUESTIONS = 10

Pairs = Sequence[tuple[Entry, Entry]]


def stage_notes(arms: Sequence[Entry]) -> list[str]:
    """That arms are compared within their stage, where there are several."""
    stages = sorted({run.stage for entry in arms for run in entry.runs})
    if len(stages) < 2:
        return []
    return [
        f"Runs of the stages {' and '.join(stages)} are compared within their stage only: "
        "a run and its own evaluation again are no ablation."
    ]


def not_asked_notes(axes_of_pairs: Sequence[Iterable[str]]) -> list[str]:
    """How many pairs differ in several things, and in which."""
    count = len(axes_of_pairs)
    if not count:
        return []
    axes = sorted({axis for axes in axes_of_pairs for axis in axes})
    pairs = "1 pair of arms differs" if count == 1 else f"{count:,} pairs of arms differ"
    are = "is" if count == 1 else "are"
    return [f"{pairs} in two things or more at once (of {', '.join(axes)}) and {are} not compared."]


def budget_notes(fair: Pairs) -> list[str]:
    """The amounts that arms had, where some that are compared had not the same."""
    unequal = {
        entry.name: entry for pair in fair if budgets_differ(*pair) for entry in pair
    }.values()
    kinds = sorted({kind for entry in unequal for kind in _kinds(entry) if kind in BUDGETS})
    notes = []
    for kind in kinds:
        amounts = {entry.name: _amount(entry, kind) for entry in unequal if kind in _kinds(entry)}
        ordered = sorted(amounts, key=lambda name: (amounts[name], name))
        shown = ordered if len(ordered) <= _MAX_NAMED else [ordered[0], ordered[-1]]
        told = (", " if shown is ordered else " to ").join(
            f"{amounts[name]:,.0f} ({name})" for name in shown
        )
        notes.append(f"Arms that are compared did not all have the same number of "
                     f"{BUDGETS[kind]}, as they ask: {told}.")  # fmt: skip
    return notes


def budgets_differ(one: Entry, other: Entry) -> bool:
    """True when two arms had not the same of what their budgets hold."""
    return bool(differing("budget", one.runs, other.runs))


def _kinds(entry: Entry) -> set[str]:
    return {str(run.budget.get("kind")) for run in entry.runs}


def _amount(entry: Entry, kind: str) -> float:
    amounts = [float(run.budget.get(kind) or 0) for run in entry.runs]
    return sum(amounts) / len(amounts)


def superseded_notes(runs: Sequence[RunRecord]) -> list[str]:
    """Which runs count no more."""
    if not runs:
        return []
    named = ", ".join(run.path for run in runs[:_MAX_NAMED])
    more = f" and {len(runs) - _MAX_NAMED} more" if len(runs) > _MAX_NAMED else ""
    are = "1 run is" if len(runs) == 1 else f"{len(runs):,} runs are"
    return [f"{are} superseded by a later one of the same arm and seed: {named}{more}."]


def constant_notes(arms: Sequence[Entry]) -> list[str]:
    """Arms that gave one and the same answer to most questions, in the run that did most so."""
    notes = []
    for entry in arms:
        count, total = max(map(_commonest, entry.runs), default=(0, 0))
        if total >= _FEWEST_QUESTIONS and count > total / 2:
            notes.append(f"{entry.name} gave one and the same answer to {count:,} of {total:,} "
                         "questions: its scores say little about the others.")  # fmt: skip
    return notes


def _commonest(run: RunRecord) -> tuple[int, int]:
    """How often a run gave its commonest answer, and to how many questions it gave any."""
    first = next((decoding for _, decoding in run.answers), "")
    given = Counter(answer for (_, how), answer in run.answers.items() if how == first)
    return max(given.values(), default=0), given.total()


def num_same_answers(one: Entry, other: Entry) -> int:
    """To how many questions two arms gave the same answers, 0 if they differ in any of them."""
    runs = {run.seed: run.answers for run in other.runs}
    pairs = [(run.answers, runs[run.seed]) for run in one.runs if run.seed in runs]
    if not pairs or not all(mine and mine == its for mine, its in pairs):
        return 0
    return len({question for mine, _ in pairs for question, _ in mine})
