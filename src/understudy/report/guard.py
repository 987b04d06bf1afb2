"""A fair comparison or none: what must be equal between two arms, and what was asked about.

Arms are compared seed by seed where they share seeds, because a model from
scratch has another fingerprint for each. What an arm's name says it varies is what is asked about:
arms that differ in ``model=`` ask about the base model (and its tokenizer), and nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from understudy.records import InputError
from understudy.report.axes import (
    EXAMPLES,
    GRID_AXES,
    asked_about,
    axes_between,
    fields_of,
)
from understudy.report.names import shared_overrides
from understudy.report.read.manifests import LONGEST_ROW
from understudy.report.read.runs import RunRecord

RECIPE, ENCODING = "recipe", "encoding"
COMPARISONS, OBJECTIVE = "comparisons", "objective"
COLLECTION = "collection"
OF_LATER_RUNS = (RECIPE, ENCODING, COMPARISONS, OBJECTIVE, COLLECTION)
"""What runs of an earlier version or of other stages do not record: no reason against them."""

FIELDS: Mapping[str, str] = {
    "prompts": "prompts",
    "template": "template",
    "base_model": "base model",
    "tokenizer": "tokenizer",
    "judge": "judge",
    "questions": "evaluation set",
    "decoding": "decoding",
    RECIPE: "recipe",
    ENCODING: "encoding",
    COMPARISONS: "test comparisons",
    OBJECTIVE: "objective",
    COLLECTION: "how answers were collected",
}
"""What a run's ``comparable`` records, and how a reader calls it."""

BUDGETS: Mapping[str, str] = {
    "examples": "examples",
    "supervised_tokens": "supervised tokens",
    "steps": "optimizer steps",
}
"""The three amounts of a budget, and how a reader calls them."""

