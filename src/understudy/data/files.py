"""Answer files in the Alpaca schema (JSON, JSONL, Parquet), validated at the border.

Texts are normalised to NFC, never NFKC, so that an instruction is the same row whatever machine
wrote the file. An input that says nothing (missing, null, white space, ``<noinput>``) becomes "".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from understudy.data.rows import RowFile, kind_of, read_rows, require_choice
from understudy.prompts import has_input
from understudy.records import (
    Completion,
    CompletionSource,
    InputError,
    Instruction,
    SourceRows,
    instruction_id,
    teacher_names,
)

_FIELDS = ("instruction", "input", "output", "id", "task", "lang")
_CJK = "[\u3400-\u9fff\uf900-\ufaff]"
_CJK_CHARACTER = re.compile(_CJK)
_OTHER_WORD = re.compile(f"(?:(?!{_CJK})\\w)+")
_MIN_CJK_FRACTION = 0.4
_MAX_OPTIONAL_CHARS = 1000


@dataclass(frozen=True)
class AnswerFile:
    """A teacher's answers in a file, one row an instruction. The path is read when it is needed.

    The id of a row is a hash of its instruction and input, so that the same instruction has the
    same id in every teacher's file.

    Args:
        path: A JSON list, JSONL or Parquet file.
        teacher: Who answered; the file's name without its ending when null.
        empty_output: ``error``, or ``drop`` and count.
        duplicates: What happens to a second row with the same instruction and input:
            ``keep_first`` and count, or ``error``. A second row with the same explicit ``id`` is
            always an error.
        max_field_chars: The longest text that is taken for real.
        lang: The instructions' language: ``en``, ``zh``, or ``auto``: a row's own ``lang``, else by
            the CJK characters of its instruction.
        fields: The file's own names, by ours: instruction, input, output, id, task, lang.

    Raises:
        InputError: A value is none of its choices.
    """

    path: str
    teacher: str = ""
    empty_output: str = "error"
    duplicates: str = "keep_first"
    max_field_chars: int = 100_000
    lang: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fills in the teacher's name and refuses unknown choices."""
        require_choice("data.empty_output", self.empty_output, ("error", "drop"))
        require_choice("data.duplicates", self.duplicates, ("keep_first", "error"))
        require_choice("data.lang", self.lang, ("auto", "en", "zh"))
        for name in self.fields:
            require_choice("data.fields", name, _FIELDS)
        if not self.teacher:
            object.__setattr__(self, "teacher", Path(self.path).stem)

    @property
    def location(self) -> Path:
        """The file's own path, however it was written."""
        return Path(self.path).expanduser().resolve()

    def read(self) -> SourceRows:
        """All valid rows in the file's order; the file is read once.

        Raises:
            InputError: The file or one of its rows is wrong.
        """
        return self._rows

    def answers(self, prompts: Sequence[Instruction]) -> Mapping[str, str]:
        """The file's answers to those of ``prompts`` that it holds, by the prompts' ids."""
        by_content = {row.prompt.id: row.output for row in self._rows.rows}
        contents = {each.id: instruction_id(each.instruction, each.input) for each in prompts}
        return {key: by_content[c] for key, c in contents.items() if c in by_content}

    @cached_property
    def _rows(self) -> SourceRows:
        file = read_rows(self.path)
        rows: dict[str, Completion] = {}
        number_of: dict[str, int] = {}
        dropped: Counter[str] = Counter()
        self._check_explicit_ids(file)
        for number in range(1, len(file.rows) + 1):
            row = self._completion(file, number)
            if not row.output.strip():
                self._refuse_empty(file, number)
                dropped["empty_output"] += 1
            elif row.prompt.id in rows:
                self._refuse_duplicate(file, number, number_of[row.prompt.id])
                dropped["duplicate_instruction"] += 1
            else:
                rows[row.prompt.id] = row
                number_of[row.prompt.id] = number
        return SourceRows(tuple(rows.values()), dropped, (file.input_file,))

    def _completion(self, file: RowFile, number: int) -> Completion:
        instruction = file.text(number, self._name("instruction"), max_chars=self.max_field_chars)
        if not instruction.strip():
            raise file.error(number, "empty; write what was asked", field=self._name("instruction"))
        given = self._optional(file, number, "input", self.max_field_chars)
        given = given if has_input(given) else ""
        output = file.text(number, self._name("output"), max_chars=self.max_field_chars)
        prompt = Instruction(
            id=instruction_id(instruction, given),
            instruction=instruction,
            input=given,
            task=self._optional(file, number, "task", _MAX_OPTIONAL_CHARS),
            lang=self._language(file, number, instruction),
        )
        return Completion(prompt, output, self.teacher)

    def _name(self, ours: str) -> str:
        """The file's name of our field."""
        return self.fields.get(ours, ours)

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

    def _refuse_empty(self, file: RowFile, number: int) -> None:
        if self.empty_output == "error":
            problem = "empty; data.empty_output=drop leaves such instructions out of every arm"
            raise file.error(number, problem, field=self._name("output"))

    def _refuse_duplicate(self, file: RowFile, number: int, first: int) -> None:
        if self.duplicates == "error":
            raise file.error(
                number,
                f"the same instruction and input as row {first}; remove one, or keep the first "
                "with data.duplicates=keep_first",
                field=self._name("instruction"),
            )


def detect_language(text: str) -> str:
    """``zh`` when more than four in ten words are CJK characters, each one a word, else ``en``.

    >>> detect_language("解释细胞理论"), detect_language("Explain cell theory")
    ('zh', 'en')
    """
    if text.isascii():
        return "en"
    num_cjk, num_other = len(_CJK_CHARACTER.findall(text)), len(_OTHER_WORD.findall(text))
    return "zh" if num_cjk > _MIN_CJK_FRACTION * (num_cjk + num_other) else "en"


def siblings(source: CompletionSource, paths: Sequence[str] | None) -> list[CompletionSource]:
    """The answer files at ``paths``, read like ``source`` and named apart from it and each other.

    Raises:
        InputError: There are paths, but ``source`` is no file.
    """
    if not paths:
        return []
    if not isinstance(source, AnswerFile):
        raise InputError(
            f"data.peers names files, but {source.teacher} answers from no file; "
            "type data=alpaca_json"
        )
    names = teacher_names([source.path, *paths])
    return [replace(source, path=path, teacher=names[path]) for path in paths]
