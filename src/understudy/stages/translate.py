"""``stage=translate``: a model puts instructions into Chinese, and checks decide which are taken.

Peng et al. 2023, section 2. ``instructions.jsonl`` has the Chinese rows, to be answered with
``stage=collect lang=zh data=instructions data.path=RUN``; ``rejected.jsonl`` has the rows that stay
English, each with its reasons and what came. The same line again asks nothing and writes the same
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.chat.asking.asker import Asker
from understudy.data.instructions import INSTRUCTIONS
from understudy.forms.translation import TO_CHINESE
from understudy.records import InputError
from understudy.stages.printing import in_words, print_facts, print_next
from understudy.teacher.instructions import AnySource, AskedInstructions, read_instructions
from understudy.teacher.record import ask, record_used, used_facts
from understudy.teacher.rows import FAILURES, failure_row, keeping_first, write_failures
from understudy.teacher.translation.translate import (
    NOT_ASKED,
    NOT_TAKEN,
    ToTranslate,
    Translations,
    texts_of,
    to_translate,
)

if TYPE_CHECKING:
    from understudy.tracking.run import Run

REJECTED = "rejected.jsonl"

_TEXT = ("instruction", "input")
_CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True)
class _Work:
    """What a run has to do."""

    read: AskedInstructions
    asked: ToTranslate

    @property
    def num_requests(self) -> int:
        """How many texts there are, the same one once."""
        return sum(1 for _ in self.asked.requests())

    def facts(self) -> dict[str, str]:
        """Names and values for the user."""
        rows, skipped = self.asked.prompts, self.asked.skipped
        num_with_input = sum(len(texts_of(prompt)) > 1 for prompt in rows)
        return {
            "instructions": f"{len(rows):,}, {num_with_input:,} with input",
            "skipped": in_words({why: sum(why == r for _, r in skipped) for why in NOT_ASKED}),
            "left out": in_words(self.read.left_out),
        }


def run(*, run: Run, source: AnySource, asker: Asker, min_cjk: float, limit: int | None) -> None:
    """Asks for the translations that the ledger lacks, checks them all and writes the rows.

    Raises:
        InputError: The data is wrong, or holds nothing to translate.
        RunError: The budget is spent or too many requests failed; what came is in the ledger.
    """
    work = _work(source, min_cjk, limit)
    run.add_inputs(work.read.inputs)
    run.manifest.comparable |= {"prompts": work.read.sha256, "template": TO_CHINESE.sha256}
    total = work.num_requests
    answers = ask(run, asker, work.asked.requests(), title="translations", total=total)
    translations = Translations(min_cjk)
    shown: list[dict[str, Any]] = []
    run.write_rows(INSTRUCTIONS, keeping_first(translations.rows(work.asked, answers), shown))
    run.write_rows(REJECTED, translations.rejected)
    write_failures(run, map(failure_row, translations.failed))
    record_used(run, answers.tally.used)
    run.add_dropped({**work.read.left_out, **_rejected(translations)})
    run.add_metrics(_metrics(work, translations))
    run.log_table("translate/instructions", shown, text=_TEXT)
    counts = translations.counts
    print_facts(
        f"{counts['translated']:,} of {len(work.read.prompts):,} instructions are Chinese now "
        f"({asker.model.name})",
        {
            **work.facts(),
            "rejected": in_words(_rejected(translations)),
            **{f"e.g. {why}": f"row {id}" for why, id in translations.examples.items()},
            **used_facts(answers.tally),
            "files": f"{INSTRUCTIONS}, {REJECTED}, {FAILURES}",
        },
    )
    if counts["translated"]:
        print_next("stage=collect lang=zh teacher=gpt4 data=instructions data.path={}", run.folder)


def plan(*, seed: int, source: AnySource, asker: Asker, min_cjk: float, limit: int | None) -> None:
    """Prints what would be asked and what it would cost; asks nothing.

    A translation is expected to have as many tokens as the original, at four characters each.
    """
    del seed
    work = _work(source, min_cjk, limit)
    texts = [text for prompt in work.asked.prompts for text in texts_of(prompt).values()]
    expected = sum(map(len, texts)) / len(texts) / _CHARACTERS_PER_TOKEN
    facts = asker.plan(work.asked.requests(), expected_tokens=expected).facts()
    print_facts("Plan: translate", {**work.facts(), **facts})


def check(*, source: AnySource, asker: Asker, min_cjk: float, limit: int | None) -> None:
    """Reads the data and asks for the first translation: a refusal leaves no run folder."""
    asker.check(next(_work(source, min_cjk, limit).asked.requests()))


def _work(source: AnySource, min_cjk: float, limit: int | None) -> _Work:
    if not 0 <= min_cjk <= 1:
        raise InputError(f"min_cjk={min_cjk} is no share of letters; type min_cjk=0.3")
    read = read_instructions(source, limit=limit)
    asked = to_translate(read.prompts)
    if not asked.prompts:
        why = in_words(_counted(reason for _, reason in asked.skipped))
        raise InputError(
            f"none of {len(read.prompts):,} instructions can be translated ({why}); give data with "
            "English ones"
        )
    return _Work(read, asked)


def _rejected(translations: Translations) -> dict[str, int]:
    """How many rows have each reason, in its order; none that no row has."""
    counts = translations.counts
    return {why: counts[why] for why in (*NOT_ASKED, *NOT_TAKEN) if counts[why]}


def _metrics(work: _Work, translations: Translations) -> dict[str, float | None]:
    counts = translations.counts
    return {
        "translate/instructions": len(work.read.prompts),
        "translate/translated": counts["translated"],
        "translate/rejected": counts["rejected"],
        "translate/kept": counts["translated"] / len(work.read.prompts),
        **{f"translate/rejected/{why}": counts[why] for why in (*NOT_ASKED, *NOT_TAKEN)},
    }


def _counted(reasons: Iterable[str]) -> dict[str, int]:
    found: Sequence[str] = list(reasons)
    return {why: found.count(why) for why in dict.fromkeys(found)}
