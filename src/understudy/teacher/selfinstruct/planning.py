"""What inventing would take: the requests of all steps, as far as they can be known beforehand.

Self-Instruct's later prompts show tasks that are not there yet; seeds stand in for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from understudy.chat.asking.asker import Asker
from understudy.chat.asking.plan import AskPlan
from understudy.chat.requests import ChatRequest
from understudy.teacher.selfinstruct.instances import (
    classification_requests,
    instance_params,
    instance_requests,
)
from understudy.teacher.selfinstruct.recipes import Recipe
from understudy.teacher.selfinstruct.rounds import Patience, Rounds
from understudy.teacher.selfinstruct.seeds import SeedTask

BLOCK_TOKENS, LINE_TOKENS = 110, 25
"""What a task in blocks and an instruction alone are taken to have, in tokens."""

_CLASS_TOKENS, _EXAMPLES_TOKENS = 2, 150


@dataclass(frozen=True)
class InventionPlan:
    """The plan of each step, in their order.

    Attributes:
        steps: By the step's name.
        num_rounds: How many rounds the first step has.
        assumed: What it rests on, for the user.
    """

    steps: dict[str, AskPlan]
    num_rounds: int
    assumed: str

    @property
    def whole(self) -> AskPlan:
        """All steps together."""
        plans = list(self.steps.values())
        first = plans[0]
        most = _sum([each.most_tokens for each in plans])
        return replace(
            first,
            calls=sum(each.calls for each in plans),
            cached=sum(each.cached for each in plans),
            duplicates=sum(each.duplicates for each in plans),
            prompt_tokens=sum(each.prompt_tokens for each in plans),
            most_tokens=None if most is None else int(most),
            expected_tokens=_sum([each.expected_tokens for each in plans]),
            usd_most=_sum([each.usd_most for each in plans]),
            usd_expected=_sum([each.usd_expected for each in plans]),
            hours=_sum([each.hours for each in plans]),
        )

    def facts(self) -> dict[str, str]:
        """Names and values for the user."""
        steps = {name: plan.in_words for name, plan in self.steps.items()}
        return {
            "rounds": f"{self.num_rounds:,}, one after the other",
            **(steps if len(steps) > 1 else {}),
            **self.whole.facts(),
            "assumed": self.assumed,
        }


def invention_plan(
    recipe: Recipe,
    seeds: Sequence[SeedTask],
    asker: Asker,
    *,
    num_instructions: int,
    seed: int,
) -> InventionPlan:
    """What it would take to invent so many instructions."""
    accepted = recipe.expected_acceptance
    per_round = recipe.request_batch * recipe.num_expected * accepted
    num_rounds = math.ceil(num_instructions / per_round)
    tokens = recipe.num_expected * (BLOCK_TOKENS if recipe.shows_instances else LINE_TOKENS)
    requests = _round_requests(recipe, seeds, asker, num_rounds, seed)
    steps = {"new tasks": asker.plan(requests, expected_tokens=tokens)}
    further = recipe.instances
    if further is not None:
        stand_ins = [seeds[n % len(seeds)].instruction for n in range(num_instructions)]
        classes = asker.with_params(**further.classification)
        examples = asker.with_params(**instance_params(further, labels_first=False))
        steps["classification or not"] = classes.plan(
            _apart(classification_requests(stand_ins)), expected_tokens=_CLASS_TOKENS
        )
        steps["examples"] = examples.plan(
            _apart(instance_requests(stand_ins, further.most, labels_first=False)),
            expected_tokens=_EXAMPLES_TOKENS,
        )
    assumed = (
        f"{recipe.num_expected} tasks a reply, {accepted:.0%} of them accepted "
        f"(invention.expected_acceptance), about {tokens:,} tokens a reply"
    )
    return InventionPlan(steps, num_rounds, assumed)


def _round_requests(
    recipe: Recipe, seeds: Sequence[SeedTask], asker: Asker, num_rounds: int, seed: int
) -> Iterator[ChatRequest]:
    rounds = Rounds(recipe, seeds, asker, seed=seed, patience=Patience())
    for number in range(1, num_rounds + 1):
        yield from rounds.requests((), number)


def _apart(requests: Iterator[ChatRequest]) -> Iterator[ChatRequest]:
    """Stand-ins of the same text are requests of their own, and none is in a ledger."""
    return (replace(each, sample=-number) for number, each in enumerate(requests, start=1))


def _sum(values: Sequence[float | int | None]) -> float | int | None:
    """The sum; null where one of them is not known."""
    known = [each for each in values if each is not None]
    return sum(known) if len(known) == len(values) else None
