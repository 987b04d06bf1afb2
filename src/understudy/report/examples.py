"""Questions with every arm's answer, to read: drawn by a hash of their ids, not chosen.

All common questions are drawn up to a count and an amount of text; the section says of how many.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.pages.page import Answer, Column, Example, Examples, Section, Text
from understudy.records import read_jsonl
from understudy.report.compare import Comparison, Row
from understudy.report.labels import metric_label, number
from understudy.report.read.runs import BASELINES, PREDICTIONS

MAX_EXAMPLES = 400
MAX_BYTES = 3_000_000
_MAX_CHARACTERS = 8000
_MAX_TITLE = 90

_Rows = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Examples, who answered them, and of how many common questions they are."""

    columns: Sequence[Column]
    examples: Sequence[Example]
    num_common: int


def example_sections(comparison: Comparison, num_examples: int = MAX_EXAMPLES) -> list[Section]:
    """The section in which one searches, sorts and reads answers; none without common questions."""
    drawn = draw_examples(comparison, num_examples)
    if not drawn.examples:
        return []
    shown, common = len(drawn.examples), drawn.num_common
    which = "All questions that every arm answered, in an order drawn by a hash of their ids"
    if shown < common:
        which = (
            f"{shown:,} of the {common:,} questions that every arm answered, drawn by a hash of "
            "their ids and balanced over tasks, not chosen"
        )
    metric = comparison.headline
    scores = f", with its {metric_label(metric)}" if metric else ""
    note = f"{which}. Each answer is of the arm's first seed{scores}; other seeds differ."
    title = f"{shown:,} question{'' if shown == 1 else 's'} with every arm's answer"
    browser = Examples(drawn.columns, drawn.examples, metric_label(metric) if metric else "")
    return [Section("examples", "Examples", title, [Text(note, is_muted=True), browser])]


def draw_examples(
    comparison: Comparison, num_examples: int = MAX_EXAMPLES, *, max_bytes: int = MAX_BYTES
) -> Drawn:
    """At most ``num_examples`` questions that all arms answered, in turns over the tasks.

    Drawing stops before their text, with all answers, exceeds ``max_bytes`` of UTF-8, but not
    before the first. Answers are those of each arm's first seed, greedy where the run decoded in
    several ways.
    """
    paths = [row.entry.runs[0].folder / PREDICTIONS for row in comparison.arms]
    questions = _common_questions(paths)
    drawn = _in_turns(questions)[:num_examples]
    if not drawn:
        return Drawn([], [], len(questions))
    answers = [_answers(path, drawn) for path in paths]
    answers += [_baseline_answers(row, drawn) for row in comparison.baselines]
    columns = [
        *(Column(row.name, place) for place, row in enumerate(comparison.arms)),
        *(Column(row.name, -1 - place) for place, row in enumerate(comparison.baselines)),
    ]
    examples = [
        _example(questions[one], [rows.get(one) for rows in answers], comparison.headline)
        for one in drawn
    ]
    return Drawn(columns, _within(examples, max_bytes), len(questions))


def _common_questions(paths: Sequence[Path]) -> _Rows:
    """The rows of the first file whose question is in all files, by question id."""
    if not paths or not all(path.is_file() for path in paths):
        return {}
    first = {row["id"]: row for row in read_jsonl(paths[0])}
    for path in paths[1:]:
        known = {row["id"] for row in read_jsonl(path)}
        first = {question: row for question, row in first.items() if question in known}
    return first


def _in_turns(questions: _Rows) -> list[str]:
    """All ids, one of each task in turn, each task in the order of its ids' hashes."""
    by_task: dict[str, list[str]] = defaultdict(list)
    for question in sorted(questions, key=lambda one: hashlib.sha256(one.encode()).digest()):
        by_task[str(questions[question].get("task") or "")].append(question)
    turns = [
        (turn, task, question) for task, ids in by_task.items() for turn, question in enumerate(ids)
    ]
    return [question for *_, question in sorted(turns)]


def _within(examples: Sequence[Example], max_bytes: int) -> list[Example]:
    """The first examples whose text fits, at least one."""
    kept: list[Example] = []
    for example in examples:
        texts = [text for _, text in example.fields]
        texts += [answer.text for answer in example.answers if answer]
        max_bytes -= sum(len(text.encode("utf-8", "replace")) for text in texts)
        if kept and max_bytes < 0:
            break
        kept.append(example)
    return kept


def _answers(path: Path, questions: Iterable[str]) -> _Rows:
    wanted = set(questions)
    return _greedy_first(row for row in read_jsonl(path) if row["id"] in wanted)


def _baseline_answers(row: Row, questions: Iterable[str]) -> _Rows:
    wanted = set(questions)
    return _greedy_first(
        line
        for line in read_jsonl(row.entry.runs[0].folder / BASELINES)
        if line["id"] in wanted and line["author"] == row.entry.arm
    )


def _greedy_first(rows: Iterable[dict[str, Any]]) -> _Rows:
    """One row a question: the first greedy one, else the first."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        kept = found.setdefault(row["id"], row)
        if kept.get("decoding") != "greedy" and row.get("decoding") == "greedy":
            found[row["id"]] = row
    return found


def _example(
    row: Mapping[str, Any], answers: Sequence[Mapping[str, Any] | None], headline: str | None
) -> Example:
    asked = " ".join(f"{row.get('instruction') or ''} {row.get('input') or ''}".split())
    task = str(row.get("task") or "")
    return Example(
        title=f"{task or 'question'}: {_shortened(asked)}",
        fields=_fields(row),
        answers=[None if one is None else _answer(one, headline) for one in answers],
        task=task,
        split=str(row.get("split") or ""),
        lang=str(row.get("lang") or ""),
    )


def _fields(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was said before, asked and expected."""
    fields = [
        (f"Earlier ({turn['role']})", _cut(turn["content"])) for turn in row.get("history", ())
    ]
    fields.append(("Instruction", _cut(row.get("instruction"))))
    if row.get("input"):
        fields.append(("Input", _cut(row["input"])))
    references = row.get("references") or {}
    return fields + [(f"Reference ({name})", _cut(references[name])) for name in sorted(references)]


def _answer(row: Mapping[str, Any], metric: str | None) -> Answer:
    """An answer with its headline score; right or wrong where that is 1 or 0 of lab accuracy."""
    text = _cut(row.get("output"))
    if metric is None or metric not in row["scores"]:
        return Answer(text)
    value = row["scores"][metric]
    if value is None:
        return Answer(text, None, "undefined")
    if metric == "eval/lab_accuracy" and value in (0, 1):
        return Answer(text, value, "✓ right" if value == 1 else "✗ wrong")
    return Answer(text, value, number(value))


def _cut(text: object) -> str:
    whole = str(text or "")
    if len(whole) <= _MAX_CHARACTERS:
        return whole or "(empty)"
    return f"{whole[:_MAX_CHARACTERS]} … ({len(whole) - _MAX_CHARACTERS:,} more characters)"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TITLE else f"{text[: _MAX_TITLE - 1]}…"
