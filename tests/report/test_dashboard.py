"""The W&B dashboard: panels that the runs can fill, as W&B's own objects, offline and in full."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from report.conftest import FakeRun, write_run
from understudy.records import InputError, RunError
from understudy.report.dashboard import dashboard_of
from understudy.report.read.runs import load_runs
from understudy.stages import dashboard as stage
from understudy.tracking.dashboard import (
    BAR,
    LINE,
    LINEAGE,
    Dashboard,
    Panel,
    save,
    to_report,
    to_workspace,
)
from understudy.tracking.manifest import read_manifest
from understudy.tracking.run import RunSpec, open_run
from understudy.tracking.wandb_run import Tracking

CHECKPOINT = {"type": "model", "name": "checkpoint-a-seed1", "role": "output", "digest": "0"}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two arms of a sweep, one run of which has a loss on both teachers' answers."""
    for number, teacher in enumerate(("strong", "weak")):
        run = FakeRun(
            arm=f"data=lab_{teacher}",
            teacher=teacher,
            id=f"sft-{number}",
            metrics={
                "eval/rouge_l": 0.5, "eval/rouge_l/0-2": 0.5, "eval/rouge_l/>10": 0.4,
                "eval/rouge_l/set:vicuna80": 0.5, "eval/rouge_l@t1": 0.4, "eval/lab_accuracy": None,
                "eval/loss/strong": 1.0, "eval/loss/weak": 2.0, "eval/answer_words": 9.0,
            },
            budget={"supervised_tokens": 100, "examples": 10},
            extra={"sweep_id": "sweep-1", "artifacts": [CHECKPOINT]},
        )  # fmt: skip
        write_run(tmp_path / "sweep" / str(number), run)
    return tmp_path / "sweep"


def described(folder: Path) -> Dashboard:
    runs = load_runs(folder).runs
    return dashboard_of(runs, name="demo", project="p", entity=None)


def panels(dashboard: Dashboard, title: str) -> tuple[Panel, ...]:
    (section,) = [each for each in dashboard.sections if each.title == title]
    return section.panels


def metrics(dashboard: Dashboard, title: str) -> list[str]:
    return [name for panel in panels(dashboard, title) for name in panel.metrics]


def test_every_family_of_metrics_has_its_panels(sweep: Path) -> None:
    dashboard = described(sweep)
    assert metrics(dashboard, "Scores by arm") == ["eval/rouge_l"]
    assert metrics(dashboard, "Student and teacher") == ["eval/loss/strong", "eval/loss/weak"]
    assert metrics(dashboard, "By length of the reference") == [
        "eval/rouge_l/0-2", "eval/rouge_l/>10",
    ]  # fmt: skip
    assert metrics(dashboard, "By questions") == ["eval/rouge_l/set:vicuna80"]
    assert metrics(dashboard, "Answer length") == ["eval/answer_words"]
    assert metrics(dashboard, "Sampled answers") == ["eval/rouge_l@t1"]
    assert metrics(dashboard, "Budgets") == [
        "budget/supervised_tokens", "budget/examples", "budget/steps", "seconds",
    ]  # fmt: skip
    assert panels(dashboard, "Runs")[-1] == Panel(
        LINEAGE, "lineage of checkpoint-a-seed1", ("checkpoint-a-seed1",)
    )


def test_scores_against_one_teacher_are_no_question_set(tmp_path: Path) -> None:
    ours = {"eval/rouge_l": 0.5, "eval/rouge_l/against:gpt4/alpaca": 0.5,
            "eval/rouge_l/against:a@v2": 0.4, "eval/rouge_l/set:vicuna80": 0.6}  # fmt: skip
    write_run(tmp_path / "0", FakeRun(metrics=ours))
    dashboard = described(tmp_path)
    assert metrics(dashboard, "By questions") == ["eval/rouge_l/set:vicuna80"]
    assert [panel.title for panel in panels(dashboard, "Against each teacher")] == [
        "ROUGE-L, against a@v2's answers", "ROUGE-L, against gpt4/alpaca's answers"
    ]  # fmt: skip
    assert "Sampled answers" not in [section.title for section in dashboard.sections]


def test_losses_are_drawn_over_both_axes_tokens_first(sweep: Path) -> None:
    drawn = [(p.kind, p.metrics, p.x) for p in panels(described(sweep), "Learning")]
    assert drawn[:2] == [
        (LINE, ("train/loss",), "supervised_tokens"),
        (LINE, ("train/loss",), "step"),
    ]


def test_what_no_run_has_is_no_panel(tmp_path: Path) -> None:
    write_run(tmp_path / "0", FakeRun(metrics={"eval/rouge_l": 0.5, "eval/rouge_1": None}))
    titles = [section.title for section in described(tmp_path).sections]
    assert "Student and teacher" not in titles
    assert metrics(described(tmp_path), "Scores by arm") == ["eval/rouge_l"]


