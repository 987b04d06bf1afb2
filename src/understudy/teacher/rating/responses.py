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

from understudy.data.collected import ARM, CollectedAnswers, collected_names
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
from understudy.tracking.manifest import MANIFEST

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
    given = _by_path(answers)
    names = _own_names([path for path, name in given.items() if not name])
    read: dict[str, SourceRows] = {}
    path_of: dict[str, str] = {}
    for path, name in given.items():
        rows, author = _rows_of(path)
        source = name or names.get(path, author)
        if source in read:
            raise InputError(
                f"{path_of[source]} and {path} are both answers of {source}; name them: "
                f"answers={{{source}_1:{path_of[source]},{source}_2:{path}}}"
            )
        read[source], path_of[source] = rows, path
    return read


def _by_path(answers: Answers) -> dict[str, str]:
    """Each path with the name that was given, "" for none."""
    if isinstance(answers, Mapping):
        pairs = [(str(path), str(name)) for name, path in answers.items()]
    else:
        paths = answers if isinstance(answers, list | tuple) else [answers]
        pairs = [(str(path), "") for path in paths if path is not None]
    if not pairs:
        raise InputError("answers names nothing; type answers=[RUN_A,RUN_B,FILE.json]")
    repeated = [path for path, count in Counter(path for path, _ in pairs).items() if count > 1]
    if repeated:
        raise InputError(f"answers names {repeated[0]} twice; leave one out")
    return dict(pairs)


def _own_names(paths: Sequence[str]) -> dict[str, str]:
    """What collected arms and files are called; samples are called by who drew them."""
    collected = [path for path in paths if _is_collected(path)]
    files = [path for path in paths if path not in collected and _samples_of(path) is None]
    return {**collected_names(collected), **teacher_names(files)}


def _rows_of(path: str) -> tuple[SourceRows, str]:
    """The rows of a run folder or a file, and who answered as far as the rows themselves say."""
    samples = _samples_of(path)
    if samples is not None:
        return _sampled(samples)
    if _is_collected(path):
        return CollectedAnswers(path=path, empty_output="drop").read(), ""
    folder = Path(path).expanduser()
    if folder.is_dir():
        what = "this run left" if (folder / MANIFEST).is_file() else "the folder holds"
        raise InputError(
            f"{path}: {what} neither {ARM} nor {SAMPLES}; give a run of stage=collect or "
            "stage=sample that has ended, or a file"
        )
    return AnswerFile(path=path, empty_output="drop").read(), ""


def _is_collected(path: str) -> bool:
    """Whether a folder, or the file of answers in one, is what a run collected."""
    place = Path(path).expanduser()
    folder = place.parent if place.name == ANSWERS else place
    return (folder / ARM).is_file()


def _samples_of(path: str) -> Path | None:
    """The file of samples that a path is or holds."""
    place = Path(path).expanduser()
    file = place / SAMPLES if place.is_dir() else place
    return file if file.name == SAMPLES and file.is_file() else None


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
    return SourceRows(tuple(rows), dropped, (file,)), samples[0].prediction.author


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
