"""What inventing leaves: the rows of its files, and its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from understudy.records import instruction_id
from understudy.teacher.rows import in_order_of
from understudy.teacher.selfinstruct import instances as steps
from understudy.teacher.selfinstruct.filters import Instance
from understudy.teacher.selfinstruct.instances import Instances, Task
from understudy.teacher.selfinstruct.pool import (
    REASONS,
    Invented,
    InventionPool,
    similar_to_json,
)
from understudy.teacher.selfinstruct.rounds import Course


@dataclass(frozen=True)
class Counts:
    """The counts of a run.

    Attributes:
        left_out: Tasks and instances that were dropped, by reason; those not needed are not in it.
        metrics: For manifest and W&B.
        reasons: Why a metric is null.
        facts: For the user.
    """

    left_out: dict[str, int]
    metrics: dict[str, float | None]
    reasons: dict[str, str]
    facts: dict[str, str]


def instruction_rows(
    pool: InventionPool, made: Instances | None, *, lang: str, teacher: str
) -> list[dict[str, Any]]:
    """A row for each instance, in the order in which the tasks were accepted.

    Without instances a row is an instruction alone. Ids are those of the content; a second row of
    the same instruction and input, which has another output, says so in its id.
    """
    tasks = [_task(each) for each in pool.accepted] if made is None else made.tasks
    rows = []
    seen: Counter[str] = Counter()
    for task in tasks:
        for instance in task.instances or (None,):
            row = _row(task, instance, lang, teacher)
            seen[row["id"]] += 1
            if seen[row["id"]] > 1:
                row["id"] += f"-{seen[row['id']]}"
            rows.append(row)
    return rows


def rejected_rows(pool: InventionPool, made: Instances | None) -> Iterator[dict[str, Any]]:
    """A row for each task and instance that was left out, with the reason."""
    for each in pool.rejected:
        yield each.to_json()
    for each in () if made is None else made.rejected:
        yield each.to_json()


def counts_of(
    pool: InventionPool, course: Course, made: Instances | None, *, num_rows: int
) -> Counts:
    """All counts, zeros too."""
    tasks = in_order_of(pool.reasons, REASONS)
    of_instances = {} if made is None else _instance_counts(made)
    of_tasks = {} if made is None else _kind_counts(made)
    accepted, candidates = len(pool.accepted), pool.num_candidates
    named = {
        **{f"rejected/{name}": count for name, count in tasks.items()},
        **{f"instances/{name}": count for name, count in (of_instances | of_tasks).items()},
        "rounds": course.rounds,
        "requests": course.requests,
        "failed_requests": course.failed,
        "empty_replies": course.empty,
        "candidates": candidates,
        "accepted": accepted,
        "acceptance": accepted / candidates if candidates else None,
        "rows": num_rows,
    }
    left_out = {name: count for name, count in tasks.items() if name != "not_needed" and count}
    left_out |= {f"instance/{name}": count for name, count in of_instances.items() if count}
    reason = {"selfinstruct/acceptance": "no reply held a candidate"}
    return Counts(
        left_out=left_out,
        metrics={f"selfinstruct/{name}": value for name, value in named.items()},
        reasons={} if candidates else reason,
        facts=_facts(pool, course, of_instances, of_tasks),
    )


def _instance_counts(made: Instances) -> dict[str, int]:
    counts = Counter(each.reason for each in made.rejected)
    return in_order_of(counts, (*steps.REASONS, *steps.TASK_REASONS))


def _kind_counts(made: Instances) -> dict[str, int]:
    """Of tasks that stay; ``unreadable_class`` of replies that say neither yes nor no."""
    return {
        "tasks": len(made.tasks),
        "classifications": sum(bool(task.is_classification) for task in made.tasks),
        "unreadable_class": made.unreadable,
    }


def _facts(
    pool: InventionPool, course: Course, of_instances: dict[str, int], of_tasks: dict[str, int]
) -> dict[str, str]:
    said = {
        "accepted": f"{len(pool.accepted):,} of {pool.num_candidates:,} candidates in "
        f"{course.rounds:,} rounds",
        "left out": _listed({name: pool.reasons[name] for name in REASONS}),
    }
    if of_tasks:
        said["with examples"] = _listed(of_tasks)
        said["examples left out"] = _listed(of_instances)
    if course.failures:
        said["without a text"] = f"{len(course.failures):,} of {course.requests:,} requests"
    return said


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"


def _task(invented: Invented) -> Task:
    own = () if invented.instance is None else (invented.instance,)
    return Task(invented, None, own)


def _row(task: Task, instance: Instance | None, lang: str, teacher: str) -> dict[str, Any]:
    invented = task.invented
    given = "" if instance is None else instance.input
    kinds = {True: "classification", False: "generation", None: ""}
    return {
        "id": instruction_id(invented.instruction, given),
        "instruction": invented.instruction,
        "input": given,
        **({} if instance is None else {"output": instance.output}),
        "lang": lang,
        "task": kinds[task.is_classification],
        "is_classification": task.is_classification,
        "teacher": teacher,
        "round": invented.round,
        "most_similar": similar_to_json(invented.similar),
    }
