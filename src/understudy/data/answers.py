"""What every set of a teacher's answers goes through, be it a file, a Hub data set or a folder.

Texts are normalised to NFC, never NFKC, so that an instruction is the same row whatever machine
wrote the file. An input that says nothing (missing, null, white space, ``<noinput>``) becomes "".
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from understudy.data.conversations import CHAT_FORMATS, ChatReader
from understudy.data.language import detect_language
from understudy.data.rows import RowFile, kind_of, require_choice
from understudy.prompts import has_input
from understudy.records import (
    Completion,
    Instruction,
    InstructionRows,
    SourceRows,
    instruction_id,
)

_log = logging.getLogger(__name__)
_FIELDS = ("instruction", "input", "output", "id", "task", "lang")
_CHAT_FIELDS = ("messages", "system", "id", "task", "lang")
_ALPACA = "alpaca"
_MAX_OPTIONAL_CHARS = 1000


@dataclass(frozen=True, kw_only=True)
class AnswerRows(ABC):
    """A teacher's answers, one row an instruction; where they are read from is a subclass's.

    The id of a row is a hash of its instruction, input and history, so that the same instruction
    has the same id in every teacher's data.

    Args:
        teacher: Who answered.
        format: ``alpaca`` (instruction, input, output), or a conversation in a field:
            ``messages`` or ``sharegpt``.
        empty_output: ``error``, or ``drop`` and count.
        duplicates: What happens to a second row with the same instruction and input:
            ``keep_first`` and count, or ``error``. A second row with the same explicit ``id`` is
            always an error.
        max_field_chars: The longest text that is taken for real.
        lang: The instructions' language: ``en``, ``zh``, or ``auto``: a row's own ``lang``, else by
            the CJK characters of its instruction.
        fields: The data's own names, by ours: instruction, input, output, id, task, lang; of a
            conversation messages, system, id, task, lang.
        expand: A field with a list of objects, each of which becomes a row of its own with the
            other fields of its row.
        roles: What further roles of a conversation are, see
            :class:`~understudy.data.conversations.ChatReader`.
        num_rows: How many rows were published, where that is known; another number is warned of.
        fields_key: Where a config gives ``fields``, for errors.

    Raises:
        InputError: A value is none of its choices.
    """

    teacher: str = ""
    format: str = _ALPACA
    empty_output: str = "error"
    duplicates: str = "keep_first"
    max_field_chars: int = 100_000
    lang: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)
    expand: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    num_rows: int | None = None
    fields_key: str = "data.fields"

    def __post_init__(self) -> None:
        """Refuses unknown choices before anything is read."""
        require_choice("data.source.format", self.format, (_ALPACA, *CHAT_FORMATS))
        require_choice("data.empty_output", self.empty_output, ("error", "drop"))
        require_choice("data.duplicates", self.duplicates, ("keep_first", "error"))
        require_choice("data.lang", self.lang, ("auto", "en", "zh"))
        for name in self.fields:
            require_choice("data.fields", name, self._own_fields)
        _ = self._chat

    @abstractmethod
    def load(self) -> RowFile:
        """The rows as they are stored, before anything is looked at."""

    def read(self) -> SourceRows:
        """All valid rows in their order; they are read once.

        Raises:
            InputError: The data or one of its rows is wrong.
        """
        return self._rows

    def instructions(self) -> InstructionRows:
        """What was asked, in the rows' order, whatever was answered; the same thing only once.

        Of conversations only those that are valid rows.

        Raises:
            InputError: The data or one of its rows is wrong.
        """
        if self._chat is not None:
            return InstructionRows.of(self.read())
        file = self.load()
        self._check_explicit_ids(file)
        if self.expand is not None:
            file = file.expanded(self.expand)
        self._check_size(file)
        number_of: dict[str, int] = {}
        prompts = []
        for number in range(1, len(file.rows) + 1):
            prompt = self.prompt_of(file, number)
            first = number_of.setdefault(prompt.id, number)
            if first == number:
                prompts.append(prompt)
            else:
                self._refuse_duplicate(file, number, first)
        dropped = Counter({"duplicate_instruction": len(file.rows) - len(prompts)})
        return InstructionRows(tuple(prompts), +dropped, (file.input_file,))

    def answers(self, prompts: Sequence[Instruction]) -> Mapping[str, str]:
        """The answers to those of ``prompts`` that are there, by the prompts' ids."""
        by_content = {row.prompt.id: row.output for row in self._rows.rows}
        contents = {
            each.id: instruction_id(each.instruction, each.input, each.history) for each in prompts
        }
        return {key: by_content[c] for key, c in contents.items() if c in by_content}

    @property
    def content_fields(self) -> Mapping[str, str]:
        """The data's own names, by ours, of the fields that decide what the rows say."""
        names = {ours: self._name(ours) for ours in self._own_fields if ours != "id"}
        return names if self.expand is None else {**names, "expand": self.expand}

    @cached_property
    def _rows(self) -> SourceRows:
        file = self.load()
        self._check_explicit_ids(file)
        if self.expand is not None:
            file = file.expanded(self.expand)
        self._check_size(file)
        self._check_answered(file)
        rows: dict[str, Completion] = {}
        number_of: dict[str, int] = {}
        dropped: Counter[str] = Counter()
        for number in range(1, len(file.rows) + 1):
            row = self._completion(file, number)
            if isinstance(row, str):
                dropped[row] += 1
            elif not row.output.strip():
                self._refuse_empty(file, number)
                dropped["empty_output"] += 1
            elif row.prompt.id in rows:
                self._refuse_duplicate(file, number, number_of[row.prompt.id])
                dropped["duplicate_instruction"] += 1
            else:
                rows[row.prompt.id] = row
                number_of[row.prompt.id] = number
        return SourceRows(tuple(rows.values()), dropped, (file.input_file,))

    def _completion(self, file: RowFile, number: int) -> Completion | str:
        """The row as a completion, or the reason for which it is left out."""
        if self._chat is None:
            return self._of_alpaca(file, number)
        system = self._optional(file, number, "system", self.max_field_chars)
        found = self._chat.read(file, number, system=system)
        if isinstance(found, str):
            return found
        prompt = Instruction(
            id=instruction_id(found.instruction, "", found.history),
            instruction=found.instruction,
            task=self._optional(file, number, "task", _MAX_OPTIONAL_CHARS),
            lang=self._language(file, number, found.asked),
            history=found.history,
        )
        return Completion(prompt, found.output, self.teacher)

    def prompt_of(self, file: RowFile, number: int) -> Instruction:
        """The instruction and input of a row, whatever was answered.

        Raises:
            InputError: There is no instruction, or a field is no text.
        """
        instruction = file.text(number, self._name("instruction"), max_chars=self.max_field_chars)
        if not instruction.strip():
            raise file.error(number, "empty; write what was asked", field=self._name("instruction"))
        given = self._optional(file, number, "input", self.max_field_chars)
        given = given if has_input(given) else ""
        return Instruction(
            id=instruction_id(instruction, given),
            instruction=instruction,
            input=given,
            task=self._optional(file, number, "task", _MAX_OPTIONAL_CHARS),
            lang=self._language(file, number, instruction),
        )

    def _of_alpaca(self, file: RowFile, number: int) -> Completion:
        prompt = self.prompt_of(file, number)
        output = file.text(number, self._name("output"), max_chars=self.max_field_chars)
        return Completion(prompt, output, self.teacher)

    @property
    def _own_fields(self) -> tuple[str, ...]:
        return _FIELDS if self.format == _ALPACA else _CHAT_FIELDS

    @cached_property
    def _chat(self) -> ChatReader | None:
        """Who reads the conversations; nobody where the rows are none."""
        if self.format == _ALPACA:
            return None
        return ChatReader(
            self.format, self.fields.get("messages"), self.roles, self.max_field_chars
        )

    def _name(self, ours: str) -> str:
        """The data's name of our field."""
        default = ours
        if ours == "messages":
            default = CHAT_FORMATS[self.format].messages
        return self.fields.get(ours, default)

    @property
    def _asked_field(self) -> str:
        return self._name("instruction" if self._chat is None else "messages")

    @property
    def _answer_field(self) -> str:
        return self._name("output" if self._chat is None else "messages")

    def _optional(self, file: RowFile, number: int, ours: str, max_chars: int) -> str:
        name = self._name(ours)
        if file.rows[number - 1].get(name) is None:
            return ""
        return file.text(number, name, max_chars=max_chars)

    def _language(self, file: RowFile, number: int, text: str) -> str:
        if self.lang != "auto":
            return self.lang
        return self._optional(file, number, "lang", _MAX_OPTIONAL_CHARS) or detect_language(text)

    def _check_explicit_ids(self, file: RowFile) -> None:
        name = self._name("id")
        number_of: dict[str, int] = {}
        for number, row in enumerate(file.rows, start=1):
            value = row.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, str | int):
                problem = f"is {kind_of(value)}, not a text or a whole number; mend it"
                raise file.error(number, problem, field=name)
            first = number_of.setdefault(str(value), number)
            if first != number:
                problem = f"the id of row {first} again; every id is given once"
                raise file.error(number, problem, field=name)

    def _check_size(self, file: RowFile) -> None:
        if self.num_rows is not None and self.num_rows != len(file.rows):
            _log.warning(
                "%s: %s rows, where %s were published; other rows give other results",
                file.path,
                f"{len(file.rows):,}",
                f"{self.num_rows:,}",
            )

    def _check_answered(self, file: RowFile) -> None:
        """Refuses data in which no conversation ends with an answer; says how many do not."""
        if self._chat is None:
            return
        numbers = range(1, len(file.rows) + 1)
        num_open = sum(self._chat.ends_unanswered(file, number) for number in numbers)
        if num_open == len(file.rows):
            raise self._chat.refuse_unanswered(file)
        if num_open:
            _log.warning(
                "%s: %s of %s conversations go on after their last answer; what nobody answered "
                "is left out",
                file.path,
                f"{num_open:,}",
                f"{len(file.rows):,}",
            )

    def _refuse_empty(self, file: RowFile, number: int) -> None:
        if self.empty_output == "error":
            problem = "empty; data.empty_output=drop leaves such instructions out of every arm"
            if self._chat is not None:
                problem = f"the last answer is {problem}"
            raise file.error(number, problem, field=self._answer_field)

    def _refuse_duplicate(self, file: RowFile, number: int, first: int) -> None:
        if self.duplicates == "error":
            raise file.error(
                number,
                f"the same instruction and input as row {first}; remove one, or keep the first "
                "with data.duplicates=keep_first",
                field=self._asked_field,
            )
