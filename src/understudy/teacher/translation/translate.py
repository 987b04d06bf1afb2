"""Translates instructions and inputs into Chinese, and keeps those that pass the checks.

Peng et al. 2023, section 2: ChatGPT translates the instructions, then GPT-4 answers the Chinese
ones. One call for each text: the instruction, and the input where there is one. A text that several
rows share is asked once. A row of which one text fails stays English, with its reasons.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.chat.requests import ChatRequest
from understudy.data.language import detect_language
from understudy.forms.translation import TO_CHINESE
from understudy.prompts import has_input
from understudy.records import Instruction, instruction_id
from understudy.teacher.rows import Outcome, outcomes
from understudy.teacher.translation.checks import REASONS, problems_of

if TYPE_CHECKING:
    from understudy.chat.asking.asker import Answers

CHINESE = "zh"
ALREADY_CHINESE, CONVERSATION = "already_chinese", "conversation"
"""Why a row is not asked: it is Chinese, or it has earlier turns, for which there is no form."""

FAILED, SAME_AS_ANOTHER = "failed", "same_as_another"
"""Why a row is not taken: a request of it failed, or an earlier row has the same translation."""

NOT_ASKED = (ALREADY_CHINESE, CONVERSATION)
NOT_TAKEN = (FAILED, *REASONS, SAME_AS_ANOTHER)


@dataclass(frozen=True)
class ToTranslate:
    """Instructions that are translated, and those that are not, with the reason.

    Attributes:
        prompts: In their order.
        skipped: In their order.
    """

    prompts: Sequence[Instruction]
    skipped: Sequence[tuple[Instruction, str]] = ()

    def requests(self) -> Iterator[ChatRequest]:
        """Those of all texts, a text that was there before left out."""
        seen: set[str] = set()
        for prompt in self.prompts:
            for text in texts_of(prompt).values():
                if text not in seen:
                    seen.add(text)
                    yield translation_request(prompt, text)


def to_translate(prompts: Sequence[Instruction]) -> ToTranslate:
    """Tells what can be translated from what cannot or need not be."""
    kept: list[Instruction] = []
    skipped: list[tuple[Instruction, str]] = []
    for prompt in prompts:
        reason = _why_skipped(prompt)
        if reason is None:
            kept.append(prompt)
        else:
            skipped.append((prompt, reason))
    return ToTranslate(tuple(kept), tuple(skipped))


def texts_of(prompt: Instruction) -> dict[str, str]:
    """The texts of a row by their field, as they are sent."""
    texts = {"instruction": prompt.instruction}
    return {**texts, "input": prompt.input} if has_input(prompt.input) else texts


def translation_request(prompt: Instruction, text: str) -> ChatRequest:
    """What is asked of the translator for one text of a row."""
    return ChatRequest.of_user(TO_CHINESE.render(text=text), id=prompt.id)


@dataclass
class Translations:
    """Checks and sorts the rows as they are written.

    Attributes:
        min_cjk: The least share of Chinese letters in a translated instruction.
        counts: How many rows are translated, and how many have each reason; one may have several.
        rejected: The rows that stay English, as ``rejected.jsonl`` has them.
        failed: The requests without a reply.
        examples: The first row that each reason was found in.
    """

    min_cjk: float
    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    failed: list[Outcome[str]] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def rows(self, asked: ToTranslate, answers: Answers) -> Iterator[dict[str, Any]]:
        """The rows of ``instructions.jsonl``: those whose texts all pass."""
        for prompt in asked.prompts:
            found = self._translated(prompt, answers)
            if found is not None:
                self.counts["translated"] += 1
                yield found
        for prompt, reason in asked.skipped:
            self._reject(prompt, {}, {"instruction": [reason]})

    def _translated(self, prompt: Instruction, answers: Answers) -> dict[str, Any] | None:
        originals = texts_of(prompt)
        asked = ((name, translation_request(prompt, text)) for name, text in originals.items())
        replies = {each.row: each for each in outcomes(asked, answers)}
        texts = {name: _text(each) for name, each in replies.items()}
        problems = {
            name: self._problems(each, originals[name], texts[name])
            for name, each in replies.items()
        }
        self.failed += [each for each in replies.values() if each.reply is None]
        row = _row(prompt, texts)
        if not any(problems.values()) and row["id"] in self._seen:
            problems["instruction"] = [SAME_AS_ANOTHER]
        if any(problems.values()):
            self._reject(prompt, texts, problems)
            return None
        self._seen.add(row["id"])
        models = dict.fromkeys(each.reply.model for each in replies.values() if each.reply)
        return {**row, "translator": " ".join(models)}

    def _problems(self, outcome: Outcome[str], original: str, translation: str) -> list[str]:
        if outcome.reply is None:
            return [FAILED]
        return problems_of(
            original,
            translation,
            finish=outcome.reply.finish_reason,
            min_cjk=self.min_cjk if outcome.row == "instruction" else None,
        )

    def _reject(
        self,
        prompt: Instruction,
        texts: Mapping[str, str],
        problems: Mapping[str, Sequence[str]],
    ) -> None:
        reasons = dict.fromkeys(reason for found in problems.values() for reason in found)
        self.counts["rejected"] += 1
        self.counts.update(reasons.keys())
        for reason in reasons:
            self.examples.setdefault(reason, prompt.id)
        self.rejected.append(
            {
                "id": prompt.id,
                "instruction": prompt.instruction,
                "input": prompt.input,
                "lang": prompt.lang,
                "reasons": {name: list(found) for name, found in problems.items() if found},
                "translation": {name: text for name, text in texts.items() if text},
            }
        )


def _why_skipped(prompt: Instruction) -> str | None:
    if prompt.history:
        return CONVERSATION
    if prompt.lang == CHINESE or detect_language(prompt.instruction) == CHINESE:
        return ALREADY_CHINESE
    return None


def _text(outcome: Outcome[str]) -> str:
    """The translation: NFC, without the white space around it."""
    if outcome.reply is None:
        return ""
    return unicodedata.normalize("NFC", outcome.reply.text.strip())


def _row(prompt: Instruction, texts: Mapping[str, str]) -> dict[str, Any]:
    """The Chinese row; its id is that of its content, so that every teacher's answers have it."""
    instruction, given = texts["instruction"], texts.get("input", "")
    return {
        "id": instruction_id(instruction, given),
        "instruction": instruction,
        "input": given,
        "lang": CHINESE,
        "task": prompt.task,
        "source_id": prompt.id,
    }