ASKABLE = (*FIELDS, "budget")
_HINTS = {COMPARISONS: " (judge both by stage=reward_eval on one file, or say ask=[comparisons])"}
_TOKENS_TOLERANCE = 0.02
_WITHIN_AN_ARM = ("template", "judge", "questions", "decoding")
_NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two arms may be compared.

    ``reasons`` are differences that nobody asked about, ``axes`` what the arms do ask about. Of
    these, ``allowed`` may differ beside another because the user said so.
    """

    reasons: tuple[str, ...]
    axes: frozenset[str]
    allowed: frozenset[str]
    at_once: tuple[str, ...]

    @property
    def is_confounded(self) -> bool:
        """True when more than one thing differs, so that a difference says nothing of either."""
        return len(self.axes - self.allowed) > 1

    @property
    def is_of_a_grid(self) -> bool:
        """True when the arms differ in several things that are commonly varied together."""
        return not self.reasons and len(self.axes) > 1 and self.axes <= GRID_AXES


def check_ask(ask: Sequence[str]) -> None:
    """Refuses a question about something that the guard does not compare.

    Raises:
        InputError: ``ask`` holds a name that is not in :data:`ASKABLE`.
    """
    unknown = sorted(set(ask) - set(ASKABLE))
    if unknown:
        raise InputError(f"ask={unknown[0]}: choose among {', '.join(ASKABLE)}")


def unfair(
    first: Sequence[RunRecord], second: Sequence[RunRecord], ask: Sequence[str] = ()
) -> list[str]:
    """Why two arms must not be compared, one reason for each difference; empty when it is fair."""
    verdict = judge(first, second, ask)
    return [*verdict.reasons, *(verdict.at_once if verdict.is_confounded else ())]


def judge(
    first: Sequence[RunRecord], second: Sequence[RunRecord], ask: Sequence[str] = ()
) -> Verdict:
    """What two arms differ in: what nobody asked about, and what they ask.

    ``ask`` names differences that are the question, beyond those that the arms' overrides ask, and
    those of runs that took their arm over from a parent.
    """
    own, other = (shared_overrides([run.own_overrides for run in runs]) for runs in (first, second))
    asked = {*ask, *asked_about(first[0].arm, second[0].arm), *asked_about(own, other)}
    reasons = [*_mixed(first), *_mixed(second)]
    for field in (*FIELDS, "budget"):
        if field not in asked:
            reasons += differing(field, first, second)
    if EXAMPLES in asked:
        reasons = [text for text in reasons if text not in differing(EXAMPLES, first, second)]

    def differs(field: str) -> bool:
        return bool(differing(field, first, second))

    axes = axes_between(first[0].arm, second[0].arm, differs)
    axes |= axes_between(own, other, differs)
    allowed = {axis for axis in axes if fields_of(axis) and _differing_in(axis, differs) <= {*ask}}
    told = [
        reason
        for axis in sorted(axes - GRID_AXES)
        for field in sorted(_differing_in(axis, differs))
        for reason in differing(field, first, second)
    ]
    told.append(
        f"{' and '.join(sorted(axes - allowed))} differ at once, so neither can be told; "
        "compare arms that differ in one"
    )
    reasons = list(dict.fromkeys(reasons))
    return Verdict(tuple(reasons), axes, frozenset(allowed), tuple(told))


def _differing_in(axis: str, differs: Callable[[str], bool]) -> set[str]:
    return {field for field in fields_of(axis) - {EXAMPLES} if differs(field)}


def agree(
    first: Mapping[int, Any],
    second: Mapping[int, Any],
    same: Callable[[Any, Any], bool] = operator.eq,
) -> bool:
    """True when values are the same on the common seeds, or as sets where none is common."""
    common = first.keys() & second.keys()
    if common:
        return all(same(first[seed], second[seed]) for seed in common)
    return all(any(same(value, other) for other in second.values()) for value in first.values())


def by_seed(runs: Sequence[RunRecord], field: str) -> dict[int, str]:
    """A field of ``comparable`` for each seed, as text; null is "none"."""
    return {run.seed: _text(run.comparable, field) for run in runs}


def _text(comparable: Mapping[str, str | None], field: str) -> str:
    if field not in comparable:
        return "none" if field == "judge" else _NOT_RECORDED
    value = comparable[field]
    return "none" if value is None else str(value)


def _mixed(runs: Sequence[RunRecord]) -> list[str]:
    """Fields in which the runs of one arm differ among themselves."""
    reasons = []
    for field in _WITHIN_AN_ARM:
        values = sorted(set(by_seed(runs, field).values()))
        if len(values) > 1:
            shown = " and ".join(map(_short, values))
            reasons.append(f"{FIELDS[field]}: runs of one arm ({runs[0].arm}) differ: {shown}")
    return reasons


def differing(field: str, first: Sequence[RunRecord], second: Sequence[RunRecord]) -> list[str]:
    """Why a field or the budget of two arms is not the same; empty when it is."""
    if field == "budget":
        return _differing_budget(first, second)
    if field == EXAMPLES:
        kinds = {run.budget.get("kind") for run in (*first, *second)}
        return _differing_budget(first, second) if kinds == {EXAMPLES} else []
    one, other = by_seed(first, field), by_seed(second, field)
    if field in OF_LATER_RUNS and not _are_known(one, other):
        return []
    if _NOT_RECORDED in (*one.values(), *other.values()):
        return [f"{FIELDS[field]}: not recorded, so it cannot be shown to be the same"]
    if agree(one, other):
        return []
    hint = _HINTS.get(field, "")
    return [f"{FIELDS[field]}: {_values(one, other)} against {_values(other, one)}{hint}"]


def _are_known(one: Mapping[int, str], other: Mapping[int, str]) -> bool:
    return not {_NOT_RECORDED, "none"} & {*one.values(), *other.values()}


def _values(of: Mapping[int, str], against: Mapping[int, str]) -> str:
    """The values that differ, each once."""
    seeds = [seed for seed in sorted(of) if of[seed] != against.get(seed, "")]
    return ", ".join(dict.fromkeys(_short(of[seed]) for seed in seeds))


def _short(value: str) -> str:
    is_hash = len(value) >= 32 and all(char in "0123456789abcdef" for char in value.lower())
    return value[:12] if is_hash else value


def _differing_budget(first: Sequence[RunRecord], second: Sequence[RunRecord]) -> list[str]:
    if not any(run.budget.get("kind") for run in (*first, *second)):
        return []  # nothing was learned, on both sides
    kinds = {str(run.budget.get("kind") or _NOT_RECORDED) for run in (*first, *second)}
    if len(kinds) > 1:
        one, other = (_kind(runs) for runs in (first, second))
        return [f"budget: held equal in {one} against {other}"]
    kind = kinds.pop()
    if kind not in BUDGETS:
        return [f"budget: {kind!r} is none that is known, so it cannot be shown to be the same"]
    one_amount, other_amount = (
        {run.seed: run.budget.get(kind) for run in runs} for runs in (first, second)
    )
    same = _equal
    if kind == "supervised_tokens":
        longest = max(run.budget.get(LONGEST_ROW) or 0 for run in (*first, *second))
        same = partial(_equal_tokens, longest_row_tokens=longest)
    if agree(one_amount, other_amount, same):
        return []
    return [f"budget: {_amounts(one_amount)} against {_amounts(other_amount)} {BUDGETS[kind]}"]


def _kind(runs: Sequence[RunRecord]) -> str:
    return ", ".join(sorted({str(run.budget.get("kind") or _NOT_RECORDED) for run in runs}))


def _equal(one: float | None, other: float | None) -> bool:
    return one is not None and one == other


def _equal_tokens(one: float | None, other: float | None, *, longest_row_tokens: float) -> bool:
    """True within 2 % or one longest row: whole examples cannot hit a token budget exactly."""
    if one is None or other is None:
        return False
    share = _TOKENS_TOLERANCE * max(abs(one), abs(other))
    return abs(one - other) <= max(share, longest_row_tokens)


def _amounts(amounts: Mapping[int, float | None]) -> str:
    shown = sorted({amount for amount in amounts.values() if amount is not None})
    return ", ".join(f"{amount:,.0f}" for amount in shown) or _NOT_RECORDED
