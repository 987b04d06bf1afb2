"""The comparison in a terminal: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from understudy.report.compare import Comparison, Contrast, Row, Summary
from understudy.report.findings import lead
from understudy.report.guard import BUDGETS
from understudy.report.held import amount, budget_kind, dropped_text
from understudy.report.labels import (
    difference_label,
    is_lab,
    main_metrics,
    metric_label,
    number,
    p_value,
    spread,
)

_MAX_METRICS = 4


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints arms, differences, budgets, and first of all what failed or is not compared."""
    _print_failed(comparison, console)
    headline = comparison.headline
    if comparison.arms and headline:
        console.print(_arms_table(comparison, headline))
        pairs = [one for one in comparison.differences if one.metric == headline]
        if pairs:
            console.print(_differences_table(pairs))
    metrics = [m for m in main_metrics(comparison.metrics) if m != headline][:_MAX_METRICS]
    if comparison.arms and metrics:
        console.print(_metrics_table(comparison, metrics))
    if any(budget_kind(arm) for arm in comparison.arms):
        console.print(_budget_table(comparison.arms))
    for pair in comparison.refused:
        reasons = "; ".join(pair.reasons)
        console.print(Text(f"not compared: {pair.arm} and {pair.against}: {reasons}", "bold"))
    for note in comparison.notes:
        console.print(Text(note, "dim"))
    if is_lab(comparison.metrics):
        console.print(Text("The lab's results: a closed world, not the paper's numbers.", "dim"))
    console.print(Text(lead(comparison), "bold"))


def _print_failed(comparison: Comparison, console: Console) -> None:
    for job in comparison.failed_jobs:
        seed = "" if job.seed is None else f", seed {job.seed}"
        where = f"{job.path} ({job.name or 'arm unknown'}{seed})"
        console.print(Text(f"{job.status}: {where}: {job.error}", "bold red"))


def _table(title: str, names: Sequence[str], *, words: int = 1) -> Table:
    """An empty table whose first ``words`` columns are text and fold, the others numbers."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(names):
        is_text = place < words
        table.add_column(
            Text(name),
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=not is_text and " " not in name,
        )
    return table


def _value(summary: Summary | None) -> Text:
    if summary is None:
        return Text("—")
    if summary.mean is None:
        return Text("null")
    return Text(f"{number(summary.mean)} {spread(summary.low, summary.high)}".rstrip())


def _arms_table(comparison: Comparison, headline: str) -> Table:
    title = f"{metric_label(headline)}: mean and 95 % interval over n questions"
    table = _table(title, ["arm", "mean [95 %]", "n", "single seeds", "sd", "dropped"])
    for row in (*comparison.arms, *comparison.baselines):
        summary = row.metrics.get(headline)
        is_arm = not row.entry.is_baseline
        by_seed = summary.by_seed.values() if summary else ()
        sd = summary.spread.sd if summary else None
        table.add_row(
            Text(row.name if is_arm else f"({row.name})"),
            _value(summary),
            Text(f"{summary.n:,}" if summary else "—"),
            Text(" ".join(number(value) for value in by_seed) or "—"),
            Text(number(sd)),
            Text(dropped_text(row) if is_arm else "—"),
        )
    return table


def _differences_table(pairs: Sequence[Contrast]) -> Table:
    title = "paired differences, with p by Holm over the pairs"
    table = _table(title, ["pair", "mean [95 %]", "n", "p (Holm)", "single seeds"])
    for one in pairs:
        interval = spread(one.low, one.high, signed=True) or one.reason
        table.add_row(
            Text(difference_label(one.arm, one.against)),
            Text(f"{number(one.mean, signed=True)} {interval}".rstrip()),
            Text(f"{one.n:,}"),
            Text(p_value(one.p_holm)),
            Text(" ".join(number(value, signed=True) for value in one.by_seed.values()) or "—"),
        )
    return table


def _metrics_table(comparison: Comparison, metrics: Sequence[str]) -> Table:
    """One row for each metric and arm: as narrow with six metrics as with one."""
    table = _table("other metrics", ["metric", "arm", "mean [95 %]", "n"], words=2)
    for metric in metrics:
        rows = [row for row in (*comparison.arms, *comparison.baselines) if metric in row.metrics]
        for place, row in enumerate(rows):
            table.add_row(
                Text(metric if place == 0 else ""),
                Text(f"({row.name})" if row.entry.is_baseline else row.name),
                _value(row.metrics[metric]),
                Text(f"{row.metrics[metric].n:,}"),
                end_section=place == len(rows) - 1,
            )
    return table


def _budget_table(arms: Sequence[Row]) -> Table:
    table = _table("a run learned from (* held equal)", ["arm", *BUDGETS.values()])
    for row in arms:
        kind = budget_kind(row)
        amounts = [(key, amount(row, key)) for key in BUDGETS]
        table.add_row(
            Text(row.name),
            *(
                Text("—" if value is None else f"{value:,.0f}" + ("*" if key == kind else ""))
                for key, value in amounts
            ),
        )
    return table
