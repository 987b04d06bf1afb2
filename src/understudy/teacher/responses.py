"""The answers that are rated: those of runs and files, brought together by what was asked.

Answers to one prompt are found by the prompt's content, so the sources need not agree in order or
number (Peng et al. 2023, section 3.2: GPT-4's, GPT-3.5's and OPT-IML's answers to one instruction).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from understudy.data.files import AnswerFile
from understudy.data.instructions import ANSWERS
from understudy.prompts import has_input
from understudy.records import (
    Completion,
    InputError,
    InputFile,
    Instruction,
    SourceRows,
    instruction_id,
    teacher_names,
)
from understudy.samples import GREEDY, SAMPLES, read_samples
from understudy.tracking.manifest import MANIFEST, read_manifest

NEEDED = 2
"""How many answers a prompt has at least, or there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a prompt; ``number`` counts those of one source to it, from 0."""

    prompt: Instruction
    text: str
    source: str
    number: int = 0


@dataclass(frozen=True)
class Responses:
    """The answers to each prompt that has at least two.

    Attributes:
        prompts: The answers to one prompt after the other: prompts in the order in which the first
            source has them, then those that only later ones have; answers in the sources' order.
        sources: Who answered.
        left_out: How many rows or prompts are not rated, by reason.
        incomplete: How many prompts lack an answer of one source or more, and have two all the
            same.
        inputs: The files that were read.
    """

    prompts: Sequence[Sequence[Response]]
    sources: Sequence[str]
    left_out: Counter[str] = field(default_factory=Counter)
    incomplete: int = 0
    inputs: Sequence[InputFile] = ()

    def __iter__(self) -> Iterator[Response]:
        """Each answer."""
        return (each for answers in self.prompts for each in answers)

    @cached_property
    def num_responses(self) -> int:
        """How many answers there are."""
        return sum(map(len, self.prompts))


Answers = str | Sequence[str] | Mapping[str, str]
"""A run or file, several of them, or several by the names of who answered."""


def read_responses(answers: Answers, *, limit: int | None = None) -> Responses:
    """The answers of runs and files by prompt.

    Args:
        answers: Folders of runs of ``stage=collect`` or ``stage=sample``, or files of Alpaca's
            schema. Who answered is the run's teacher or model, or the file's name, unless named.
        limit: Only the first so many prompts that can be rated; null takes all.

    Raises:
        InputError: A run or file is wrong, two sources have one name, or no prompt has two answers.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit} rates nothing; type limit=100, or null for all")
    read = _read_all(answers)
    left_out: Counter[str] = Counter()
    by_prompt: dict[str, list[Response]] = {}
    for source, rows in read.items():
        left_out.update(rows.dropped)
        for row in rows.rows:
            _add(by_prompt, row, source, left_out)
    rated = [each for each in by_prompt.values() if len(each) >= NEEDED]
    left_out["prompts_under_two_answers"] += len(by_prompt) - len(rated)
    if not rated:
        raise InputError(
            f"none of {len(by_prompt):,} prompts has two answers ({', '.join(read)}); give runs or "
            "files that answer the same instructions: answers=[RUN_A,RUN_B]"
        )
    kept = rated[:limit]
    left_out["prompts_beyond_limit"] += len(rated) - len(kept)
    return Responses(
        tuple(map(tuple, kept)),
        tuple(read),
        +left_out,
        sum(len({each.source for each in prompt}) < len(read) for prompt in kept),
        tuple(file for rows in read.values() for file in rows.inputs),
    )


def _add(
    by_prompt: dict[str, list[Response]], row: Completion, source: str, left_out: Counter[str]
) -> None:
    """Puts an answer to those of its prompt."""
    if row.prompt.history:
        left_out["answers_in_conversations"] += 1  # the form shows one instruction and no turns
        return
    there = by_prompt.setdefault(row.prompt.id, [])
    number = sum(each.source == source for each in there)
    prompt = there[0].prompt if there else row.prompt
    there.append(Response(prompt, row.output, source, number))


