"""How one number of a report stands in a LaTeX table, and what its interval is called."""

from __future__ import annotations

from understudy.report.compare import Summary
from understudy.report.labels import number, spread
from understudy.report.paper.latex import TexCell

NOTHING = "\N{EM DASH}"


def summary_tex(summary: Summary | None) -> TexCell:
    """A mean over its interval, a dash where it is undefined."""
    if summary is None or summary.mean is None:
        return TexCell(NOTHING)
    return TexCell(number(summary.mean), spread(summary.low, summary.high))


def interval_caption(num_resamples: int, unit: str = "questions") -> str:
    """What a caption says of means and intervals; ``unit`` is what was resampled."""
    return (
        f"mean, below it the 95 % interval over {unit} (percentile bootstrap, {num_resamples:,} "
        "resamples; scores averaged over seeds)"
    )
