"""The report's sections on parts of the questions: task families, test splits, length buckets."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.pages.figures import PartDots, bucket_figure, parts_figure
from understudy.pages.page import Cell, Chart, Folded, Section, Table
from understudy.report.cells import dot_of, series_of, summary_cell
from understudy.report.compare import Comparison
from understudy.report.findings import capital, parts_title
from understudy.report.labels import BUCKETS, parts_of


def family_sections(comparison: Comparison) -> list[Section]:
    """Exact-answer accuracy by task family and by test split, where the lab measured them."""
    parts = parts_of("eval/lab_accuracy", comparison.metrics)
    families = {part: name for part, name in parts.items() if not part.startswith("split:")}
    splits = {
        part.removeprefix("split:"): name
        for part, name in parts.items()
        if part.startswith("split:")
    }
    sections = []
    for key, short, found, what in (
        ("families", "Families", families, "exact-answer accuracy by task family"),
        ("splits", "Splits", splits, "exact-answer accuracy by test split"),
    ):
        series = _part_series(comparison, found)
        if not series or not comparison.arms:
            continue
        names = [part.replace("_", " ") for part in found]
        chart = Chart(
            parts_figure(series, names, "exact-answer accuracy"),
            f"{capital(what)}, mean and 95 % interval over questions; grey are baselines.",
            f"{what}; the table below holds the numbers",
        )
        title = parts_title(comparison, found, what)
        sections.append(Section(key, short, title, [chart, _parts_table(comparison, found, what)]))
    return sections


def bucket_sections(comparison: Comparison) -> list[Section]:
    """ROUGE-L by the reference's length, in the paper's buckets."""
    found = parts_of("eval/rouge_l", comparison.metrics)
    parts = {bucket: found[bucket] for bucket in BUCKETS if bucket in found}
    series = _part_series(comparison, parts)
    if not series or not comparison.arms:
        return []
    counts = {
        part: max(row.metrics[name].n for row, _ in series_of(comparison) if name in row.metrics)
        for part, name in parts.items()
    }
    chart = Chart(
        bucket_figure(series, counts, "ROUGE-L", "words in the reference"),
        "ROUGE-L (F) by the reference's length in words, the paper's buckets; an empty bucket has "
        "no point.",
        "ROUGE-L by reference length; the table below holds the numbers",
    )
    title = parts_title(comparison, parts, "ROUGE-L by reference length")
    table = _parts_table(comparison, parts, "ROUGE-L by reference length in words")
    return [Section("buckets", "Lengths", title, [chart, table])]


def _part_series(comparison: Comparison, parts: Mapping[str, str]) -> list[PartDots]:
    series = []
    for row, place in series_of(comparison):
        found = {part: dot_of(row, metric, place) for part, metric in parts.items()}
        dots = {part.replace("_", " "): dot for part, dot in found.items() if dot}
        if dots:
            series.append(PartDots(row.name, place, dots))
    return series


def _parts_table(comparison: Comparison, parts: Mapping[str, str], what: str) -> Folded:
    rows = []
    for part, metric in parts.items():
        found = [row.metrics.get(metric) for row, _ in series_of(comparison)]
        counts = [summary.n for summary in found if summary]
        cells = [summary_cell(summary) for summary in found]
        rows.append([Cell(part.replace("_", " ")), Cell(f"{max(counts, default=0):,}"), *cells])
    header = ["Part", "n", *(row.name for row, _ in series_of(comparison))]
    table = Table(f"{capital(what)}, mean and 95 % interval over questions.", header, rows)
    return Folded("The same as a table", [table])
