"""Online: the real client draws the lineage, and a failure of the server costs a run nothing."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tracking.lineage_server import LineageServer, Version
from understudy.records import InputFile
from understudy.tracking.manifest import read_manifest
from understudy.tracking.run import RunSpec, open_run
from understudy.tracking.wandb_run import Tracking

Spec = Callable[..., RunSpec]


def train(spec: RunSpec, data: Path) -> None:
    """A run that reads a data set and leaves a checkpoint."""
    with open_run(spec, Tracking(entity="ann", project="ablation")) as run:
        sha256 = hashlib.sha256(data.read_bytes()).hexdigest()
        run.use_data("gpt4", [InputFile(str(data), sha256, 1)])
        weights = run.folder / "checkpoints" / "last" / "model.safetensors"
        weights.parent.mkdir(parents=True)
        weights.write_text("weights")
        run.add_output(weights)
        run.log_checkpoints()


def version(server: LineageServer, kind: str) -> Version:
    (found,) = [each for each in server.versions if each.type == kind]
    return found


def test_the_graph_reads_from_data_over_training_to_evaluation(
    tmp_path: Path, server: LineageServer, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "gpt4.json"
    data.write_text("[]")
    for seed in (1, 2):
        train(spec(tmp_path / f"sft-{seed}", seed=seed), data)
    child = spec(tmp_path / "evaluate", stage="evaluate", arm="stage=evaluate")
    with open_run(child, Tracking(entity="ann", project="ablation")) as run:
        run.use_checkpoint(tmp_path / "sft-1" / "checkpoints" / "last")
        run.write_rows("predictions.jsonl", [{"id": "q"}])
        run.log_predictions()
    first, second, evaluated = (
        read_manifest(tmp_path / name)["id"] for name in ("sft-1", "sft-2", "evaluate")
    )
    assert version(server, "dataset").used_by == [first, second]
    checkpoints = {each.collection: each for each in server.versions if each.type == "model"}
    assert checkpoints["checkpoint-data-lab_weak-seed1"].made_by[0] == first
    assert checkpoints["checkpoint-data-lab_weak-seed1"].used_by == [evaluated]
    assert checkpoints["checkpoint-data-lab_weak-seed2"].used_by == []
    assert version(server, "predictions").made_by == [evaluated]
    assert all(each.is_committed for each in server.versions)
    assert "did not take" not in caplog.text


def test_what_the_server_refuses_is_a_warning_and_in_the_manifest(
    tmp_path: Path, server: LineageServer, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "gpt4.json"
    data.write_text("[]")
    taken = ("data-gpt4", "checkpoint-data-lab_weak-seed3")
    server.versions = [Version(name, name, "something else", "0") for name in taken]
    with caplog.at_level(logging.WARNING):
        train(spec(tmp_path / "sft"), data)
    assert [name for name in taken if f"did not take {name}" in caplog.text] == list(taken)
    manifest = read_manifest(tmp_path / "sft")
    assert manifest["status"] == "finished"
    assert [each["name"] for each in manifest["artifacts"]] == list(taken)
