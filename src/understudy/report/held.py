"""What the arms of a report were given, left out and came from, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.pages.page import Cell, Table
from understudy.report.compare import Comparison, Row
from understudy.report.guard import BUDGETS, FIELDS, OF_LATER_RUNS, by_seed
from understudy.report.read.runs import RunRecord

METHOD = (
    "A score belongs to a question. An arm's score on a question is the mean over its seeds; the "
    "arm's value is the mean over questions, and its 95 % interval is the percentile bootstrap of "
    "that mean (10,000 resamples of questions, fixed seed). It says how far other questions like "
    "these would move the number.",
    "Another training run would move it too. That is what the single seeds and their standard "
    "deviation show, beside the interval and not in it.",
    "Two arms are compared on the questions that both have a score for, question by question. The "
    "p-value is of the paired sign-flip test, two-sided; Holm's correction is over all pairs of "
    "arms within one metric. Two arms count as told apart when the interval excludes 0, the "
    "corrected p-value is below .05, and every seed has the same sign.",
    "A metric that is defined on some answers only (inherited errors: on wrong answers) compares "
    "the questions that both arms have it on, so its difference need not equal the difference of "
    "the two means.",
    "A value that could not be computed is null with its reason, never 0. Runs of the same arm and "
    "seed that learned from the same and were asked the same count once: the latest.",
)


SELECTION = ("beyond_num_examples", "beyond_token_budget", "other_language", "length_mismatch")
"""Reasons to leave a row out that say nothing against it: it was not asked for."""


def num_dropped(run: RunRecord) -> int:
    """In how many rows of a run something was wrong."""
    return sum(count for reason, count in run.dropped.items() if reason not in SELECTION)


def dropped_text(row: Row) -> str:
    """Rows in which something was wrong: one number where all runs of an arm agree, else the range.

    Rows left out by choice are in :func:`dropped_table` alone.
    """
    totals = {num_dropped(run) for run in row.entry.runs}
    if len(totals) <= 1:
        return f"{totals.pop() if totals else 0:,}"
    return f"{min(totals):,} to {max(totals):,}"


def amount(row: Row, key: str) -> float | None:
    """A budget's amount, averaged over the arm's runs."""
    amounts = [run.budget.get(key) for run in row.entry.runs]
    known = [float(value) for value in amounts if isinstance(value, int | float)]
    return sum(known) / len(known) if known else None


def budget_kind(row: Row) -> str | None:
    """Which of the three amounts an arm's budget was set in; several where its runs differ."""
    kinds = sorted({str(run.budget["kind"]) for run in row.entry.runs if run.budget.get("kind")})
    return ", ".join(kinds) or None


def held_equal(comparison: Comparison, row: Row) -> str | None:
    """Which amount an arm had the same of as every arm that it is compared with, if one."""
    return budget_kind(row) if row.name in comparison.held_equal else None


def budget_table(comparison: Comparison) -> Table:
    """All three budgets of every arm, whichever was held equal."""
    rows = []
    for series, row in enumerate(comparison.arms):
        kind = held_equal(comparison, row)
        cells = []
        for key in BUDGETS:
            mean = amount(row, key)
            text = "—" if mean is None else f"{mean:,.0f}"
            cells.append(Cell(text, "held equal" if key == kind else ""))
        rows.append([Cell(row.name, series=series), *cells])
    header = ["Arm", *(name.capitalize() for name in BUDGETS.values())]
    return Table("What a run of each arm learned from: all three budgets, a mean over seeds.",
                 header, rows)  # fmt: skip


def comparable_table(comparison: Comparison) -> Table:
    """The fingerprints that the guard compares, one row a field."""
    rows = []
    runs = [run for row in comparison.arms for run in row.entry.runs]
    for field, name in FIELDS.items():
        if field in OF_LATER_RUNS and not any(run.comparable.get(field) for run in runs):
            continue
        cells = []
        for row in comparison.arms:
            values = dict.fromkeys(by_seed(row.entry.runs, field).values())
            shown = [value if len(value) < 32 else value[:12] for value in values]
            cells.append(Cell(", ".join(shown[:2]) + (" …" if len(shown) > 2 else "")))
        rows.append([Cell(name), *cells])
    return Table(
        "Fingerprints of what must be equal (or asked about), by arm; several where it goes with "
        "the seed.",
        ["", *(row.name for row in comparison.arms)],
        rows,
        texts=1 + len(comparison.arms),
    )


def dropped_table(comparison: Comparison) -> Table:
    """Rows left out by reason, in each run: what was wrong with them, then what was not asked."""
    found = {reason for row in comparison.arms for run in row.entry.runs for reason in run.dropped}
    wrong = sorted(found - set(SELECTION))
    reasons = [*wrong, *sorted(found & set(SELECTION))]
    rows = [
        [
            Cell(row.name, series=series),
            *(Cell(_counts([run.dropped.get(reason, 0) for run in row.entry.runs]))
              for reason in wrong),
            Cell(dropped_text(row)),
            *(Cell(_counts([run.dropped.get(reason, 0) for run in row.entry.runs]))
              for reason in reasons[len(wrong):]),
        ]
        for series, row in enumerate(comparison.arms)
    ]  # fmt: skip
    names = [reason.replace("_", " ") for reason in reasons]
    header = ["Arm", *names[: len(wrong)], "All dropped", *names[len(wrong) :]]
    caption = "Rows dropped in a run, by reason"
    if len(wrong) < len(reasons):
        caption += "; behind them those that were in order and left out by choice"
    return Table(f"{caption}.", header, rows)


def _counts(counts: Sequence[int]) -> str:
    if len(set(counts)) <= 1:
        return f"{counts[0]:,}"
    return ", ".join(f"{count:,}" for count in counts)


def runs_table(comparison: Comparison) -> Table:
    """The runs that the numbers are of, and those that a later one supersedes."""
    used = [(row.name, run, "") for row in comparison.arms for run in row.entry.runs]
    old = [("", run, "superseded by a later run") for run in comparison.superseded]
    rows = []
    for name, run, note in (*used, *old):
        commit = str((run.manifest.get("git") or {}).get("commit") or "—")[:10]
        is_dirty = bool((run.manifest.get("git") or {}).get("dirty"))
        rows.append(
            [
                Cell(run.path if run.path != "." else run.folder.name, note or name),
                Cell(run.arm or "(defaults)"),
                Cell(str(run.seed)),
                Cell(run.id),
                Cell(commit + (" + changes" if is_dirty else "")),
                Cell("; ".join(run.problems) or "—"),
            ]
        )
    header = ["Folder", "Overrides", "Seed", "Run", "Commit", "Problems"]
    return Table("Finished runs.", header, rows, texts=6)
