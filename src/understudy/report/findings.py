"""What a report found, in sentences: its lead and the headings of its sections.

A lead is clear when the 95 % interval over questions excludes 0, the p-value stays below .05 after
Holm's correction, and every seed has the same sign; everything else is said with its doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.report.compare import Comparison, Contrast, Row
from understudy.report.labels import (
    metric_label,
    number,
    p_value,
    parse_metric,
    part_label,
    spread,
)

_MAX_PHRASES = 4


def lead(comparison: Comparison) -> str:
    """The one thing that the report found, with its interval, its n and its seeds."""
    if not comparison.arms:
        return "No run finished, so there is nothing to compare."
    headline = comparison.headline
    if headline is None:
        return "No finished run has evaluation scores, so no arm can be ranked."
    scored = [row for row in comparison.arms if row.mean(headline) is not None]
    if not scored:
        reason = comparison.arms[0].metrics[headline].reason
        return f"{capital(metric_label(headline))} is undefined in every arm: {reason}."
    if len(scored) == 1:
        return f"{_alone(scored[0], headline)} There is no second arm to compare it with."
    told = _along_grid(comparison) or _chain(comparison, scored, headline)
    if not told:
        return _nothing_compared(comparison)
    if len(told) > _MAX_PHRASES:
        told = _ends(comparison, told[0].arm, headline)
    text = "; ".join(map(contrast_phrase, told))
    return f"{text}. {_unit(comparison, scored, headline)}"


def _nothing_compared(comparison: Comparison) -> str:
    if comparison.refused or not comparison.notes:
        return "No two arms may be compared: what they differ in is listed below."
    return f"No two arms of one stage can be compared. {comparison.notes[0]}"


def _chain(comparison: Comparison, rows: Sequence[Row], metric: str) -> list[Contrast]:
    """Down the ranking: each arm against the next one below that it may be compared with."""
    found = []
    for place, row in enumerate(rows):
        contrasts = (
            comparison.contrast(row.name, other.name, metric) for other in rows[place + 1 :]
        )
        nearest = next((contrast for contrast in contrasts if contrast is not None), None)
        if nearest is not None:
            found.append(nearest)
    return found


def _along_grid(comparison: Comparison) -> list[Contrast]:
    """Where arms vary in two things: the two best series at the first and the last level."""
    grid = comparison.grid
    if grid is None or not grid.gaps:
        return []
    pair = grid.gaps[0].first, grid.gaps[0].second
    levels = [gap.level for gap in grid.gaps if (gap.first, gap.second) == pair]
    found = []
    for level in dict.fromkeys((levels[0], levels[-1])):
        first, second = (grid.arms[series, level] for series in pair)
        found.append(
            comparison.contrast(first, second, grid.metric)
            or comparison.contrast(second, first, grid.metric)
        )
    return [one for one in found if one is not None]


def _ends(comparison: Comparison, best: str, metric: str) -> list[Contrast]:
    """The best arm against the nearest and the furthest that it may be compared with."""
    of_best = [one for one in comparison.differences if one.arm == best and one.metric == metric]
    return [of_best[0], of_best[-1]]


def _alone(row: Row, headline: str) -> str:
    summary = row.metrics[headline]
    interval = spread(summary.low, summary.high)
    return (
        f"{row.name} reaches {number(summary.mean)} {interval} in {metric_label(headline)} "
        f"(n = {summary.n:,} questions, {_seeds(row)})."
    )


def contrast_phrase(contrast: Contrast) -> str:
    """One difference in words, as sure as its interval and its seeds allow."""
    if contrast.mean is None:
        return f"{contrast.arm} and {contrast.against} cannot be compared: {contrast.reason}"
    first, second, turn = contrast.arm, contrast.against, 1
    low, high = contrast.low, contrast.high
    if contrast.mean < 0:
        first, second, turn = second, first, -1
        low, high = (None if end is None else -end for end in (high, low))
    size = f"{number(turn * contrast.mean)} {spread(low, high)}".rstrip()
    if contrast.is_clear:
        return f"{first} leads {second} by {size}"
    if low is not None and low > 0:
        doubt = (
            "the seeds disagree"
            if contrast.is_corrected
            else f"Holm's correction leaves p = {p_value(contrast.p_holm)}"
        )
        return f"{first} is ahead of {second} by {size}, but {doubt}"
    return f"{first} and {second} are not told apart (difference {size})"


def _unit(comparison: Comparison, rows: Sequence[Row], metric: str) -> str:
    """The metric, n and seeds that a lead's numbers stand on."""
    counts = {one.n for one in comparison.differences if one.metric == metric}
    counts = counts or {row.metrics[metric].n for row in rows}
    shown = " to ".join(f"{n:,}" for n in sorted({min(counts), max(counts)}))
    fewest, most = (pick(len(row.entry.seeds) for row in rows) for pick in (min, max))
    seeds = _seeds(rows[0]) if fewest == most else f"{fewest} to {most} seeds an arm"
    caveat = ""
    if all(len(row.entry.seeds) == 1 for row in rows):
        caveat = " One seed an arm: what another training run would change is not measured."
    return f"({capital(metric_label(metric))}; n = {shown} questions, {seeds}.){caveat}"


