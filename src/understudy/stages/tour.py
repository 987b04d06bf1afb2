"""``stage=tour``: an ordered list of command lines, each a run of its own below this one's folder.

What several stages make together, such as a policy, its samples, a reward model and a ranking, is
one line to type, one folder, and one manifest with the metrics that count. A step is the line that
a user would type; it refers to the folder of an earlier step by that step's name in braces. It may
be a sweep, whose folder it then is, or a service that others need beside them, such as a server.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.stages.printing import print_facts
from understudy.stages.tour_processes import Taking, shown
from understudy.stages.tour_results import left_by
from understudy.stages.tour_steps import planned_steps

if TYPE_CHECKING:
    from understudy.tracking.run import Run


def run(
    *,
    run: Run,
    steps: Mapping[str, Mapping[str, Any]],
    common: str = "",
    side_by_side: int = 1,
) -> None:
    """Takes all steps, those that are finished already excepted, and repeats their metrics.

    Args:
        run: The run to record in; each step has a folder in its folder.
        steps: By name, in order: ``line``; ``more``, words that the line ends with; ``after``, a
            list of steps (null: all before it, services excepted); ``metrics``; ``service``.
        common: Words that every line begins with, unless it gives the same keys itself.
        side_by_side: How many steps may run at a time, where they do not wait for each other. They
            share out the cores; OMP_NUM_THREADS says otherwise. Services do not count.

    Raises:
        InputError: A step refers to none before it, or has no line.
        RunError: A step failed, or a service that was needed; says why and where its output is.
    """
    planned = planned_steps(steps, common, side_by_side)
    Taking(run.folder, side_by_side, run.manifest.timings).take(planned)
    rows, reports = [], {}
    for step in planned:
        left = left_by(run.folder / step.name)
        run.manifest.parents.extend(left.run_ids)
        chosen = left.chosen(step, run.manifest.metrics)
        run.add_metrics(chosen, {name: why for name, why in left.reasons.items() if name in chosen})
        rows.append(left.row(step, run.folder))
        if left.report is not None:
            reports[f"report of {step.name}"] = str(left.report)
    run.write_rows("steps.jsonl", rows)
    metrics = run.manifest.metrics.items()
    numbers = {name: _in_words(value) for name, value in metrics if value is not None}
    facts = {**shown(run.manifest.timings), **numbers, **reports}
    print_facts(f"Tour of {len(planned)} steps", facts)


def plan(
    *,
    seed: int,
    steps: Mapping[str, Mapping[str, Any]],
    common: str = "",
    side_by_side: int = 1,
) -> None:
    """Prints the lines, in the order in which they can start."""
    planned = planned_steps(steps, common, side_by_side)
    folder = Path("TOUR")
    lines = {step.name: "python run.py " + shlex.join(step.words(folder)) for step in planned}
    print_facts(f"Plan: tour of {len(planned)} steps, seed {seed}", lines)


def _in_words(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
