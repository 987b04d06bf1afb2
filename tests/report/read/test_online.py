"""Runs read back from W&B: logged by the real client to a small server, read by its public API."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import wandb

from report.read.wandb_server import StoredRun, WandbServer, serving
from understudy.records import InputError, write_jsonl
from understudy.report import load, load_items
from understudy.report.read.source import read_source
from understudy.tracking.run import Run, RunSpec, open_run
from understudy.tracking.wandb_run import Tracking

PROJECT = "ann/ablation"
COMPARABLE = {"prompts": "aa", "template": "bb", "questions": "dd", "decoding": "greedy"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server to which this process is logged in; nothing of another test's login is left."""
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        yield server
    wandb.teardown()


def _record(run: Run, accuracy: float) -> None:
    """What a stage leaves at its end."""
    for step in (1, 2):
        row = {"step": step, "supervised_tokens": 100 * step, "trainer/global_step": step}
        run.wandb.log({**row, "train/loss": 2.0 / step, "train/learning_rate": 0.1})
    run.wandb.log({"step": 2, "supervised_tokens": 200, "val/loss": 1.25})
    run.write_rows("predictions.jsonl", [{"id": "q1", "scores": {"eval/lab_accuracy": accuracy}}])
    run.log_predictions()
    metrics = {"eval/lab_accuracy": accuracy, "val/loss": 1.25, "eval/rouge_l/>10": None}
    run.add_metrics(metrics, {"eval/rouge_l/>10": "no reference of that length"})
    run.add_dropped({"too_long": 3})
    run.manifest.base_model = "llama-0.3m"
    run.manifest.budget |= {"kind": "examples", "examples": 10, "supervised_tokens": 200}
    run.manifest.comparable |= COMPARABLE
    run.manifest.timings["training"] = 1.5


def _log(folder: Path, arm: str, seed: int, accuracy: float | None) -> None:
    """Logs a run to the server and to ``folder``; null accuracy: it fails."""
    overrides = [f"data={arm}", f"seed={seed}", "experiment=quickstart", "model.width=64"]
    spec = RunSpec(
        stage="sft", name="quickstart", arm=f"data={arm},experiment=quickstart,model.width=64",
        seed=seed, folder=folder, config={"optimizer": {"lr": 0.5}}, overrides=overrides,
        teacher=arm.removeprefix("lab_"), sweep_id="sweep-1", experiment="quickstart",
    )  # fmt: skip
    with suppress(MemoryError), open_run(spec, Tracking("ablation", "ann", "online")) as run:
        if accuracy is None:
            raise MemoryError("no room")
        _record(run, accuracy)


