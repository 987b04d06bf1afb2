"""Several sources as one teacher's answers, such as GPT-4's English and Chinese data together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from understudy.records import (
    Completion,
    CompletionSource,
    InputError,
    InputFile,
    Instruction,
    SourceRows,
)


@dataclass(frozen=True)
class Mixture:
    """The rows of all parts, in the parts' order, as the answers of one teacher.

    An instruction that several parts answer is taken from the first of them; the others' rows are
    counted as ``duplicate_instruction``.

    Args:
        parts: The sources; what they call their teachers does not matter.
        teacher: Who answered.

    Raises:
        InputError: There is no part.
    """

    parts: Sequence[CompletionSource]
    teacher: str

    def __post_init__(self) -> None:
        """Refuses a mixture of nothing; a tuple makes mixtures of equal parts equal."""
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise InputError(
                f"the mixture {self.teacher!r} has no parts; give it one source or more"
            )

    def read(self) -> SourceRows:
        """All rows of all parts under the mixture's teacher; each part is read once.

        Raises:
            InputError: A part is wrong, or brings no instruction of its own.
        """
        return self._rows

    def answers(self, prompts: Sequence[Instruction]) -> Mapping[str, str]:
        """The first answer that a part gives, by the prompts' ids; parts are asked in turn."""
        found: dict[str, str] = {}
        for part in self.parts:
            open_prompts = [prompt for prompt in prompts if prompt.id not in found]
            found.update(part.answers(open_prompts))
        return found

    @cached_property
    def _rows(self) -> SourceRows:
        rows: dict[str, Completion] = {}
        dropped: Counter[str] = Counter()
        inputs: list[InputFile] = []
        for number, part in enumerate(self.parts, start=1):
            read = part.read()
            fresh = {row.prompt.id: row for row in read.rows if row.prompt.id not in rows}
            if not fresh:
                raise InputError(
                    f"part {number} of the mixture {self.teacher!r} has {len(read.rows):,} rows, "
                    "all of them in the parts before it too; give every part its own instructions"
                )
            rows.update({key: replace(row, author=self.teacher) for key, row in fresh.items()})
            dropped.update(read.dropped)
            dropped["duplicate_instruction"] += len(read.rows) - len(fresh)
            inputs.extend(read.inputs)
        return SourceRows(tuple(rows.values()), +dropped, tuple(dict.fromkeys(inputs)))
