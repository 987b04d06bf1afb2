"""``stage=dashboard``: a W&B workspace and report of a sweep's runs, arm beside arm.

Without a login, or offline, the specification is all that is made.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from understudy.records import InputError
from understudy.report.dashboard import dashboard_of
from understudy.report.read.source import read_source
from understudy.stages.printing import print_facts
from understudy.tracking.dashboard import Dashboard, save, to_report, to_workspace

if TYPE_CHECKING:
    from understudy.tracking.run import Run

SPECIFICATION = "dashboard.json"


def run(*, run: Run, runs: str, project: str, entity: str | None) -> None:
    """Writes ``dashboard.json`` into the run folder and, online, saves the dashboard on W&B.

    Args:
        run: The run to record in.
        runs: A folder of runs, or entity/project on W&B.
        project: The W&B project that the runs are in.
        entity: Whose project; null is the login's own.

    Raises:
        InputError: There is no run to show, or wandb-workspaces is not installed.
        RunError: W&B did not take it.
    """
    is_online = not (run.wandb.offline or run.wandb.disabled)
    dashboard = _dashboard(runs, project, (run.wandb.entity if is_online else None) or entity)
    path = run.folder / SPECIFICATION
    path.write_text(json.dumps(asdict(dashboard), indent=2, ensure_ascii=False) + "\n", "utf-8")
    run.add_output(path)
    made = to_workspace(dashboard), to_report(dashboard)  # what cannot be made fails offline too
    facts = {"panels": str(sum(len(section.panels) for section in dashboard.sections))}
    facts |= save(*made) if is_online else {"not saved": f"offline; the panels are in {path}"}
    print_facts(dashboard.title, facts)
    if not is_online:
        _print_how_to_save(runs)


def plan(*, seed: int, runs: str, project: str, entity: str | None) -> None:
    """Prints the panels that a dashboard of the runs would have."""
    del seed
    dashboard = _dashboard(runs, project, entity)
    print_facts(f"Plan: {dashboard.title}", {**_facts(dashboard), "API calls": "0"})


def _dashboard(runs: str, project: str, entity: str | None) -> Dashboard:
    found = read_source(runs, with_history=True).runs.runs
    if not found:
        raise InputError(f"runs={runs} holds no finished run; give a folder with finished ones")
    if not Path(runs).expanduser().is_dir():
        entity, _, project = runs.partition("/")
    name = Path(runs).expanduser().resolve().name
    return dashboard_of(found, name=name, project=project, entity=entity)


def _print_how_to_save(runs: str) -> None:
    folder = shlex.quote(runs)
    lines = ["to save it, with a login (wandb login):"]
    if Path(runs).expanduser().is_dir():
        lines.append(f"  wandb sync $(find {folder} -name 'offline-run-*')")
    lines.append(f"  python run.py stage=dashboard runs={folder} tracking.mode=online")
    for line in lines:
        Console().print(line, soft_wrap=True, highlight=False, markup=False)


def _facts(dashboard: Dashboard) -> dict[str, str]:
    """Runs and panels, for people."""
    shown = [*dashboard.groups, *(f"run {each}" for each in dashboard.run_ids)]
    facts = {"runs": f"{dashboard.num_runs}: {', '.join(shown)}"}
    for section in dashboard.sections:
        facts[section.title] = "; ".join(panel.title for panel in section.panels)
    return facts
