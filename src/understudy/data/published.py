"""How many rows a source should have, before it is read: what a plan without a network knows."""

from __future__ import annotations

from understudy.comparisons import ComparisonSource
from understudy.data.answers import AnswerRows
from understudy.data.mixture import Mixture
from understudy.records import CompletionSource


def num_published(source: CompletionSource | ComparisonSource) -> int | None:
    """The number of rows that the source's publisher gives; null where none does."""
    if isinstance(source, AnswerRows):
        return source.num_rows
    if isinstance(source, Mixture):
        counts = [num_published(part) for part in source.parts]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None
    return None
