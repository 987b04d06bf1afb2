"""Answer files of others: rows with an answer and, usually, the reference it is scored against.

Nothing about a file is guessed: its fields have the names that the config gives (Self-Instruct's
prediction files: ``fields.output=response fields.reference=target``). An empty answer is an answer,
and scored; an empty reference makes its scores null. Neither is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.data.files import detect_language
from understudy.data.rows import RowFile, read_rows, require_choice
from understudy.prompts import has_input
from understudy.records import (
    InputError,
    InputFile,
    Instruction,
    Prediction,
    Question,
    instruction_id,
)

FIELDS: Mapping[str, str | None] = {
    "instruction": "instruction",
    "input": "input",
    "output": "output",
    "reference": "reference",
}
"""Our field to the file's name for it; null for a field that the file does not have."""

REFERENCE_AUTHOR = "reference"
_REQUIRED = ("instruction", "output")
_MAX_KEYS_SHOWN = 8
_MAX_FIELD_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Predictions that are not scored yet, in the file's order, and the file as a manifest has it.

    ``num_empty`` counts blank texts, which are kept, by ``empty_output`` and ``empty_reference``.
    """

    predictions: Sequence[Prediction]
    input_file: InputFile
    num_empty: Counter[str]


def read_answers(
    path: str, fields: Mapping[str, str | None] = FIELDS, *, author: str = "", lang: str = "auto"
) -> AnswerRows:
    """The rows of a JSON list, JSONL or Parquet file as predictions without scores.

    A row's id is the hash of instruction and input, as in data files. A question that a file asks
    twice is two items: the second row's id ends in ``-2``.

    Args:
        path: The file.
        fields: Its names for our fields; one that is left out has ours, null says there is none.
        author: Who answered; the file's name without its ending when "".
        lang: ``en``, ``zh``, or ``auto``: by the characters of the reference, or of the answer
            where there is none, because that is what will be compared.

    Raises:
        InputError: The file, a row, or a name in ``fields`` is wrong; names file, row and field.
    """
    require_choice("lang", lang, ("auto", "en", "zh"))
    names = _checked_names(fields)
    file = read_rows(path)
    _refuse_repeated_ids(file)
    reader = _RowReader(file, names, author or Path(path).stem, lang)
    num_seen: Counter[str] = Counter()
    num_empty: Counter[str] = Counter()
    predictions = []
    for number in range(1, len(file.rows) + 1):
        prediction = reader.prediction(number, num_seen)
        references = prediction.question.references.values()
        num_empty["empty_output"] += not prediction.output.strip()
        num_empty["empty_reference"] += sum(not reference.strip() for reference in references)
        predictions.append(prediction)
    return AnswerRows(predictions, file.input_file, +num_empty)


@dataclass(frozen=True, slots=True)
class _RowReader:
    file: RowFile
    names: Mapping[str, str | None]
    author: str
    lang: str

    def prediction(self, number: int, num_seen: Counter[str]) -> Prediction:
        """Row ``number`` (from 1); counts its content in ``num_seen``."""
        instruction = self._text(number, "instruction")
        if not instruction.strip():
            raise self.file.error(
                number, "empty; write what was asked", field=self.names["instruction"]
            )
        given = self._text(number, "input")
        given = given if has_input(given) else ""
        output, reference = self._text(number, "output"), self._text(number, "reference")
        content = instruction_id(instruction, given)
        num_seen[content] += 1
        times = num_seen[content]
        prompt = Instruction(
            id=content if times == 1 else f"{content}-{times}",
            instruction=instruction,
            input=given,
            lang=detect_language(reference or output) if self.lang == "auto" else self.lang,
        )
        references = {} if self.names["reference"] is None else {REFERENCE_AUTHOR: reference}
        return Prediction(Question(prompt, references), self.author, output)

    def _text(self, number: int, ours: str) -> str:
        name = self.names[ours]
        if name is None:
            return ""
        row = self.file.rows[number - 1]
        if name not in row:
            keys = ", ".join(str(key)[:40] for key in list(row)[:_MAX_KEYS_SHOWN]) or "no fields"
            absent = "" if ours in _REQUIRED else f", or fields.{ours}=null if the file has none"
            problem = f"missing; the row has {keys}; name it with fields.{ours}=NAME{absent}"
            raise self.file.error(number, problem, field=name)
        value = row[name]
        if isinstance(value, str) and len(value) > _MAX_FIELD_CHARS:
            problem = f"{len(value):,} characters, more than {_MAX_FIELD_CHARS:,}; shorten it"
            raise self.file.error(number, problem, field=name)
        return self.file.text(number, name, max_chars=_MAX_FIELD_CHARS)


def _checked_names(fields: Mapping[str, str | None]) -> dict[str, str | None]:
    for ours in fields:
        require_choice("fields", ours, tuple(FIELDS))
    names = {**FIELDS, **fields}
    for ours in _REQUIRED:
        if not names[ours]:
            raise InputError(f"fields.{ours} names no field; give the file's name for the {ours}")
    return {ours: name or None for ours, name in names.items()}


def _refuse_repeated_ids(file: RowFile) -> None:
    first: dict[str, int] = {}
    for number, row in enumerate(file.rows, start=1):
        if row.get("id") is None:
            continue
        earlier = first.setdefault(str(row["id"]), number)
        if earlier != number:
            problem = f"the id of row {earlier} again; every id is given once"
            raise file.error(number, problem, field="id")
