"""A W&B dashboard: what it shows, as plain values, and how W&B's own objects are made of them.

The description needs no login and no network, so it can be written, read and tested anywhere;
``wandb-workspaces`` (extra ``dashboard``) is only loaded to save it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from understudy.records import InputError, RunError

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import Report
    from wandb_workspaces.workspaces.interface import Workspace

BAR, LINE, COMPARER, TABLE, LINEAGE = "bar", "line", "comparer", "table", "lineage"
_PACKAGE = "wandb_workspaces"
_ARM = "arm"  # the key of W&B's config that runs are grouped by
_MOST_RUNS = 1000
_LONGEST_TITLE = 128  # of a report


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: ``metrics`` over ``x`` (lines), by arm (bars), or what ``kind`` is of itself.

    ``kind``: bar, line, comparer (what differs between runs), table or lineage, whose ``metrics``
    are the table's or the artifact's name.
    """

    kind: str
    title: str
    metrics: tuple[str, ...] = ()
    x: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a title, with a sentence that says how to read them."""

    title: str
    note: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A workspace and a report of the same panels.

    They show the runs of the W&B ``groups``, which are sweeps, and those of ``run_ids``.
    """

    title: str
    project: str
    entity: str | None
    groups: tuple[str, ...]
    run_ids: tuple[str, ...]
    num_runs: int
    sections: tuple[Section, ...]


def to_workspace(dashboard: Dashboard) -> Workspace:
    """The workspace, not saved: a section each, runs grouped by arm.

    Raises:
        InputError: wandb-workspaces is not installed.
    """
    workspaces, expr = _load("workspaces"), _load("expr")
    most = _most_runs(dashboard)
    made: Workspace = workspaces.Workspace(
        entity=dashboard.entity or "",
        project=dashboard.project,
        name=dashboard.title,
        sections=[
            workspaces.Section(
                name=section.title, panels=[_panel(each, most) for each in section.panels],
                is_open=True,
            )
            for section in dashboard.sections
        ],
        settings=workspaces.WorkspaceSettings(max_runs=most),
        runset_settings=workspaces.RunsetSettings(
            filters=_filters(dashboard), groupby=[expr.Config(_ARM)]
        ),
    )  # fmt: skip
    return made


def to_report(dashboard: Dashboard) -> Report:
    """The report, not saved: a heading, a sentence and a grid for each section.

    Raises:
        InputError: wandb-workspaces is not installed.
    """
    reports = _load("reports.v2")
    most = _most_runs(dashboard)
    blocks = []
    for section in dashboard.sections:
        runs = reports.Runset(
            entity=dashboard.entity or "",
            project=dashboard.project,
            name="runs by arm",
            filters=_filters(dashboard),
            groupby=[f"config.{_ARM}"],
        )
        panels = [_panel(each, most) for each in section.panels]
        grid = reports.PanelGrid(runsets=[runs], panels=panels)
        blocks += [reports.H2(section.title), reports.P(section.note), grid]
    made: Report = reports.Report(
        project=dashboard.project,
        entity=dashboard.entity or "",
        title=dashboard.title[:_LONGEST_TITLE],
        description="Made by stage=dashboard; made anew by the same command.",
        blocks=blocks,
        width="fluid",
    )
    return made


def save(workspace: Workspace, report: Report) -> dict[str, str]:
    """Saves both on W&B and returns their addresses, by "workspace" and "report".

    Raises:
        RunError: W&B refused, or cannot be reached.
    """
    try:
        workspace.save()  # type: ignore[no-untyped-call]
        report.save()
        return {"workspace": str(workspace.url), "report": str(report.url)}
    except Exception as error:  # whatever its HTTP client, GraphQL layer or checks raise
        text = " ".join(str(error).split())
        raise RunError(f"W&B did not save the dashboard: {type(error).__name__}: {text}") from error


def _panel(panel: Panel, most: int) -> Any:  # noqa: ANN401 - any of W&B's panels
    return _PANELS[panel.kind](_load("reports.v2"), panel, most)


def _bar(reports: ModuleType, panel: Panel, most: int) -> Any:  # noqa: ANN401 - as above
    return reports.BarPlot(
        title=panel.title,
        metrics=[reports.SummaryMetric(name) for name in panel.metrics],
        groupby=reports.Config(_ARM),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_runs_to_show=most,
        max_bars_to_show=most,
    )


def _line(reports: ModuleType, panel: Panel, most: int) -> Any:  # noqa: ANN401 - as above
    return reports.LinePlot(
        title=panel.title,
        x=reports.Metric(panel.x),
        y=[reports.Metric(name) for name in panel.metrics],
        groupby=reports.Config(_ARM),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_runs_to_show=most,
    )


_PANELS: Mapping[str, Callable[[ModuleType, Panel, int], Any]] = {
    BAR: _bar,
    LINE: _line,
    COMPARER: lambda reports, _, __: reports.RunComparer(diff_only="split"),
    TABLE: lambda reports, panel, _: reports.WeavePanelSummaryTable(table_name=panel.metrics[0]),
    LINEAGE: lambda reports, panel, _: reports.WeavePanelArtifact(
        artifact=panel.metrics[0], tab="lineage"
    ),
}


def _filters(dashboard: Dashboard) -> Any:  # noqa: ANN401 - W&B's filters
    expr = _load("expr")
    wanted = []
    if dashboard.groups:
        wanted.append(expr.Metric("Group").isin(list(dashboard.groups)))
    if dashboard.run_ids:
        wanted.append(expr.Metric("ID").isin(list(dashboard.run_ids)))
    return expr.Or(*wanted)


def _most_runs(dashboard: Dashboard) -> int:
    """How many runs a panel may show; W&B's own default leaves out all but the first ten."""
    return min(_MOST_RUNS, max(10, 2 * dashboard.num_runs))


def _load(module: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its use of pydantic, not ours
            return import_module(f"{_PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != _PACKAGE:
            raise
        raise InputError(
            "a dashboard is saved through wandb-workspaces, which is not installed; type "
            "pip install 'understudy[dashboard]'"
        ) from error
