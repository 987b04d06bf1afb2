"""What was invented so far: tasks that were accepted, in their order, and the others with a reason.

Order decides: a task is compared with everything that was accepted before it, in the same reply,
too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from understudy.records import instruction_id
from understudy.teacher.selfinstruct.filters import (
    Instance,
    InstructionFilter,
    instance_fault,
)
from understudy.teacher.selfinstruct.novelty import NoveltyPool, Similar
from understudy.teacher.selfinstruct.parsing import Candidate

REASONS = (
    "malformed", "cut_by_length", "beyond_stop", "too_short", "too_long", "blacklisted",
    "write_a_program", "starts_with_punctuation", "starts_non_ascii", "no_tokens", "empty_output",
    "input_is_output", "ends_with_colon", "too_similar", "not_needed",
)  # fmt: skip
"""Why a task may be left out, in the order in which reasons are looked for."""


@dataclass(frozen=True, slots=True)
class Invented:
    """A task that was accepted.

    Attributes:
        instruction: What it asks for.
        instance: Its input and output, where it came with one.
        round: The round that it came in, from 1.
        similar: What it resembled most when it came.
    """

    instruction: str
    instance: Instance | None
    round: int
    similar: Similar

    @property
    def id(self) -> str:
        """The id of the row, which is that of its content."""
        given = "" if self.instance is None else self.instance.input
        return instruction_id(self.instruction, given)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A task or an instance that was left out, for one reason."""

    reason: str
    instruction: str
    instance: Instance | None = None
    round: int | None = None
    similar: Similar | None = None

    def to_json(self) -> dict[str, Any]:
        """The row of the file of them; what is not known is not in it."""
        row: dict[str, Any] = {"reason": self.reason, "instruction": self.instruction}
        if self.instance is not None:
            row |= {"input": self.instance.input, "output": self.instance.output}
        if self.round is not None:
            row["round"] = self.round
        if self.similar is not None:
            row["most_similar"] = similar_to_json(self.similar)
        return row


def similar_to_json(similar: Similar) -> dict[str, Any]:
    """Score and text of what was most similar."""
    return {"score": round(similar.score, 6), "instruction": similar.text}


class InventionPool:
    """Takes candidates one by one, until there are enough.

    Attributes:
        accepted: The tasks that stay.
        rejected: All others, in their order.
        reasons: How many those are, by reason.
    """

    def __init__(
        self,
        seeds: Sequence[str],
        *,
        wanted: int,
        rules: InstructionFilter,
        max_rouge_l: float,
    ) -> None:
        """``seeds`` are in the pool from the beginning; ``wanted`` is how many are accepted."""
        self.accepted: list[Invented] = []
        self.rejected: list[Rejected] = []
        self.reasons: Counter[str] = Counter()
        self._wanted, self._rules = wanted, rules
        self._novelty = NoveltyPool(max_rouge_l=max_rouge_l, lang=rules.lang)
        for each in seeds:
            self._novelty.add(each)

    @property
    def is_full(self) -> bool:
        """Whether there are enough."""
        return len(self.accepted) >= self._wanted

    @property
    def num_candidates(self) -> int:
        """How many were judged: those that came when there were enough are not among them."""
        return len(self.accepted) + len(self.rejected) - self.reasons["not_needed"]

    def offer(self, candidate: Candidate, *, round: int) -> None:
        """Accepts a candidate, or leaves it out for the first reason that there is."""
        similar = None
        reason = "not_needed" if self.is_full else self._fault(candidate)
        if not reason:
            similar = self._novelty.most_similar(candidate.instruction)
            reason = "too_similar" if similar.is_above else ""
        if similar is None or reason:
            self.reasons[reason] += 1
            self.rejected.append(
                Rejected(reason, candidate.instruction, candidate.instance, round, similar)
            )
            return
        self._novelty.add(candidate.instruction)
        self.accepted.append(Invented(candidate.instruction, candidate.instance, round, similar))

    def _fault(self, candidate: Candidate) -> str:
        if fault := candidate.fault or self._rules.fault(candidate.instruction):
            return fault
        if not self._novelty.has_tokens(candidate.instruction):
            return "no_tokens"
        return "" if candidate.instance is None else instance_fault(candidate.instance)
