"""The page of a run of ``stage=rate``: how sources were rated, how often two tie, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.pages.figures import histogram_figure
from understudy.pages.page import Block, Cell, Chart, Page, Section, Table, Text, render
from understudy.teacher.rating.ratings import SourceRatings, Ties, interval_in_words

PAGE = "ratings.html"


def rating_page(
    rater: str,
    sources: Sequence[SourceRatings],
    ties: Sequence[Ties],
    unreadable: Mapping[str, Sequence[str]],
    counts: Mapping[str, int],
) -> str:
    """The page as HTML.

    Args:
        rater: Who rated.
        sources: What was said of each source.
        ties: How often two of them were rated alike.
        unreadable: The first unreadable replies of each kind.
        counts: How many there are of each kind.
    """
    num_rated = sum(each.n for each in sources)
    sections = [
        Section("sources", "Sources", "How each source was rated", _sources(sources)),
        Section("ties", "Ties", "How often two answers to a prompt were rated alike", _ties(ties)),
        Section("unreadable", "Form", *_unreadable(unreadable, counts)),
    ]
    return render(
        Page(
            title=f"Ratings of {rater}",
            subtitle=f"{num_rated:,} answers, each rated alone from 1 to 10",
            lead=_lead(sources),
            notices=(),
            sections=sections,
        )
    )


def _lead(sources: Sequence[SourceRatings]) -> str:
    rated = [each for each in sources if each.mean.mean is not None]
    if not rated:
        return "No answer has a rating."
    ranked = sorted(rated, key=lambda each: -(each.mean.mean or 0.0))
    means = ", ".join(f"{each.source} {each.mean.mean:.2f}" for each in ranked)
    return f"Mean rating: {means}."


def _sources(sources: Sequence[SourceRatings]) -> list[Block]:
    rows = [
        [
            Cell(each.source, series=number),
            Cell(f"{each.n:,}"),
            Cell(interval_in_words(each.mean, ".2f")),
            Cell("" if each.sd is None else f"{each.sd:.2f}"),
            Cell("" if each.nines is None else f"{each.nines:.1%}"),
        ]
        for number, each in enumerate(sources)
    ]
    header = ("source", "ratings", "mean [95 %]", "sd", "exactly 9")
    blocks: list[Block] = [Table("Ratings by source", header, rows)]
    rated = [(number, each) for number, each in enumerate(sources) if each.n]
    if rated:
        given = {score for _, each in rated for score in each.counts}
        places = sorted({*map(float, range(1, 11)), *given})
        figure = histogram_figure(
            [(each.source, number, _shares(each, places)) for number, each in rated],
            "share of the source's ratings",
            "rating",
        )
        caption = "The share of each source's ratings that is each score"
        blocks.append(Chart(figure, caption, f"{caption}; the counts are in statistics.json"))
    return blocks


def _shares(source: SourceRatings, places: Sequence[float]) -> dict[str, float]:
    return {f"{score:g}": source.counts.get(score, 0) / source.n for score in places}


def _ties(ties: Sequence[Ties]) -> list[Block]:
    if not ties:
        return [Text("No prompt has two ratings.")]
    rows = [
        [
            Cell(f"{each.first} and {each.second}"),
            Cell(interval_in_words(each.share, ".1%")),
            Cell(f"{each.share.n:,}"),
        ]
        for each in ties
    ]
    return [Table("Share of ties", ("sources", "ties [95 %]", "prompts"), rows)]


def _unreadable(
    examples: Mapping[str, Sequence[str]], counts: Mapping[str, int]
) -> tuple[str, list[Block]]:
    """The heading and the blocks on replies without a score."""
    if not examples:
        return "Every reply holds a score", [Text("Nothing was left out for its form.")]
    rows = [
        [Cell(kind), Cell(f"{counts[kind]:,}"), Cell(" | ".join(map(repr, texts)))]
        for kind, texts in examples.items()
    ]
    table = Table("Replies without a score", ("what is wrong", "replies", "the first ones"), rows)
    return "Replies without a score: no number is made of them", [table]
