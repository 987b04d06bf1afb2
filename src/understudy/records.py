"""The rows that stages exchange, and the seams that rooms share.

An instruction is what a teacher was asked, a completion is what somebody answered, a question is
an instruction with answers that count as right, a prediction is a scored answer to a question.
Rows are frozen, go to JSONL and come back unchanged. Vocabulary: docs/vocabulary.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

_Had = TypeVar("_Had")


class InputError(ValueError):
    """A user's file, config or reply is wrong; the text says what, where and the way out."""


class RunError(RuntimeError):
    """A run cannot go on, through no fault of its input; the text suffices for the user."""


class Stopped(KeyboardInterrupt):
    """A run was asked to stop by a signal.

    Attributes:
        signal_name: "SIGTERM", "SIGINT" or "SIGUSR1".
    """

    def __init__(self, signal_name: str, how_far: str = "") -> None:
        """``how_far``, such as "at step 57 of 400", completes the line for the user."""
        self.signal_name = signal_name
        super().__init__(f"{signal_name} {how_far}".rstrip())


class NotAtHand(RunError):  # noqa: N818 - what is the case; a plan goes on as far as it can
    """Data or weights are neither here nor can they be downloaded.

    Attributes:
        what: What was wanted, from where, and why it did not come.
        hint: What to type to use a local copy.
    """

    def __init__(self, what: str, hint: str) -> None:
        """Joins both into the line for the user."""
        super().__init__(f"{what}; {hint}")
        self.what = what
        self.hint = hint


def at_hand(*probes: Callable[[], _Had]) -> list[_Had]:
    """What each probe gives; of all that is missing, says at once what to do about it.

    Raises:
        NotAtHand: Something that one or several probes needed is neither here nor to be had.
    """
    had, missing = [], []
    for probe in probes:
        try:
            had.append(probe())
        except NotAtHand as error:
            missing.append(error)
    if missing:
        hints = dict.fromkeys(error.hint for error in missing)
        raise NotAtHand("; ".join(dict.fromkeys(e.what for e in missing)), "; ".join(hints))
    return had


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier message of a conversation; ``role`` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """What was asked, in the Alpaca fields. ``task`` is a family or category, "" when unknown.

    In a conversation ``instruction`` is its last user message and ``history`` what came before.
    """

    id: str
    instruction: str
    input: str = ""
    task: str = ""
    lang: str = "en"
    split: str = ""
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer to an instruction; ``author`` is the teacher or model that wrote it."""

    prompt: Instruction
    output: str
    author: str


@dataclass(frozen=True, slots=True)
class Question:
    """An instruction with the answers that count as right, by their author's name."""

    prompt: Instruction
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A scored answer to a question.

    ``scores`` maps a metric's name to its value on this question, null when it is undefined; a
    question that a metric does not concern has no entry for it. ``finish`` is "stop" or "length".
    """

    question: Question
    author: str
    output: str
    decoding: str = "greedy"
    finish: str = "stop"
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a run read, for its manifest."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Validated rows with the count, by reason, of those that were left out."""

    rows: Sequence[Completion]
    dropped: Counter[str] = field(default_factory=Counter)
    inputs: Sequence[InputFile] = ()


@dataclass(frozen=True, slots=True)
class InstructionRows:
    """Validated instructions with the count, by reason, of those that were left out."""

    prompts: Sequence[Instruction]
    dropped: Counter[str] = field(default_factory=Counter)
    inputs: Sequence[InputFile] = ()

    @classmethod
    def of(cls, rows: SourceRows) -> InstructionRows:
        """The instructions of answers, and what was left out of these."""
        return cls(tuple(row.prompt for row in rows.rows), Counter(rows.dropped), rows.inputs)


class CompletionSource(Protocol):
    """Where an arm's answers come from: a file, the Hub, the lab."""

    @property
    def teacher(self) -> str:
        """The name of who answered."""
        ...

    def read(self) -> SourceRows:
        """All valid rows, in a fixed order."""
        ...

    def answers(self, prompts: Sequence[Instruction]) -> Mapping[str, str]:
        """The teacher's own answers to those of ``prompts`` that it answered, by instruction id."""
        ...


