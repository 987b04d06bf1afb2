"""Saving a dashboard: the real client hands workspace and report to a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from report.conftest import FakeRun, write_run
from tracking.lineage_server import LineageServer
from understudy.stages import dashboard as stage
from understudy.tracking.dashboard import (
    BAR,
    COMPARER,
    Dashboard,
    Panel,
    Section,
    save,
    to_report,
    to_workspace,
)
from understudy.tracking.run import RunSpec, open_run
from understudy.tracking.wandb_run import Tracking

PANELS = (Panel(BAR, "ROUGE-L", ("eval/rouge_l",)), Panel(COMPARER, "what differs"))
DASHBOARD = Dashboard(
    title="Understudy: demo",
    project="ablation",
    entity="ann",
    groups=("sweep-1",),
    run_ids=(),
    num_runs=4,
    sections=(Section("Scores by arm", "Means over seeds.", PANELS),),
)


def test_the_stage_saves_online_in_the_runs_own_project(
    server: LineageServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.projects["ann/ablation"] = {}
    write_run(tmp_path / "sweep" / "0", FakeRun(id="sft-0"))
    spec = RunSpec("dashboard", "demo", "", 0, tmp_path / "run", {})
    with open_run(spec, Tracking(entity="ann", project="ablation")) as run:
        stage.run(run=run, runs=str(tmp_path / "sweep"), project="ablation", entity="ann")
    assert set(server.views) == {"project-view", "runs"}
    assert '"value": ["sft-0"]' in json.dumps(json.loads(server.views["runs"]["spec"]))
    told = capsys.readouterr().out
    assert "/ann/ablation?nw=" in told.replace("\n", "").replace(" ", "")
    assert "not saved" not in told


def test_workspace_and_report_are_saved_and_have_addresses(server: LineageServer) -> None:
    server.projects["ann/ablation"] = {}
    addresses = save(to_workspace(DASHBOARD), to_report(DASHBOARD))
    assert "/ann/ablation?nw=" in addresses["workspace"]
    assert "/ann/ablation/reports/Understudy:-demo--" in addresses["report"]
    assert set(server.views) == {"project-view", "runs"}
    for view in server.views.values():
        assert (view["entityName"], view["projectName"]) == ("ann", "ablation")
        assert view["displayName"] == "Understudy: demo"
        spec = json.dumps(json.loads(view["spec"]))
        assert '"summary_metrics.eval/rouge_l"' in spec
        assert '"value": ["sweep-1"]' in spec
