"""``stage=selfinstruct``: a model invents new instructions from a few, in rounds.

Self-Instruct and Alpaca, whose 52K instructions the paper's teachers answered (Peng et al. 2023,
section 2). Every reply is in the ledger before it counts, so the same line goes on where it was
stopped, and a second time it asks nothing and writes the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from understudy.chat.asking.asker import Answers, Asker
from understudy.chat.requests import ChatRequest
from understudy.data.instructions import INSTRUCTIONS
from understudy.records import InputError, RunError
from understudy.stages.printing import in_words, print_facts, print_next
from understudy.teacher.record import collection_of, dollars, record_tally, record_used, used_facts
from understudy.teacher.rows import FAILURES, failure_row, write_failures
from understudy.teacher.selfinstruct.instances import Instances, with_instances
from understudy.teacher.selfinstruct.journal import Journal
from understudy.teacher.selfinstruct.planning import invention_plan
from understudy.teacher.selfinstruct.pool import InventionPool
from understudy.teacher.selfinstruct.recipes import Recipe
from understudy.teacher.selfinstruct.report import counts_of, instruction_rows, rejected_rows
from understudy.teacher.selfinstruct.rounds import Course, Patience, Rounds
from understudy.teacher.selfinstruct.seeds import Seeds, SeedTasks

if TYPE_CHECKING:
    from understudy.tracking.run import Run

REJECTED = "rejected.jsonl"
ROUNDS = "rounds.jsonl"
_LAB = "lab"
_NUM_SHOWN = 50
_TEXT = ("instruction", "input", "output", "most_similar")


@dataclass(frozen=True)
class _Work:
    """What a run has to do: the asker with the recipe's parameters, and the seeds."""

    recipe: Recipe
    asker: Asker
    seeds: SeedTasks
    wanted: int

    def pool(self) -> InventionPool:
        """The pool as it is before the first round."""
        return InventionPool(
            [task.instruction for task in self.seeds.tasks],
            wanted=self.wanted,
            rules=self.recipe.filter,
            max_rouge_l=self.recipe.max_rouge_l,
        )

    def rounds(self, seed: int, patience: Patience) -> Rounds:
        """What asks."""
        return Rounds(self.recipe, self.seeds.tasks, self.asker, seed=seed, patience=patience)


def run(
    *,
    run: Run,
    asker: Asker,
    invention: Recipe,
    seeds: Seeds,
    num_instructions: int,
    patience: Patience,
    seed: int,
) -> None:
    """Asks in rounds until there are enough instructions, then for their instances.

    Raises:
        InputError: The seeds are wrong.
        RunError: Too few candidates were accepted, or asking ended early; what came is written.
    """
    work = _work(asker, invention, seeds, num_instructions)
    _record_setting(run, work)
    pool, course, made = work.pool(), Course(), None
    start = time.perf_counter()
    try:
        _invent(run, work, pool, course, work.rounds(seed, patience))
        if not course.ended_early and invention.instances is not None:
            made = _instances(run, work, pool, course)
    finally:
        record_tally(run, course.tally, seconds=time.perf_counter() - start)
        record_used(run, course.tally.used)
        _write(run, work, pool, course, made)
    if course.ended_early:
        raise RunError(_too_few(run, pool, course, num_instructions))
    run.log_data(asker.model.name, INSTRUCTIONS)
    print_next("stage=collect teacher=gpt4 data=instructions data.path={}", run.folder)


def check(
    *,
    asker: Asker,
    invention: Recipe,
    seeds: Seeds,
    num_instructions: int,
    patience: Patience,
    seed: int,
) -> None:
    """Refuses what could not be asked, before there is a run folder.

    Raises:
        InputError: The seeds are wrong.
        RunError: No key, a wrong one, no such model or server, or the ledger is in use.
    """
    work = _work(asker, invention, seeds, num_instructions)
    work.asker.check(work.rounds(seed, patience).requests((), 1)[0])


def plan(
    *,
    asker: Asker,
    invention: Recipe,
    seeds: Seeds,
    num_instructions: int,
    patience: Patience,
    seed: int,
) -> None:
    """Prints calls, tokens, dollars and hours; asks nobody and writes nothing."""
    del patience
    work = _work(asker, invention, seeds, num_instructions)
    planned = invention_plan(
        invention,
        work.seeds.tasks,
        work.asker,
        num_instructions=num_instructions,
        seed=seed,
    )
    print_facts(
        f"Plan: {asker.model.name} invents {num_instructions:,} instructions ({invention.name})",
        {
            "seeds": f"{len(work.seeds.tasks):,} of {work.seeds.file.path}",
            "left out": in_words(work.seeds.dropped),
            **planned.facts(),
        },
    )


