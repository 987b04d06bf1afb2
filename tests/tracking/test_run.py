"""A run's record: manifest on disk at once, closed whatever happens, one offline W&B run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.records import InputFile
from understudy.tracking.manifest import read_manifest
from understudy.tracking.run import RunSpec, open_run
from understudy.tracking.wandb_run import Tracking

FIXED_KEYS = {
    "id", "stage", "name", "arm", "teacher", "base_model", "parents", "sweep_id", "overrides",
    "status", "seed", "config_sha256", "git", "inputs", "outputs", "dropped", "metrics", "wandb",
    "started", "finished", "versions",
}  # fmt: skip


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.setenv("WANDB_MODE", "offline")
    return Tracking()


def _spec(folder: Path, **changes: object) -> RunSpec:
    values: dict[str, object] = {
        "stage": "sft",
        "name": "demo",
        "arm": "data=lab_weak",
        "seed": 3,
        "folder": folder,
        "config": {"optimizer": {"lr": 0.5}},
        "overrides": ["data=lab_weak", "seed=3"],
        "teacher": "weak",
    }
    return RunSpec(**{**values, **changes})  # type: ignore[arg-type]  # values are of the fields' types


def test_the_manifest_is_on_disk_as_running_before_anything_happens(
    tmp_path: Path, offline: Tracking
) -> None:
    with open_run(_spec(tmp_path), offline):
        manifest = read_manifest(tmp_path)
    assert manifest["status"] == "running"
    assert manifest["finished"] is None
    assert manifest.keys() >= FIXED_KEYS


def test_a_finished_run_records_what_it_read_dropped_measured_and_left(
    tmp_path: Path, offline: Tracking
) -> None:
    with open_run(_spec(tmp_path), offline) as run:
        run.add_inputs([InputFile("a.json", "00", 2)])
        run.add_dropped({"empty_output": 1})
        run.add_dropped({"empty_output": 2, "overlength": 1})
        run.add_metrics({"eval/rouge_l": None}, {"eval/rouge_l": "no reference"})
        run.write_rows("predictions.jsonl", [{"id": "x"}, {"id": "é"}])
        with run.timed("training"):
            pass
    manifest = read_manifest(tmp_path)
    assert manifest["status"] == "finished"
    assert manifest["inputs"] == [{"path": "a.json", "sha256": "00", "rows": 2}]
    assert manifest["dropped"] == {"empty_output": 3, "overlength": 1}
    assert manifest["metrics"] == {"eval/rouge_l": None}
    assert manifest["reasons"] == {"eval/rouge_l": "no reference"}
    assert manifest["outputs"][0]["rows"] == 2
    assert manifest["outputs"][0]["path"] == "predictions.jsonl"
    assert list(manifest["timings"]) == ["training"]


@pytest.mark.parametrize("error", [ValueError("bad\nthing"), KeyboardInterrupt()])
def test_a_run_that_fails_says_so_and_lets_the_error_through(
    tmp_path: Path, offline: Tracking, error: BaseException
) -> None:
    with pytest.raises(type(error)), open_run(_spec(tmp_path), offline):
        raise error
    manifest = read_manifest(tmp_path)
    assert manifest["status"] == "failed"
    assert manifest["error"].startswith(type(error).__name__)
    assert "\n" not in manifest["error"]
    assert manifest["finished"] is not None


def test_runs_of_one_process_leave_nothing_to_each_other(tmp_path: Path, offline: Tracking) -> None:
    ids = []
    for index in range(2):
        with open_run(_spec(tmp_path / str(index), seed=index), offline) as run:
            ids.append(run.wandb.id)
    assert ids[0] != ids[1]
    assert [read_manifest(tmp_path / name)["seed"] for name in "01"] == [0, 1]


def test_a_child_inherits_arm_teacher_and_seed_and_names_its_parent(
    tmp_path: Path, offline: Tracking
) -> None:
    with open_run(_spec(tmp_path / "parent"), offline) as run:
        run.manifest.base_model = "tiny"
        run.manifest.comparable = {"template": "t", "questions": "old"}
        run.manifest.budget = {"kind": "steps", "steps": 4}
    parent = read_manifest(tmp_path / "parent")
    child = _spec(tmp_path / "child", stage="evaluate", arm="stage=evaluate", seed=0, teacher=None)
    with open_run(child, offline) as run:
        run.manifest.comparable["questions"] = "new"
        run.inherit(parent)
    manifest = read_manifest(tmp_path / "child")
    assert manifest["parents"] == [parent["id"]]
    assert (manifest["arm"], manifest["teacher"], manifest["seed"]) == ("data=lab_weak", "weak", 3)
    assert manifest["comparable"] == {"template": "t", "questions": "new"}
    assert manifest["budget"] == {"kind": "steps", "steps": 4}


def test_an_offline_run_reads_back_with_config_metrics_and_table(
    tmp_path: Path, offline: Tracking
) -> None:
    with open_run(_spec(tmp_path), offline) as run:
        run.wandb.log({"train/loss": 0.5, "step": 1})
        run.log_table("predictions", [{"prompt": "p", "output": "o"}])
        run.add_metrics({"eval/rouge_l": 0.25})
    folders = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 1
    overview = _leet(next(folders[0].glob("*.wandb")))
    assert overview["summary"]["eval/rouge_l"] == 0.25
    assert overview["summary"]["train/loss"] == 0.5
    assert overview["summary"]["predictions"]["nrows"] == 1
    assert overview["config"]["optimizer"] == {"lr": 0.5}
    found = {key: overview["config"][key] for key in ("arm", "teacher", "stage", "seed")}
    assert found == {"arm": "data=lab_weak", "teacher": "weak", "stage": "sft", "seed": 3}


def _leet(stored: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(stored)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    overview: dict[str, Any] = json.loads(done.stdout)
    return overview


def test_without_a_key_a_run_is_offline_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert Tracking().resolved_mode() == "offline"
    assert Tracking(mode="disabled").resolved_mode() == "disabled"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert Tracking(mode="online").resolved_mode() == "offline"


def test_a_key_without_a_server_is_offline_within_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert Tracking().resolved_mode() == "offline"
    assert "does not answer" in caplog.text


def test_a_manifest_is_strict_json(tmp_path: Path, offline: Tracking) -> None:
    with pytest.raises(ValueError, match="JSON"), open_run(_spec(tmp_path), offline) as run:
        run.add_metrics({"eval/rouge_l": float("nan")})
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "running"