def test_a_sweep_is_shown_by_its_group_and_a_single_run_by_its_id(sweep: Path) -> None:
    write_run(sweep / "later", FakeRun(id="evaluate-9", stage="evaluate"))
    dashboard = described(sweep)
    assert (dashboard.groups, dashboard.run_ids) == (("sweep-1",), ("evaluate-9",))
    (runset,) = _sent(to_workspace(dashboard))["section"]["runSets"]
    assert runset["filters"]["filterFormat"] == "filterV2"
    text = json.dumps(runset["filters"])
    assert '"OR"' in text
    for name, value in (("group", "sweep-1"), ("name", "evaluate-9")):
        assert f'"name": "{name}"}}, "op": "IN", "value": ["{value}"]' in text


def test_the_workspace_says_it_all_to_w_and_b(sweep: Path) -> None:
    dashboard = described(sweep)
    section = _sent(to_workspace(dashboard))["section"]
    (runset,) = section["runSets"]
    assert runset["grouping"] == [{"section": "config", "name": "arm.value"}]
    sent = {each["name"]: each["panels"] for each in section["panelBankConfig"]["sections"]}
    assert list(sent) == [each.title for each in dashboard.sections]
    bar = sent["Student and teacher"][0]
    assert (bar["viewType"], bar["config"]["metrics"]) == (
        "Bar Chart", ["summary_metrics.eval/loss/strong"],
    )  # fmt: skip
    assert (bar["config"]["groupBy"], bar["config"]["groupAgg"]) == ("arm.value", "mean")
    line = sent["Learning"][0]
    assert (line["config"]["xAxis"], line["config"]["metrics"]) == (
        "supervised_tokens", ["train/loss"],
    )  # fmt: skip
    assert sent["Runs"][0]["viewType"] == "Run Comparer"


def test_many_runs_are_all_shown(tmp_path: Path) -> None:
    for seed in range(12):
        write_run(tmp_path / str(seed), FakeRun(seed=seed, id=f"sft-{seed}"))
    section = _sent(to_workspace(described(tmp_path)))["section"]
    assert section["settings"]["maxRuns"] >= 12


def test_the_report_holds_the_same_panels_with_a_note_each(sweep: Path) -> None:
    dashboard = described(sweep)
    report = to_report(dashboard)
    blocks = _sent(report)["blocks"]
    grids = [each["metadata"] for each in blocks if each["type"] == "panel-grid"]
    shown = [len(grid["panelBankSectionConfig"]["panels"]) for grid in grids]
    assert shown == [len(section.panels) for section in dashboard.sections]
    assert grids[0]["runSets"][0]["filters"]["filters"][0]["value"] == ["sweep-1"]
    text = json.dumps(blocks)
    assert all(section.title in text for section in dashboard.sections)


def test_without_a_login_saving_is_refused_in_a_line(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    dashboard = described(sweep)
    with pytest.raises(RunError, match="did not save the dashboard") as caught:
        save(to_workspace(dashboard), to_report(dashboard))
    assert "\n" not in str(caught.value)


def test_without_the_extra_the_error_names_it(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "wandb_workspaces"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(InputError, match=r"pip install 'understudy\[dashboard\]'"):
        to_workspace(described(sweep))


def test_the_stage_leaves_a_specification_and_says_how_to_save_it(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = RunSpec("dashboard", "demo", "", 0, tmp_path / "run", {})
    with open_run(spec, Tracking()) as run:
        stage.run(run=run, runs=str(sweep), project="p", entity=None)
    written = json.loads((tmp_path / "run" / "dashboard.json").read_text(encoding="utf-8"))
    assert written["groups"] == ["sweep-1"]
    assert written["sections"][0]["panels"][0]["kind"] == BAR
    assert read_manifest(tmp_path / "run")["outputs"][0]["path"] == "dashboard.json"
    told = capsys.readouterr().out
    assert f"wandb sync $(find {sweep} -name 'offline-run-*')" in told
    assert f"stage=dashboard runs={sweep} tracking.mode=online" in told


def test_a_plan_prints_every_section(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage.plan(seed=0, runs=str(sweep), project="p", entity=None)
    told = capsys.readouterr().out
    assert all(section.title in told for section in described(sweep).sections)


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "0", FakeRun(status="failed", error="boom"))
    with pytest.raises(InputError, match="no finished run"):
        stage.plan(seed=0, runs=str(tmp_path), project="p", entity=None)


def _sent(made: Any) -> dict[str, Any]:  # noqa: ANN401 - W&B's
    sent: dict[str, Any] = json.loads(made._to_model().spec.model_dump_json(by_alias=True))
    return sent
