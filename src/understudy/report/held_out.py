"""Whether arms held out the same answers of a teacher, so that their losses are on the same texts.

A run records one fingerprint of all that it held out. Where that differs, and the runs' folders are
at hand, the answers themselves say on which instructions they agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from understudy.records import InputError, read_jsonl
from understudy.report.read.runs import RunRecord

HELD_OUT = "held_out.jsonl"
_FIELD = "held_out"

_Answers = Mapping[str, Mapping[str, str]]


class HeldOutAnswers:
    """The held-out answers of runs, each file read once and only where it is needed."""

    def __init__(self) -> None:
        """Reads nothing yet."""
        self._read: dict[Path, _Answers | None] = {}

    def unequal(self, runs: Iterable[RunRecord], teacher: str) -> set[str] | None:
        """The instructions on which the teacher's answers differ; null where that is unknown.

        Runs of an earlier version recorded no fingerprint and are taken for equal.
        """
        known = [run for run in runs if run.comparable.get(_FIELD)]
        if len({run.comparable[_FIELD] for run in known}) < 2:
            return set()
        answers: dict[str, set[str]] = defaultdict(set)
        for run in known:
            held_out = self._of(run)
            if held_out is None:
                return None
            for each, references in held_out.items():
                answers[each].add(references.get(teacher, ""))
        return {each for each, texts in answers.items() if len(texts) > 1}

    def _of(self, run: RunRecord) -> _Answers | None:
        if run.folder not in self._read:
            self._read[run.folder] = _answers(run.folder / HELD_OUT)
        return self._read[run.folder]


def _answers(path: Path) -> _Answers | None:
    if not path.is_file():
        return None
    try:
        return {str(row["id"]): dict(row["references"]) for row in read_jsonl(path)}
    except (InputError, KeyError, TypeError, ValueError):
        return None