def _seeds(row: Row) -> str:
    count = len(row.entry.seeds)
    return "1 seed" if count == 1 else f"{count} seeds"


def result_title(comparison: Comparison) -> str:
    """Who scores highest, and how far above the untuned base."""
    headline = comparison.headline
    best = comparison.arms[0]
    summary = best.metrics.get(headline) if headline else None
    if headline is None or summary is None or summary.mean is None:
        return "No arm has a score"
    text = f"{best.name} scores {number(summary.mean)} in {metric_label(headline)}"
    base = next((row for row in comparison.baselines if row.entry.arm == "base"), None)
    base_mean = base.mean(headline) if base else None
    return text if base_mean is None else f"{text}; the untuned base scores {number(base_mean)}"


def differences_title(comparison: Comparison) -> str:
    """How many pairs are told apart."""
    pairs = [one for one in comparison.differences if one.metric == comparison.headline]
    clear = sum(one.is_clear for one in pairs)
    if not pairs:
        return "No two arms can be compared"
    if len(pairs) == 1:
        return "The two arms are told apart" if clear else "The two arms are not told apart"
    if clear == len(pairs):
        return f"All {len(pairs)} pairs of arms are told apart"
    return f"{clear} of {len(pairs)} pairs of arms are told apart"


def parts_title(comparison: Comparison, parts: Mapping[str, str], what: str) -> str:
    """Where the gap between the two best arms that may be compared is widest and narrowest."""
    along_grid = _along_grid(comparison)[-1:]
    chain = along_grid or _chain(comparison, comparison.arms, comparison.headline or "")
    gaps = {}
    if chain:
        pair = chain[0].arm, chain[0].against
        found = {part: comparison.contrast(*pair, metric) for part, metric in parts.items()}
        gaps = {part: one.mean for part, one in found.items() if one and one.mean is not None}
    if len(gaps) < 2:
        return capital(what)
    widest, narrowest = (
        f"{_part_name(parts[part])} ({number(gaps[part], signed=True)})"
        for part in (pick(gaps, key=lambda part: gaps[part]) for pick in (max, min))
    )
    return (
        f"{capital(what)}: {pair[0]} is furthest ahead of {pair[1]} in {widest}, "
        f"least in {narrowest}"
    )


def _part_name(metric: str) -> str:
    return part_label(parse_metric(metric).part).replace("-", "\N{NON-BREAKING HYPHEN}")


def held_title(comparison: Comparison) -> str:
    """What was held equal between the arms, or that it was not."""
    if comparison.refused:
        return "Not every pair of arms was given the same"
    kinds = {run.budget.get("kind") for row in comparison.arms for run in row.entry.runs}
    if kinds == {None}:
        return "These runs learned nothing, so they have no budget"
    kind = str(kinds.pop()).replace("_", " ") if len(kinds) == 1 else "budget"
    if len(comparison.arms) < 2:
        return f"The budget was set in {kind}"
    return f"Every two arms that are compared had the same {kind}, or asked about it"


def capital(text: str) -> str:
    """The text with a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]
