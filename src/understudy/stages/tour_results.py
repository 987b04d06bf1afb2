"""What the steps of a tour have left in their folders: a run each, or a sweep of several.

A sweep's metrics are those of its report: ``ARM/METRIC`` is an arm's mean over its seeds,
``ARM-OTHER/METRIC`` the difference of two arms, either way, by the names that the report has.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.records import InputError
from understudy.report.build import JSON
from understudy.report.read.announced import SWEEP, read_announced
from understudy.stages.tour_steps import Step
from understudy.tracking.manifest import MANIFEST, read_manifest

FINISHED = "finished"
_REPORT = "report"


@dataclass(frozen=True, slots=True)
class Left:
    """What a finished step left.

    Attributes:
        run_ids: Of its run, or of each job of its sweep.
        stage: Of its runs.
        started: When the first of them began.
        finished: When the last of them ended.
        metrics: What its run says, or its sweep's report.
        reasons: Why a metric is null.
        report: The page that a sweep ends in; null for a run.
    """

    run_ids: tuple[str, ...]
    stage: str
    started: str
    finished: str
    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]
    report: Path | None = None

    def chosen(self, step: Step, taken: Mapping[str, float | None]) -> dict[str, float | None]:
        """The metrics that the tour repeats.

        Raises:
            InputError: The step has no such metric, or another step gave it already.
        """
        for name in step.metrics:
            if name not in self.metrics:
                raise InputError(
                    f"step {step.name} has no metric {name!r}; it has "
                    f"{', '.join(sorted(self.metrics)) or 'none'}"
                )
            if name in taken:
                raise InputError(f"two steps of the tour give {name!r}; take it from one of them")
        return {name: self.metrics[name] for name in step.metrics}

    def row(self, step: Step, folder: Path) -> dict[str, Any]:
        """The step's row in ``steps.jsonl``; ``run_ids`` of a sweep, ``run_id`` of a run."""
        is_run = self.report is None
        return {
            "step": step.name,
            "run_id": self.run_ids[0] if is_run else None,
            "run_ids": list(self.run_ids),
            "folder": step.name,
            "stage": self.stage,
            "line": shlex.join(step.words(folder)),
            "after": sorted(step.needs),
            "started": self.started,
            "finished": self.finished,
            "metrics": {name: self.metrics[name] for name in step.metrics},
        }


def status_of(place: Path) -> str | None:
    """The status of the run or sweep in a folder; null where there is none.

    A sweep is finished when all its jobs are and its report is there.

    Raises:
        InputError: A manifest cannot be read.
    """
    if not (place / SWEEP).is_file():
        manifest = _manifest(place)
        return None if manifest is None else str(manifest["status"])
    num_jobs = len(read_announced(place).jobs)
    jobs = [_manifest(place / str(number)) for number in range(num_jobs)]
    is_done = all(job is not None and job["status"] == FINISHED for job in jobs)
    has_report = (place / _REPORT / JSON).is_file()
    return FINISHED if jobs and is_done and has_report else "running"


def left_by(place: Path) -> Left:
    """What the finished run or sweep in a folder left."""
    if (place / SWEEP).is_file():
        return _left_by_sweep(place)
    manifest = read_manifest(place)
    return Left(
        run_ids=(manifest["id"],),
        stage=manifest["stage"],
        started=manifest["started"],
        finished=manifest["finished"],
        metrics=manifest["metrics"],
        reasons=manifest.get("reasons") or {},
    )


def _left_by_sweep(place: Path) -> Left:
    num_jobs = len(read_announced(place).jobs)
    jobs = [read_manifest(place / str(number)) for number in range(num_jobs)]
    report = json.loads((place / _REPORT / JSON).read_text(encoding="utf-8"))
    found = dict(_of_report(report))
    return Left(
        run_ids=tuple(job["id"] for job in jobs),
        stage=jobs[0]["stage"],
        started=min(job["started"] for job in jobs),
        finished=max(job["finished"] for job in jobs),
        metrics={name: one["mean"] for name, one in found.items()},
        reasons={name: one["reason"] for name, one in found.items() if one["mean"] is None},
        report=place / _REPORT / "report.html",
    )


def _of_report(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each interval of a report by the name that a tour gives it."""
    for arm in report["arms"]:
        for metric, interval in arm["metrics"].items():
            yield f"{arm['name']}/{metric}", interval
    for one in report["differences"]:
        mirrored = None if one["mean"] is None else -one["mean"]
        yield f"{one['arm']}-{one['against']}/{one['metric']}", one
        yield f"{one['against']}-{one['arm']}/{one['metric']}", {**one, "mean": mirrored}


def _manifest(place: Path) -> dict[str, Any] | None:
    if not (place / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(place)
        _ = manifest["status"]
    except (json.JSONDecodeError, KeyError) as error:
        raise InputError(f"{place / MANIFEST} cannot be read ({error}); remove {place}") from error
    return manifest