def test_a_project_reads_like_the_run_folders_that_it_was_logged_from(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    for job, (arm, seed, accuracy) in enumerate(
        [("lab_strong", 1, 0.75), ("lab_strong", 2, 0.5), ("lab_weak", 1, None)]
    ):
        _log(tmp_path / "runs" / str(job), arm, seed, accuracy)
    local, online = load(tmp_path / "runs"), load(PROJECT)
    assert len(server.projects[PROJECT]) == 3
    assert online.columns.tolist() == local.columns.tolist()
    assert online.dtypes.equals(local.dtypes)
    own = ["path", "started", "error"]  # W&B has its own clock and no error texts
    pd.testing.assert_frame_equal(online.drop(columns=own), local.drop(columns=own))
    assert online["path"][0] == f"{server.url}/{PROJECT}/runs/{online['id'][0]}"
    assert online["eval/lab_accuracy"].tolist()[:2] == [0.75, 0.5]
    assert online["status"].tolist() == ["finished", "finished", "failed"]
    assert online["overrides.model.width"].tolist() == [64, 64, 64]
    assert online["reasons"][0] == {"eval/rouge_l/>10": "no reference of that length"}
    assert "train/loss" not in online

    history = read_source(PROJECT, with_history=True).runs.runs[0].history
    steps = history.dropna(subset="train/loss")
    assert steps[["step", "supervised_tokens", "train/loss"]].to_numpy().tolist() == [
        [1, 100, 2.0], [2, 200, 1.0],
    ]  # fmt: skip


def _stored(seed: int) -> StoredRun:
    known = {"stage": "sft", "arm": "data=lab_weak", "seed": seed, "overrides": []}
    summary = {"status": "finished", "eval/rouge_l": seed / 100}
    return StoredRun(f"run-{seed}", {"understudy": known}, summary, state="finished")


def test_all_pages_of_a_large_project_are_read(server: WandbServer) -> None:
    server.projects[PROJECT] = {f"run-{seed}": _stored(seed) for seed in range(120)}
    frame = load(PROJECT)
    assert frame["seed"].tolist() == list(range(120))
    assert frame["eval/rouge_l"].tolist() == pytest.approx([seed / 100 for seed in range(120)])


def test_runs_without_a_result_are_rows_and_reports_are_none(server: WandbServer) -> None:
    crashed = StoredRun("crashed", _stored(1).config, {}, [], "crashed")
    damaged = StoredRun("damaged", _stored(2).config, {"status": "finished"})
    damaged.config["understudy"]["seed"] = "two"
    foreign = StoredRun("foreign", {"lr": 0.1}, {"loss": 1.0}, [], "finished")
    report = StoredRun("report", {"understudy": {"stage": "report"}}, {"status": "finished"})
    found = [_stored(3), crashed, damaged, foreign, report]
    server.projects[PROJECT] = {run.name: run for run in found}
    frame = load(PROJECT).set_index("id")
    assert frame["status"].to_dict() == {
        "run-3": "finished", "crashed": "crashed", "damaged": "unreadable", "foreign": "unreadable",
    }  # fmt: skip
    assert frame.loc["crashed", "error"] == "W&B has it as crashed"
    assert frame.loc["foreign", "error"] == "its config has no record of Understudy"
    assert "'seed'" in str(frame.loc["damaged", "error"])


def test_a_folder_that_exists_wins_over_a_project(server: WandbServer, tmp_path: Path) -> None:
    server.projects[PROJECT] = {"run-1": _stored(1)}
    write_jsonl(tmp_path / PROJECT / "note.jsonl", [])
    with pytest.raises(InputError, match="ann/ablation holds no run"):
        load(PROJECT)


def test_an_unknown_project_is_refused_in_one_line(server: WandbServer) -> None:
    with pytest.raises(InputError, match=r"^ann/nothing: no such folder here, and no such project"):
        load("ann/nothing")
    server.projects["ann/empty"] = {}
    with pytest.raises(InputError, match="ann/empty holds no run"):
        load("ann/empty")


def test_item_scores_are_not_on_wandb(server: WandbServer) -> None:
    server.projects[PROJECT] = {"run-1": _stored(1)}
    with pytest.raises(InputError, match="no scores by question; give a run folder"):
        load_items(PROJECT)


def test_without_a_login_the_way_to_one_is_named(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(InputError, match="needs a login; run `wandb login`"):
        load(PROJECT)
    host = server.url.removeprefix("http://")
    (tmp_path / "netrc").write_text(f"machine {host} login user password {'k' * 40}\n")
    (tmp_path / "netrc").chmod(0o600)
    server.projects[PROJECT] = {"run-1": _stored(1)}
    assert load(PROJECT)["id"].tolist() == ["run-1"]


def test_a_login_that_the_server_rejects_is_told_in_one_line(server: WandbServer) -> None:
    server.rejects_logins = True
    with pytest.raises(
        InputError, match=r"^ann/ablation: http://127.* could not be read: "
    ) as told:
        load(PROJECT)
    assert "\n" not in str(told.value)


def test_a_server_that_is_not_there_is_told_at_once(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    start = time.monotonic()
    with pytest.raises(InputError, match="does not answer; check the network"):
        load(PROJECT)
    assert time.monotonic() - start < 10
