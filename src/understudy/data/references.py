"""Answers that count as right: in a field of the question file, or in a file of answers.

A file of answers is matched by instruction and input (the Alpaca schema), or, where it has no
instructions, by the id of the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from understudy.data.files import AnswerFile
from understudy.data.rows import RowFile, kind_of, read_rows, require_choice
from understudy.records import InputError, InputFile, Instruction

Where = str | Mapping[str, str | None]
"""Where a reference stands: a field's name, a file, or a file with the names of its fields."""

_FILE_ENDINGS = (".json", ".jsonl", ".parquet")
_KEYS = ("path", "key", "output")


@dataclass(frozen=True)
class Asked:
    """The questions of a file, for those who look up their answers.

    Attributes:
        file: The file's rows; those after the last of ``prompts`` are not asked.
        prompts: The questions, in the order of the rows.
        id_field: The file's name of the field that holds a question's own id.
        max_field_chars: The longest text that is taken for real.
    """

    file: RowFile
    prompts: Sequence[Instruction]
    id_field: str
    max_field_chars: int

    def own_ids(self) -> dict[str, str]:
        """The ids of the prompts by the ids that the file gives them.

        Raises:
            InputError: A row has no id, or that of another row.
        """
        by_own: dict[str, str] = {}
        number_of: dict[str, int] = {}
        for number, prompt in enumerate(self.prompts, start=1):
            own = own_id(self.file, number, self.id_field)
            first = number_of.setdefault(own, number)
            if first != number:
                problem = f"the id of row {place(self.file, first)} again; give each its own"
                raise self.file.error(number, problem, field=self.id_field)
            by_own[own] = prompt.id
        return by_own


class Reference(Protocol):
    """Somebody's answers to the questions of a file."""

    def answers(self, asked: Asked) -> Mapping[str, str]:
        """The answers by prompt id, for the prompts that were answered.

        Raises:
            InputError: The answers are wrong, or there are none to these questions.
        """
        ...

    def inputs(self) -> Sequence[InputFile]:
        """The files of answers beside the question file."""
        ...


def reference(name: str, where: Where | None) -> Reference | None:
    """The reference of this name as a config describes it; none without a file or field.

    Raises:
        InputError: It has a key that we do not know.
    """
    if where is None:
        return None
    if isinstance(where, str):
        if where.endswith(_FILE_ENDINGS):
            return AnswersInFile(where, fields_key=f"questions.references.{name}")
        return AnswersInField(where)
    for each in where:
        require_choice(f"questions.references.{name}", str(each), _KEYS)
    file, key, output = (where.get(each) for each in _KEYS)
    if file is None:
        return None
    if key is None:
        return AnswersInFile(
            file, output=output or "output", fields_key=f"questions.references.{name}"
        )
    return AnswersById(file, key=key, output=output or "output")


@dataclass(frozen=True)
class AnswersInField:
    """Answers beside the questions, in a field of their file."""

    field: str

    def answers(self, asked: Asked) -> Mapping[str, str]:
        """The field of every row."""
        return {
            prompt.id: asked.file.text(number, self.field, max_chars=asked.max_field_chars)
            for number, prompt in enumerate(asked.prompts, start=1)
        }

    def inputs(self) -> Sequence[InputFile]:
        """None beside the question file."""
        return ()


@dataclass(frozen=True)
class AnswersInFile:
    """Answers in a file of the Alpaca schema, to the same instructions and inputs."""

    path: str
    output: str = "output"
    fields_key: str = "questions.references"

    def answers(self, asked: Asked) -> Mapping[str, str]:
        """The file's answers; an empty one is none."""
        source = AnswerFile(
            self.path,
            empty_output="drop",
            max_field_chars=asked.max_field_chars,
            fields={"output": self.output},
            fields_key=self.fields_key,
        )
        found = source.answers(asked.prompts)
        if not found:
            raise InputError(
                f"{self.path}: answers none of the questions in {asked.file.path}; instruction and "
                "input must be the same in both"
            )
        return found

    def inputs(self) -> Sequence[InputFile]:
        """The file of answers."""
        return (read_rows(self.path).input_file,)


@dataclass(frozen=True)
class AnswersById:
    """Answers in a file that names questions by their id, such as FastChat's.

    Args:
        path: The file of answers.
        key: Its field with the question's id.
        output: Its field with the answer.
    """

    path: str
    key: str
    output: str

    def answers(self, asked: Asked) -> Mapping[str, str]:
        """The file's answers; an empty one is none."""
        prompt_of = asked.own_ids()
        answers = read_rows(self.path)
        number_of: dict[str, int] = {}
        found: dict[str, str] = {}
        for number in range(1, len(answers.rows) + 1):
            own = own_id(answers, number, self.key)
            first = number_of.setdefault(own, number)
            if first != number:
                problem = f"the id of row {first} again; keep one answer to a question"
                raise answers.error(number, problem, field=self.key)
            output = answers.text(number, self.output, max_chars=asked.max_field_chars)
            if own in prompt_of and output.strip():
                found[prompt_of[own]] = output
        if not found:
            raise InputError(
                f"{self.path}: answers none of the questions in {asked.file.path}; its field "
                f"{self.key!r} must hold what the questions have in {asked.id_field!r}"
            )
        return found

    def inputs(self) -> Sequence[InputFile]:
        """The file of answers."""
        return (read_rows(self.path).input_file,)


def own_id(file: RowFile, number: int, field: str) -> str:
    """The id that a file gives its row, a text or a whole number.

    Raises:
        InputError: There is none, or it is something else.
    """
    value = file.rows[number - 1].get(field)
    if isinstance(value, bool) or not isinstance(value, str | int):
        found = "missing" if value is None else f"is {kind_of(value)}"
        problem = f"{found}, but answers are matched by it; give a text or a whole number"
        raise file.error(number, problem, field=field)
    return str(value)


def place(file: RowFile, number: int) -> str:
    """Where row ``number`` stands in its file, for an error about another row."""
    return str(number) if file.places is None else file.places[number - 1]