def _read_all(answers: Answers) -> dict[str, SourceRows]:
    """The rows of each source by its name.

    Raises:
        InputError: There is none, two have one name, or one of them is wrong.
    """
    named = _named(answers)
    read: dict[str, SourceRows] = {}
    place_of: dict[str, str] = {}
    for place, (given, name) in named.items():
        rows, own = _rows_of(place, name)
        source = given or own
        if source in read:
            raise InputError(
                f"{place_of[source]} and {place} are both answers of {source}; name them: "
                f"answers={{{source}_1:{place_of[source]},{source}_2:{place}}}"
            )
        read[source], place_of[source] = rows, place
    return read


def _named(answers: Answers) -> dict[str, tuple[str, str]]:
    """Each path with the name that was given, "" for none, and the one that a file has itself."""
    if isinstance(answers, Mapping):
        given = {str(path): str(name) for name, path in answers.items()}
        num_given = len(answers)
    else:
        paths = [answers] if isinstance(answers, str) else list(map(str, answers))
        given = dict.fromkeys(paths, "")
        num_given = len(paths)
    if not given:
        raise InputError("answers names nothing; type answers=[RUN_A,RUN_B,FILE.json]")
    if len(given) < num_given:
        raise InputError("answers names one path twice; leave one out")
    names = teacher_names(list(given))
    return {path: (name, names[path]) for path, name in given.items()}


def _rows_of(place: str, name: str) -> tuple[SourceRows, str]:
    """The rows of a run folder or a file, and who answered; ``name`` is what a file is called."""
    path = Path(place).expanduser()
    if not path.is_dir():
        if path.name == SAMPLES:
            return _sampled(path)
        return _file_rows(path, name), name
    if (path / SAMPLES).is_file():
        return _sampled(path / SAMPLES)
    if (path / ANSWERS).is_file():
        return _file_rows(path / ANSWERS, name), _teacher_of(path) or name
    what = "this run left" if (path / MANIFEST).is_file() else "the folder holds"
    raise InputError(
        f"{place}: {what} neither {ANSWERS} nor {SAMPLES}; give a run of stage=collect or "
        "stage=sample that has ended, or a file"
    )


def _file_rows(path: Path, name: str) -> SourceRows:
    return AnswerFile(path=str(path), teacher=name, empty_output="drop").read()


def _teacher_of(folder: Path) -> str | None:
    """Who answered in a run, as its manifest has it."""
    try:
        teacher: str | None = read_manifest(folder)["teacher"]
    except (OSError, ValueError, KeyError):
        return None
    return teacher


def _sampled(path: Path) -> tuple[SourceRows, str]:
    """A policy's samples, and its name; the greedy answer is none of them."""
    samples = read_samples(path)
    dropped: Counter[str] = Counter()
    rows = []
    for each in samples:
        prediction = each.prediction
        if prediction.decoding == GREEDY:
            dropped["greedy_answers"] += 1
        elif not prediction.output.strip():
            dropped["empty_output"] += 1
        else:
            prompt = _normalised(prediction.question.prompt)
            output = unicodedata.normalize("NFC", prediction.output)
            rows.append(Completion(prompt, output, prediction.author))
    if not samples:
        raise InputError(f"{path}: 0 samples; give a run of stage=sample that drew some")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = InputFile(str(path), digest, len(samples))
    return SourceRows(tuple(rows), dropped, (file,)), Path(samples[0].prediction.author).name


def _normalised(prompt: Instruction) -> Instruction:
    """The prompt as a file of answers would have it, so that its id is that of its content."""
    instruction = unicodedata.normalize("NFC", prompt.instruction)
    given = unicodedata.normalize("NFC", prompt.input) if has_input(prompt.input) else ""
    return replace(
        prompt,
        id=instruction_id(instruction, given, prompt.history),
        instruction=instruction,
        input=given,
    )
