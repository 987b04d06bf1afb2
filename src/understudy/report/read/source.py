"""Where runs are read from: a folder of run folders, or a project on W&B.

Both give the same records. What is on W&B has no answers and no item scores, so it has values of
runs and seeds, and no intervals over questions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.records import InputError
from understudy.report.read.manifests import read_manifest
from understudy.report.read.runs import FailedJob, RunRecord, RunSet, load_runs

_PROJECT = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """What was read: ``manifests`` by path, those of failed jobs as far as they could be read.

    ``root`` is the folder that paths are relative to, null where they are addresses on W&B.
    """

    runs: RunSet
    manifests: Mapping[str, Mapping[str, Any]]
    root: Path | None = None

    def place(self, path: str) -> str:
        """Where a run lies: its folder as it can be opened, or its page."""
        return path if self.root is None else str(self.root / path)


def read_source(source: str | Path, *, with_history: bool = False) -> Source:
    """The runs of a folder that exists, else of the W&B project ``entity/project``.

    ``with_history`` asks W&B for each run's curves too, one call a run; folders always have them.

    Raises:
        InputError: It is neither, W&B cannot be asked, or there is no run.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        found = _read_folder(folder)
    elif folder.exists():
        raise InputError(f"{source} is a file; give the folder that holds the runs")
    elif isinstance(source, str) and _is_project(source):
        found = _read_project(source, with_history=with_history)
    else:
        raise InputError(
            f"{source}: no such folder; give a folder of runs, or entity/project for W&B"
        )
    if not (found.runs.runs or found.runs.failed_jobs):
        raise InputError(f"{source} holds no run; each run folder has a manifest.json")
    return found


def _is_project(source: str) -> bool:
    """True for ``entity/project``, unless its first part is a folder here: then it is mistyped."""
    return bool(_PROJECT.fullmatch(source)) and not Path(source).parent.is_dir()


def _read_folder(folder: Path) -> Source:
    runs = load_runs(folder)
    manifests = {run.path: run.manifest for run in runs.runs}
    manifests |= {job.path: _partial(folder / job.path) for job in runs.failed_jobs}
    return Source(runs, manifests, folder)


def _partial(folder: Path) -> dict[str, Any]:
    try:
        return read_manifest(folder)
    except InputError:
        return {}


def _read_project(project: str, *, with_history: bool) -> Source:
    from understudy.report.read.online import read_project  # noqa: PLC0415 - folders need no W&B

    found = list(read_project(project, with_history=with_history))
    runs = tuple(run for run, _ in found if isinstance(run, RunRecord))
    failed = tuple(job for job, _ in found if isinstance(job, FailedJob))
    return Source(RunSet(runs, failed), {one.path: manifest for one, manifest in found})
