"""A few dozen questions with every arm's answer, drawn by a hash of their ids, not chosen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.pages.page import Answer, Example
from understudy.records import read_jsonl
from understudy.report.compare import Comparison, Row
from understudy.report.labels import number
from understudy.report.runs import BASELINES, PREDICTIONS

_MAX_CHARACTERS = 1500
_MAX_TITLE = 90


def draw_examples(comparison: Comparison, num_examples: int) -> list[Example]:
    """At most ``num_examples`` questions that all arms answered, balanced over tasks.

    Answers are those of each arm's first seed, greedy where the run decoded in several ways.
    """
    paths = [row.entry.runs[0].folder / PREDICTIONS for row in comparison.arms]
    questions = _common_questions(paths)
    drawn = _balanced(questions, num_examples)
    if not drawn:
        return []
    own = [_answers(path, drawn) for path in paths]
    others = _baseline_answers(comparison.baselines, drawn)
    columns = [
        *((row.name, place, own[place]) for place, row in enumerate(comparison.arms)),
        *((row.name, -1 - place, answers) for place, (row, answers) in enumerate(others)),
    ]
    return [_example(questions[one], one, columns, comparison.headline) for one in drawn]


def _common_questions(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The rows of the first file whose question is in all files, by question id."""
    if not paths or not all(path.is_file() for path in paths):
        return {}
    first = {row["id"]: row for row in read_jsonl(paths[0])}
    for path in paths[1:]:
        known = {row["id"] for row in read_jsonl(path)}
        first = {question: row for question, row in first.items() if question in known}
    return first


def _balanced(questions: Mapping[str, dict[str, Any]], count: int) -> list[str]:
    """Ids in turns over the tasks, each task in the order of its ids' hashes."""
    by_task: dict[str, list[str]] = defaultdict(list)
    for question in sorted(questions, key=lambda one: hashlib.sha256(one.encode()).digest()):
        by_task[str(questions[question].get("task") or "")].append(question)
    turns = [
        (turn, task, question) for task, ids in by_task.items() for turn, question in enumerate(ids)
    ]
    kept = sorted(turns)[:count]
    return [question for _, _, question in sorted(kept, key=lambda one: (one[1], one[0]))]


def _answers(path: Path, questions: Iterable[str]) -> dict[str, dict[str, Any]]:
    wanted = set(questions)
    return _greedy_first(row for row in read_jsonl(path) if row["id"] in wanted)


def _baseline_answers(
    baselines: Sequence[Row], questions: Sequence[str]
) -> list[tuple[Row, dict[str, dict[str, Any]]]]:
    wanted = set(questions)
    return [
        (
            row,
            _greedy_first(
                line
                for line in read_jsonl(row.entry.runs[0].folder / BASELINES)
                if line["id"] in wanted and line["author"] == row.entry.arm
            ),
        )
        for row in baselines
    ]


def _greedy_first(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One row a question: the first greedy one, else the first."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        kept = found.setdefault(row["id"], row)
        if kept.get("decoding") != "greedy" and row.get("decoding") == "greedy":
            found[row["id"]] = row
    return found


def _example(
    row: Mapping[str, Any],
    question: str,
    columns: Sequence[tuple[str, int, Mapping[str, dict[str, Any]]]],
    headline: str | None,
) -> Example:
    fields = [("Instruction", _cut(row.get("instruction")))]
    if row.get("input"):
        fields.append(("Input", _cut(row["input"])))
    references = row.get("references") or {}
    fields += [(f"Reference ({name})", _cut(text)) for name, text in sorted(references.items())]
    asked = " ".join(f"{row.get('instruction') or ''} {row.get('input') or ''}".split())
    scored = [
        (name, _score(answers[question], headline))
        for name, series, answers in columns
        if question in answers and series >= 0
    ]
    return Example(
        title=f"{row.get('task') or 'question'}: {_shortened(asked)}",
        summary=" · ".join(f"{name} {score}" for name, score in scored if score),
        fields=fields,
        answers=[
            Answer(name, _cut(answers[question].get("output")), _score(answers[question], headline),
                   series)
            for name, series, answers in columns
            if question in answers
        ],
    )  # fmt: skip


def _score(row: Mapping[str, Any], metric: str | None) -> str:
    """The headline score of an answer; right or wrong where it is 1 or 0 of lab accuracy."""
    if metric is None or metric not in row["scores"]:
        return ""
    value = row["scores"][metric]
    if value is None:
        return "undefined"
    if metric == "eval/lab_accuracy" and value in (0, 1):
        return "✓ right" if value == 1 else "✗ wrong"
    return number(value)


def _cut(text: object) -> str:
    whole = str(text or "")
    if len(whole) <= _MAX_CHARACTERS:
        return whole or "(empty)"
    return f"{whole[:_MAX_CHARACTERS]} … ({len(whole) - _MAX_CHARACTERS:,} more characters)"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TITLE else f"{text[: _MAX_TITLE - 1]}…"
