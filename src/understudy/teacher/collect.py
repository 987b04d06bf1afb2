"""Algorithm 1 of the paper: each instruction rendered, asked once, the answer kept as it came.

Peng et al. 2023, section 2: Alpaca's template, temperature 1, top_p 1, 512 tokens, one answer. Rows
stand in the order of the instructions whatever the order of the replies. Nothing is mended and
nothing is dropped but what has no text: flags say what may be wrong, and counts how often.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.requests import ChatRequest
from understudy.prompts import ChatTemplate, Template
from understudy.records import Instruction, Turn
from understudy.teacher.flags import FLAGS, flags_of
from understudy.teacher.rows import EMPTY, NOT_ASKED, Outcome, failure_row

COUNTS = ("rows", *FLAGS, EMPTY, "failed", "identical_output", "duplicate_instruction")
"""What is counted of every collection, zeros too."""


def request_of(prompt: Instruction, template: Template) -> ChatRequest:
    """One message of the user: the prompt in the template. A conversation goes with its history."""
    asked = Turn("user", template.render(prompt.instruction, prompt.input))
    return ChatRequest((*prompt.history, asked), id=prompt.id)


def requests_of(
    prompts: Iterable[Instruction], template: Template
) -> Iterator[tuple[Instruction, ChatRequest]]:
    """Each instruction with what is asked for it."""
    for prompt in prompts:
        yield prompt, request_of(prompt, template)


def template_sha256(template: Template) -> str:
    """Hash of what is asked around an instruction.

    A chat template's own text belongs to the server, so what counts is how instruction and input
    are joined.
    """
    if not isinstance(template, ChatTemplate):
        return template.sha256
    forms = (template.render("{instruction}"), template.render("{instruction}", "{input}"))
    return hashlib.sha256("\x1f".join(forms).encode()).hexdigest()


def template_in_words(template: Template) -> str:
    """The template's name with the beginning of its hash."""
    return f"{template.name} {template_sha256(template)[:12]}"


@dataclass
class Collecting:
    """Turns outcomes into rows, in one pass; counts on the way.

    Attributes:
        teacher: The name that rows get.
        counts: By the names of :data:`COUNTS`, and ``failed_KIND`` of each kind of failure.
        failed: The rows of ``failures.jsonl``.
    """

    teacher: str
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[dict[str, Any]] = field(default_factory=list)
    _outputs: set[bytes] = field(default_factory=set)

    def rows(self, outcomes: Iterable[Outcome[Instruction]]) -> Iterator[dict[str, Any]]:
        """The rows of ``answers.jsonl``: every instruction that was answered with some text."""
        for outcome in outcomes:
            if outcome.is_answered:
                yield self._row(outcome)
            else:
                self._count_missing(outcome)

    def _row(self, outcome: Outcome[Instruction]) -> dict[str, Any]:
        prompt, reply = outcome.row, outcome.reply
        assert reply is not None
        flags = flags_of(reply, prompt.lang)
        self.counts["rows"] += 1
        self.counts.update(name for name, is_set in flags.items() if is_set)
        digest = hashlib.blake2b(reply.text.strip().encode(), digest_size=16).digest()
        self.counts["identical_output"] += digest in self._outputs
        self._outputs.add(digest)
        row = {
            "id": prompt.id,
            "instruction": prompt.instruction,
            "input": prompt.input,
            "output": reply.text,
            "lang": prompt.lang,
            "task": prompt.task,
            "teacher": self.teacher,
            "finish": reply.finish_reason,
            **flags,
        }
        if prompt.history:
            row["history"] = [
                {"role": turn.role, "content": turn.content} for turn in prompt.history
            ]
        return row

    def _count_missing(self, outcome: Outcome[Instruction]) -> None:
        kind = outcome.missing
        if kind == EMPTY:
            self.counts[EMPTY] += 1
        else:
            self.counts["failed"] += 1
            self.counts[f"failed_{kind or NOT_ASKED}"] += 1
        self.failed.append(failure_row(outcome))
