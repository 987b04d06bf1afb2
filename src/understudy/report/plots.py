"""The figures of a comparison for a paper: the numbers and intervals of the page, by file name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from understudy.pages.figures import Dot, PartDots
from understudy.pages.print_figures import (
    draw_buckets,
    draw_differences,
    draw_intervals,
    draw_losses,
)
from understudy.pages.print_style import Draw
from understudy.report import curves
from understudy.report.cells import dot_of, series_of
from understudy.report.compare import Comparison
from understudy.report.labels import (
    BUCKETS,
    difference_label,
    metric_label,
    number,
    parts_of,
)

_MAX_ROWS = 30


def plots(comparison: Comparison) -> dict[str, Draw]:
    """File name to what draws it; a figure without a defined number is not there."""
    found = {
        "result": _result(comparison),
        "differences": _differences(comparison),
        "buckets": _buckets(comparison),
        "losses": _losses(comparison),
    }
    return {name: draw for name, draw in found.items() if draw is not None}


def words(comparison: Comparison) -> list[str]:
    """What the figures write that is not ours: names of arms and baselines."""
    return [row.name for row, _ in series_of(comparison)]


def _result(comparison: Comparison) -> Draw | None:
    metric = comparison.headline
    if metric is None:
        return None
    found = [dot_of(row, metric, series) for row, series in series_of(comparison)]
    dots = [dot for dot in found if dot][:_MAX_ROWS]
    return partial(draw_intervals, dots=dots, axis_title=metric_label(metric)) if dots else None


def _differences(comparison: Comparison) -> Draw | None:
    dots = [
        Dot(difference_label(one.arm, one.against), one.mean, one.low, one.high, one.n, -1,
            one.by_seed, number(one.mean, signed=True))
        for one in comparison.differences
        if one.metric == comparison.headline and one.mean is not None
    ][:_MAX_ROWS]  # fmt: skip
    if not dots or comparison.headline is None:
        return None
    title = f"difference in {metric_label(comparison.headline)}"
    return partial(draw_differences, dots=dots, axis_title=title)


def _buckets(comparison: Comparison) -> Draw | None:
    found = parts_of("eval/rouge_l", comparison.metrics)
    parts = {bucket: found[bucket] for bucket in BUCKETS if bucket in found}
    series = _part_series(comparison, parts)
    if not series:
        return None
    counts = {
        part: max((one.dots[part].n for one in series if part in one.dots), default=0)
        for part in parts
    }
    return partial(
        draw_buckets, series=series, counts=counts,
        axis_title="ROUGE-L", part_title="words in the reference",
    )  # fmt: skip


def _part_series(comparison: Comparison, parts: Mapping[str, str]) -> list[PartDots]:
    series = []
    for row, place in series_of(comparison):
        dots = {part: dot_of(row, metric, place) for part, metric in parts.items()}
        defined = {part: dot for part, dot in dots.items() if dot}
        if defined:
            series.append(PartDots(row.name, place, defined))
    return series


def _losses(comparison: Comparison) -> Draw | None:
    x = curves.x_axis(comparison.arms)
    train = curves.loss_curves(comparison.arms, curves.TRAIN, x)
    val = curves.loss_curves(comparison.arms, curves.VAL, x)
    if not train and not val:
        return None
    title = "optimizer step" if x == "step" else "supervised tokens"
    return partial(draw_losses, train=train, val=val, x_title=title)