class Scorer(Protocol):
    """Scores one answer to one question; names its metrics as they appear in reports."""

    def score(self, question: Question, output: str) -> Mapping[str, float | None]:
        """Metric name to value; null is undefined, an absent name does not concern the question."""
        ...


class QuestionSource(Protocol):
    """Where an evaluation's questions come from: held-out rows, a file, the lab, another run."""

    def questions(self, held_out: Sequence[Question]) -> Sequence[Question]:
        """The questions, given the data arm's held-out ones (none when there is no arm)."""
        ...

    def inputs(self) -> Sequence[InputFile]:
        """The files that the questions come from, beside those of the data arm."""
        ...


def instruction_id(instruction: str, input: str = "", history: Sequence[Turn] = ()) -> str:
    """A stable id of the content: 16 hex digits of sha256 over the fields and earlier turns."""
    earlier = "".join(f"\x1e{turn.role}\x1f{turn.content}" for turn in history)
    return hashlib.sha256(f"{instruction}\x1f{input}{earlier}".encode()).hexdigest()[:16]


def teacher_names(paths: Sequence[str]) -> dict[str, str]:
    """What to call who answered in each file: its stem, or the shortest path end of its own.

    The names do not depend on the order. Two spellings of one path have one name. Files that differ
    in nothing but the suffix keep it.

    >>> list(teacher_names(["gpt4/alpaca.json", "gpt35/alpaca.json", "gpt35/weak.json"]).values())
    ['gpt4/alpaca', 'gpt35/alpaca', 'weak']
    """
    whole = {path: Path(os.path.abspath(Path(path).expanduser())) for path in paths}  # noqa: PTH100 - a link keeps its name
    num_files = Counter(end for path in set(whole.values()) for end in _ends(path))
    return {
        path: next((end for end in _ends(file) if num_files[end] == 1), str(file))
        for path, file in whole.items()
    }


def _ends(path: Path) -> list[str]:
    """The ends of a path from its stem upwards, then the same with its suffix; each one once."""
    sizes = range(1, len(path.parts) + 1)
    ends = [
        Path(*each.parts[-n:]).as_posix() for each in (path.with_suffix(""), path) for n in sizes
    ]
    return list(dict.fromkeys(ends))


def question_to_json(question: Question) -> dict[str, Any]:
    """The flat JSON row of a question; ``history`` is there where there is one."""
    prompt = asdict(question.prompt)
    if not prompt["history"]:
        del prompt["history"]
    return {**prompt, "references": dict(question.references)}


def question_from_json(row: Mapping[str, Any]) -> Question:
    """The question of a flat JSON row, as written by :func:`question_to_json`."""
    return Question(_instruction_from_json(row), dict(row["references"]))


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """The flat JSON row of a prediction."""
    return {
        **question_to_json(prediction.question),
        "author": prediction.author,
        "output": prediction.output,
        "decoding": prediction.decoding,
        "finish": prediction.finish,
        "scores": dict(prediction.scores),
    }


def prediction_from_json(row: Mapping[str, Any]) -> Prediction:
    """The prediction of a flat JSON row, as written by :func:`prediction_to_json`."""
    return Prediction(
        question_from_json(row),
        author=row["author"],
        output=row["output"],
        decoding=row["decoding"],
        finish=row["finish"],
        scores=dict(row["scores"]),
    )


def _instruction_from_json(row: Mapping[str, Any]) -> Instruction:
    return Instruction(
        id=row["id"],
        instruction=row["instruction"],
        input=row["input"],
        task=row["task"],
        lang=row["lang"],
        split=row["split"],
        history=tuple(Turn(turn["role"], turn["content"]) for turn in row.get("history", ())),
    )


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes one JSON object a line (UTF-8, readable characters) and returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    num_rows = 0
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            num_rows += 1
    return num_rows


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file that a run wrote.

    Raises:
        InputError: A line is not JSON; names file and line.
    """
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path} line {number}: not JSON ({error.msg})") from error


def read_json_object(file: Path, *, remedy: str) -> dict[str, Any]:
    """The JSON object that a file holds; ``remedy`` says what to do where it holds none.

    Raises:
        InputError: It holds something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}); {remedy}") from error
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no JSON object; {remedy}")
    return found