def _work(asker: Asker, recipe: Recipe, seeds: Seeds, wanted: int) -> _Work:
    if wanted < 1:
        raise InputError(f"num_instructions={wanted} asks for nothing; type 1000")
    if seeds.are_the_labs and asker.model.endpoint != _LAB:
        raise InputError(
            f"{asker.model.name} would be shown the lab's own seed tasks, which are toys; type "
            "seeds=FILE, such as Self-Instruct's seed_tasks.jsonl (docs/selfinstruct.md)"
        )
    read = seeds.read(num_shown=recipe.num_in_context, with_instances=recipe.shows_instances)
    params = recipe.params(asker.model.tokenizer)
    return _Work(recipe, asker.with_params(**params), read, wanted)


def _invent(run: Run, work: _Work, pool: InventionPool, course: Course, rounds: Rounds) -> None:
    """All rounds, under a bar of what was accepted."""
    title = f"{work.asker.model.name} invents"
    with (
        run.timed("asking"),
        tqdm(total=work.wanted, desc=title, unit="", disable=None) as bar,
    ):

        def show() -> None:
            bar.set_postfix_str(
                f"{course.rounds:,} rounds, {pool.num_candidates:,} candidates, "
                f"{dollars(course.tally.spent_usd)}",
                refresh=False,
            )
            bar.update(len(pool.accepted) - bar.n)

        rounds.fill(pool, Journal(run.folder / ROUNDS), course, show)


def _instances(run: Run, work: _Work, pool: InventionPool, course: Course) -> Instances:
    """The further steps, each under a bar of its own."""

    def ask(asker: Asker, requests: Iterable[ChatRequest], title: str, total: int) -> Answers:
        with run.timed("asking"):
            return asker.ask(requests, title=title, total=total, tally=course.tally)

    assert work.recipe.instances is not None
    return with_instances(pool.accepted, work.recipe.instances, work.asker, ask)


def _record_setting(run: Run, work: _Work) -> None:
    recipe, model = work.recipe, work.asker.model
    forms = {form.name: form.sha256 for form in recipe.forms}
    run.manifest.teacher = model.name
    run.add_inputs(work.seeds.inputs)
    run.add_dropped(work.seeds.dropped)
    run.manifest.asking = {**work.asker.facts(), "recipe": recipe.name, "forms": forms}
    template = f"{recipe.name} {' '.join(sha[:8] for sha in forms.values())}"
    run.manifest.comparable |= {
        "prompts": work.seeds.file.sha256,
        "template": " ".join(forms.values()),
        "collection": collection_of(model, template),
    }


def _write(
    run: Run, work: _Work, pool: InventionPool, course: Course, made: Instances | None
) -> None:
    """Rows, what was left out, and the counts; also of a run that ends early."""
    rows = instruction_rows(pool, made, lang=work.recipe.lang, teacher=work.asker.model.name)
    run.write_rows(INSTRUCTIONS, rows)
    run.write_rows(REJECTED, rejected_rows(pool, made))
    failures = [*course.failures, *(() if made is None else made.failures)]
    write_failures(run, map(failure_row, failures))
    if (run.folder / ROUNDS).exists():
        run.add_output(run.folder / ROUNDS, rows=course.rounds)
    counts = counts_of(pool, course, made, num_rows=len(rows))
    run.add_dropped(counts.left_out)
    run.add_metrics(counts.metrics, counts.reasons)
    run.log_table("selfinstruct/instructions", _shown(rows[:_NUM_SHOWN]), text=_TEXT)
    print_facts(
        f"{len(pool.accepted):,} instructions of {work.asker.model.name} ({work.recipe.name})",
        {
            **counts.facts,
            **used_facts(course.tally),
            "files": f"{INSTRUCTIONS} ({len(rows):,} rows), {REJECTED}, {FAILURES}",
        },
    )


def _shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with equal keys and flat values, for a table."""
    return [
        {
            "instruction": row["instruction"],
            "input": row["input"],
            "output": row.get("output", ""),
            "round": row["round"],
            "similarity": row["most_similar"]["score"],
            "most_similar": row["most_similar"]["instruction"],
        }
        for row in rows
    ]


def _too_few(run: Run, pool: InventionPool, course: Course, wanted: int) -> str:
    """Why it ended, what there is, and what to type."""
    got = len(pool.accepted)
    way_on = f"num_instructions={got} ends with these" if got else "give other seeds"
    return (
        f"{got:,} of {wanted:,} instructions: {course.ended_early} "
        f"(left out: {in_words(pool.reasons)}); they are in {run.folder / INSTRUCTIONS}, and no "
        f"reply is paid for again: {way_on}; or try other seeds, min_acceptance=0.01 or another "
        "teacher"
    )
