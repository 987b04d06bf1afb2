"""Which parts of the questions have a table and a figure for a paper: those of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from understudy.report.cells import series_of
from understudy.report.compare import Comparison
from understudy.report.labels import BUCKETS, metric_label, parse_metric, part_label, parts_of
from understudy.report.paper.tidy import part_kind

_LAB = "eval/lab_accuracy"
_ROUGE = "eval/rouge_l"
_NAMES = {
    "family": ("families", "task family"),
    "split": ("splits", "test split"),
    "language": ("languages", "language"),
    "set": ("sets", "question set"),
    "bucket": ("buckets", "words in the reference"),
}
_SEVERAL = ("set", "language", "bucket")
"""What every question has one of; one alone says nothing."""


@dataclass(frozen=True, slots=True)
class PrintedParts:
    """A metric by parts of one kind; ``metrics`` by part, as parts_of has them.

    ``name`` is what the files are called, ``what`` the kind in words.
    """

    name: str
    what: str
    base: str
    metrics: Mapping[str, str]

    @property
    def title(self) -> str:
        """The metric in words."""
        return metric_label(self.base)

    @property
    def labels(self) -> dict[str, str]:
        """Label to metric."""
        return {part_label(parse_metric(one).part): one for one in self.metrics.values()}


def printed_parts(comparison: Comparison) -> list[PrintedParts]:
    """Families and splits of the lab, languages and sets of the first metric, lengths of ROUGE-L.

    Parts without a question are left out, and so is a kind of which every question is one part.
    """
    found = []
    for kind, (name, what) in _NAMES.items():
        for base in _bases(comparison, kind):
            metrics = _asked(comparison, _of_kind(comparison, base, kind))
            if len(metrics) > (kind in _SEVERAL):
                found.append(PrintedParts(name, what, base, metrics))
                break
    return found


def num_questions(comparison: Comparison, metric: str) -> int:
    """The most questions that an arm or baseline has a score on."""
    found = (row.metrics.get(metric) for row, _ in series_of(comparison))
    return max((one.n for one in found if one), default=0)


def _bases(comparison: Comparison, kind: str) -> list[str]:
    if kind in ("family", "split"):
        return [_LAB]
    if kind == "bucket":
        return [_ROUGE]
    return list(dict.fromkeys((comparison.headline or _ROUGE, _ROUGE, "eval/answer_words")))


def _of_kind(comparison: Comparison, base: str, kind: str) -> dict[str, str]:
    """The parts of a kind; no splits where they are the sets' names once more."""
    found = parts_of(base, comparison.metrics)
    kinds = {part: part_kind(part) for part in found}
    own = {name: part for part, (one, name) in kinds.items() if one == kind}
    if kind == "split" and own.keys() == {name for one, name in kinds.values() if one == "set"}:
        return {}
    parts = [bucket for bucket in BUCKETS if bucket in own] if kind == "bucket" else own.values()
    return {part: found[part] for part in parts}


def _asked(comparison: Comparison, metrics: Mapping[str, str]) -> dict[str, str]:
    return {part: one for part, one in metrics.items() if num_questions(comparison, one)}
