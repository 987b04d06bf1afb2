"""The tasks that invention starts from: Self-Instruct's released schema, or Alpaca's.

A row of the released schema has ``instruction``, ``instances`` (a list of ``{input, output}``) and
``is_classification``; one of Alpaca's has ``instruction``, ``input`` and ``output``. Both may stand
in one file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from understudy.data.rows import RowFile, content_sha256, kind_of, read_rows
from understudy.prompts import has_input
from understudy.records import InputError, InputFile
from understudy.teacher.selfinstruct.filters import Instance

_MAX_CHARS = 100_000
_FIELDS = ("instruction", "input", "output", "instances", "is_classification")


class SeedRows(Protocol):
    """Rows that are made, not read: the lab's."""

    @property
    def name(self) -> str:
        """What they are called."""
        ...

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows, in the released schema."""
        ...


@dataclass(frozen=True, slots=True)
class SeedTask:
    """A task to show.

    Attributes:
        instruction: What it asks for.
        instance: Its first input and output; null where the file has none.
        is_classification: Whether it is one; null where the file does not say.
    """

    instruction: str
    instance: Instance | None = None
    is_classification: bool | None = None


@dataclass(frozen=True)
class SeedTasks:
    """The tasks of a file, each instruction once.

    Attributes:
        tasks: In their order.
        file: Where they stand.
        inputs: The same for a manifest; nothing where they were made, not read.
        dropped: Rows left out, by reason.
    """

    tasks: Sequence[SeedTask]
    file: InputFile
    inputs: Sequence[InputFile] = ()
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Seeds:
    """Where seed tasks come from.

    Attributes:
        path: A file (.json, .jsonl or .parquet); null takes the lab's own.
        lab: The lab's.
    """

    path: str | None
    lab: SeedRows

    @property
    def are_the_labs(self) -> bool:
        """Whether no file was given."""
        return self.path is None

    def read(self, *, num_shown: int, with_instances: bool) -> SeedTasks:
        """The tasks.

        Args:
            num_shown: How many a prompt shows; there must be so many.
            with_instances: Whether a prompt shows input and output, too.

        Raises:
            InputError: The file, one of its rows, or their number is wrong.
        """
        file = self._file()
        tasks: dict[str, SeedTask] = {}
        dropped: Counter[str] = Counter()
        for number in range(1, len(file.rows) + 1):
            task = _task(file, number)
            if with_instances and (task.instance is None or not task.instance.output.strip()):
                raise file.error(
                    number, "has no output to show; this recipe shows whole tasks", field="output"
                )
            if task.instruction in tasks:
                dropped["duplicate_instruction"] += 1
            tasks.setdefault(task.instruction, task)
        if len(tasks) < num_shown:
            raise InputError(
                f"{file.path}: {len(tasks)} different seed tasks, and each prompt shows "
                f"{num_shown}; give more, or type invention.num_in_context={max(1, len(tasks))}"
            )
        inputs = () if self.are_the_labs else (file.input_file,)
        return SeedTasks(tuple(tasks.values()), file.input_file, inputs, dropped)

    def _file(self) -> RowFile:
        if self.path is not None:
            return read_rows(self.path)
        rows = self.lab.rows()
        return RowFile(self.lab.name, content_sha256(rows, {name: name for name in _FIELDS}), rows)


def _task(file: RowFile, number: int) -> SeedTask:
    instruction = file.text(number, "instruction", max_chars=_MAX_CHARS).strip()
    if not instruction:
        raise file.error(number, "empty; write what is asked for", field="instruction")
    row = file.rows[number - 1]
    is_one = row.get("is_classification")
    if is_one is not None and not isinstance(is_one, bool):
        problem = f"is {kind_of(is_one)}, not true or false; mend it or leave it out"
        raise file.error(number, problem, field="is_classification")
    instance = _first_instance(file, number) if "instances" in row else _own(file, number)
    return SeedTask(instruction, instance, is_one)


def _first_instance(file: RowFile, number: int) -> Instance | None:
    """The first of the list; all of them are checked."""
    found = file.rows[number - 1]["instances"]
    if not isinstance(found, list):
        problem = f"is {kind_of(found)}, not a list of objects with input and output"
        raise file.error(number, problem, field="instances")
    instances = []
    for index, each in enumerate(found):
        if not isinstance(each, dict):
            problem = f"is {kind_of(each)}, not an object with input and output"
            raise file.error(number, problem, field=f"instances[{index}]")
        texts = {}
        for name in ("input", "output"):
            value = each.get(name, "")
            if not isinstance(value, str):
                problem = f"is {kind_of(value)}, not text; quote it"
                raise file.error(number, problem, field=f"instances[{index}].{name}")
            texts[name] = file.checked(value, number, name, max_chars=_MAX_CHARS)
        instances.append(_instance(texts["input"], texts["output"]))
    return instances[0] if instances else None


def _own(file: RowFile, number: int) -> Instance | None:
    """The instance of a row in Alpaca's schema; null where it has no output."""
    row = file.rows[number - 1]
    if row.get("output") is None:
        return None
    given = file.text(number, "input", max_chars=_MAX_CHARS) if row.get("input") else ""
    return _instance(given, file.text(number, "output", max_chars=_MAX_CHARS))


def _instance(given: str, output: str) -> Instance:
    return Instance(given if has_input(given) else "", output)
