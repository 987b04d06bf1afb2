"""What a teacher is asked: the instructions of a data set, a comparison set or a file, in order.

Answers that the data already holds are not looked at. The same instruction and input are asked
once, and whatever is not asked is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from understudy.comparisons import ComparisonRows, ComparisonSource
from understudy.data.answers import AnswerRows
from understudy.data.language import LANGUAGES
from understudy.data.rows import require_choice
from understudy.data.split import prompts_sha256
from understudy.prompts import Template
from understudy.records import (
    CompletionSource,
    InputError,
    InputFile,
    Instruction,
    InstructionRows,
    SourceRows,
)

AnySource = CompletionSource | ComparisonSource
"""Whatever ``data=...`` may be."""


@dataclass(frozen=True)
class AskedInstructions:
    """The instructions that are asked.

    Attributes:
        prompts: In the source's order; no two have one id.
        left_out: How many rows of the source are not asked, by reason.
        inputs: The files that were read.
    """

    prompts: Sequence[Instruction]
    left_out: Counter[str] = field(default_factory=Counter)
    inputs: Sequence[InputFile] = ()

    @property
    def sha256(self) -> str:
        """Hash of the instructions in their order: equal where the same was asked."""
        return prompts_sha256(self.prompts)


def read_instructions(
    source: AnySource, *, lang: str | None = None, limit: int | None = None
) -> AskedInstructions:
    """The instructions of a source.

    Args:
        source: Where they stand.
        lang: Only those in this language, "en" or "zh"; null takes all.
        limit: Only the first so many of these; null takes all.

    Raises:
        InputError: The source is wrong, there is no instruction in ``lang``, or ``limit`` is none.
        NotAtHand: The data is neither here nor to be had.
    """
    if lang is not None:
        require_choice("lang", lang, LANGUAGES)
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit} asks for nothing; type limit=100, or null for all")
    read = _rows_of(source)
    spoken = [each for each in read.prompts if lang in (None, each.lang)]
    if not spoken:
        raise InputError(_none_in(lang, len(read.prompts)))
    kept = spoken[:limit]
    left_out = Counter(read.dropped)
    left_out["other_language"] += len(read.prompts) - len(spoken)
    left_out["beyond_limit"] += len(spoken) - len(kept)
    return AskedInstructions(tuple(kept), +left_out, read.inputs)


def require_template(template: Template | None) -> Template:
    """The template; there has to be one to ask in.

    Raises:
        InputError: There is none, as with ``prompt=checkpoint``.
    """
    if template is None:
        raise InputError("there is no checkpoint whose template this could be; type prompt=alpaca")
    return template


def _rows_of(source: AnySource) -> InstructionRows:
    if isinstance(source, AnswerRows):
        return source.instructions()
    rows = source.read()
    if isinstance(rows, SourceRows):
        return InstructionRows.of(rows)
    return _of_comparisons(rows)


def _of_comparisons(read: ComparisonRows) -> InstructionRows:
    """Each prompt once, though several subsets may ask it."""
    prompts = {row.prompt.id: row.prompt for row in read.rows}
    repeated = Counter({"duplicate_instruction": len(read.rows) - len(prompts)})
    return InstructionRows(tuple(prompts.values()), +repeated, read.inputs)


def _none_in(lang: str | None, count: int) -> str:
    if lang is None:
        return "the data has no instruction; give a file with at least one"
    if lang == "zh":
        return (
            f"none of the {count:,} instructions is Chinese; translate them first: python run.py "
            "stage=translate data=... and then stage=collect lang=zh data=instructions "
            "data.path=RUN"
        )
    return f"none of the {count:,} instructions is in lang={lang}; leave lang out to ask them all"
