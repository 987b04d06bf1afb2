"""Artifacts: one digest for what one run leaves and another reads, no copies, no texts unasked."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tracking.offline import read_offline
from understudy.records import (
    InputFile,
    Instruction,
    Prediction,
    Question,
    prediction_to_json,
)
from understudy.tracking.artifacts import artifact_name, data_of
from understudy.tracking.manifest import read_manifest
from understudy.tracking.run import Run, RunSpec, open_run
from understudy.tracking.wandb_run import Tracking

Spec = Callable[..., RunSpec]
MARKER = "the marker sentence that must not leave"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train(run: Run, weights: str = "of {}") -> None:
    """Leaves two checkpoints as training would."""
    run.manifest.base_model = "tiny"
    for name in ("best", "last"):
        folder = run.folder / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(weights.format(name))
        (folder / "config.json").write_text("{}")
    for path in sorted((run.folder / "checkpoints").rglob("*.*")):
        run.add_output(path)
    run.log_checkpoints()


def answer(run: Run) -> None:
    """Leaves a prediction whose every text holds the marker."""
    question = Question(Instruction("q1", MARKER, MARKER, lang="en"), {"gold": MARKER})
    row = Prediction(question, "student", MARKER, scores={"eval/rouge_l": 1.0})
    run.write_rows("predictions.jsonl", [prediction_to_json(row)])
    run.log_predictions()


def entries(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [each for each in read_manifest(folder)["artifacts"] if each["type"] == kind]


@pytest.mark.parametrize(("asked", "output"), [("last", 1), ("best", 0)])
def test_a_checkpoint_has_one_digest_as_output_and_as_input(
    tmp_path: Path, offline: Tracking, spec: Spec, asked: str, output: int
) -> None:
    with open_run(spec(tmp_path / "sft"), offline) as run:
        train(run)
    child = spec(tmp_path / "evaluate", stage="evaluate", arm="stage=evaluate", seed=0)
    with open_run(child, offline) as run:
        run.use_checkpoint(tmp_path / "sft" / "checkpoints" / asked)
    outputs = entries(tmp_path / "sft", "model")
    assert [each["role"] for each in outputs] == ["output", "output"]
    assert outputs[0]["digest"] != outputs[1]["digest"]
    name = "checkpoint-data-lab_weak-seed3"
    digest = outputs[output]["digest"]
    assert entries(tmp_path / "evaluate", "model") == [
        {"type": "model", "name": name, "role": "input", "digest": digest}
    ]


def test_a_moved_run_keeps_its_digests(tmp_path: Path, offline: Tracking, spec: Spec) -> None:
    with open_run(spec(tmp_path / "sft"), offline) as run:
        train(run)
    shutil.move(tmp_path / "sft", tmp_path / "moved")
    with open_run(spec(tmp_path / "evaluate"), offline) as run:
        run.use_checkpoint(tmp_path / "moved" / "checkpoints" / "last")
    (read,) = entries(tmp_path / "evaluate", "model")
    assert read["digest"] == entries(tmp_path / "moved", "model")[1]["digest"]


def test_other_weights_are_another_digest(tmp_path: Path, offline: Tracking, spec: Spec) -> None:
    digests = set()
    for name in "ab":
        with open_run(spec(tmp_path / name), offline) as run:
            train(run, name + " of {}")
        digests |= {each["digest"] for each in entries(tmp_path / name, "model")}
    assert len(digests) == 4


def test_an_arm_too_long_to_read_is_named_by_its_teacher(
    tmp_path: Path, offline: Tracking, spec: Spec
) -> None:
    names = []
    for path in ("a", "b"):
        arm = f"data=alpaca_json,data.path={path * 60}"
        with open_run(spec(tmp_path / path, arm=arm, teacher="gpt4"), offline) as run:
            train(run)
        names.append(entries(tmp_path / path, "model")[0]["name"])
    assert names[0] != names[1]
    assert all(re.fullmatch("checkpoint-gpt4-[0-9a-f]{8}-seed3", name) for name in names)


def test_equal_checkpoints_are_one(tmp_path: Path, offline: Tracking, spec: Spec) -> None:
    with open_run(spec(tmp_path), offline) as run:
        train(run, "the same")
    assert len(entries(tmp_path, "model")) == 1
    (logged,) = read_offline(tmp_path).artifacts
    assert set(logged["aliases"]) == {"latest", "best", "last"}


def test_a_checkpoint_of_nobody_is_no_input(tmp_path: Path, offline: Tracking, spec: Spec) -> None:
    (tmp_path / "elsewhere").mkdir()
    with open_run(spec(tmp_path / "run"), offline) as run:
        run.use_checkpoint(tmp_path / "elsewhere")
    assert read_manifest(tmp_path / "run")["artifacts"] == []


def test_w_and_b_learns_where_a_checkpoint_lies_and_gets_no_copy(
    tmp_path: Path, offline: Tracking, spec: Spec
) -> None:
    folder = tmp_path / "a run 中"
    with open_run(spec(folder), offline) as run:
        train(run)
    best, last = read_offline(folder).artifacts
    assert [set(each["aliases"]) for each in (best, last)] == [
        {"best", "latest"},
        {"last", "latest"},
    ]
    assert last["metadata"]["digest"] == entries(folder, "model")[1]["digest"]
    assert (last["metadata"]["arm"], last["metadata"]["seed"]) == ("data=lab_weak", 3)
    weights = folder / "checkpoints" / "last" / "model.safetensors"
    (file,) = [each for each in last["manifest"]["contents"] if each["path"] == "model.safetensors"]
    assert file["ref"] == weights.as_uri()
    assert file["digest"] == sha256(weights)
    assert "local_path" not in file
    assert not list((tmp_path / "staged").rglob("tmp*"))


def test_an_upload_sends_the_files_from_where_they_lie(
    tmp_path: Path, offline: Tracking, spec: Spec
) -> None:
    with open_run(spec(tmp_path / "run"), Tracking(checkpoints="upload")) as run:
        train(run)
    _, last = read_offline(tmp_path / "run").artifacts
    lies = {each["path"]: each["local_path"] for each in last["manifest"]["contents"]}
    folder = tmp_path / "run" / "checkpoints" / "last"
    assert lies == {path.name: str(path) for path in folder.iterdir()}


def test_off_keeps_checkpoints_from_w_and_b_but_not_from_the_manifest(
    tmp_path: Path, offline: Tracking, spec: Spec
) -> None:
    with open_run(spec(tmp_path / "run"), Tracking(checkpoints="off")) as run:
        train(run)
    assert read_offline(tmp_path / "run").artifacts == []
    assert len(entries(tmp_path / "run", "model")) == 2


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_a_data_set_is_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: Spec, mode: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    path = tmp_path / "gpt4.json"
    path.write_text("[1]", encoding="utf-8")
    with open_run(spec(tmp_path / "run"), Tracking()) as run:
        run.use_data("gpt4", [InputFile(str(path), sha256(path), 1)])
    (read,) = read_manifest(tmp_path / "run")["artifacts"]
    assert (read["type"], read["name"], read["role"]) == ("dataset", "data-gpt4", "input")
    elsewhere = data_of("gpt4", [InputFile("b/gpt4.json", sha256(path), 1)], None, tmp_path)
    assert read["digest"] != elsewhere.digest  # that one is not here, so it is described as well
    assert not (tmp_path / "run" / "data.json").exists()


def test_a_data_set_without_files_is_how_it_is_made(
    tmp_path: Path, offline: Tracking, spec: Spec
) -> None:
    digests = []
    for number, source in enumerate(("weak", "weak", "strong")):
        config = {"data": {"source": {"name": source}}}
        with open_run(spec(tmp_path / str(number), config=config), offline) as run:
            run.use_data("lab", [])
        digests.append(read_manifest(tmp_path / str(number))["artifacts"][0]["digest"])
        assert f'"name": "{source}"' in (tmp_path / str(number) / "data.json").read_text()
    assert digests[0] == digests[1] != digests[2]


def test_predictions_are_sent_whole_from_the_run_folder(
    tmp_path: Path, offline: Tracking, spec: Spec
) -> None:
    with open_run(spec(tmp_path / "run"), offline) as run:
        answer(run)
    (logged,) = read_offline(tmp_path / "run").artifacts
    assert logged["name"] == "predictions-data-lab_weak-seed3"
    assert logged["metadata"]["rows"] == 1
    (file,) = logged["manifest"]["contents"]
    assert file["local_path"] == str(tmp_path / "run" / "predictions.jsonl")
    assert entries(tmp_path / "run", "predictions")[0]["role"] == "output"


@pytest.mark.parametrize("log_text", [True, False])
def test_texts_reach_w_and_b_only_where_they_may(
    tmp_path: Path, offline: Tracking, spec: Spec, log_text: bool
) -> None:
    with open_run(spec(tmp_path / "run"), Tracking(log_text=log_text)) as run:
        answer(run)
        row = {"id": "q1", "output": MARKER, "score": 1.0}
        run.log_table("eval/samples", [row], text=("output",))
    staged = _files(tmp_path / "staged")
    assert staged  # wandb makes an artifact of its own of a table
    reached = [*_files(tmp_path / "run" / "wandb"), *staged]
    back = read_offline(tmp_path / "run")
    sent = [Path(file["local_path"]) for each in back.artifacts for file in _contents(each)]
    assert len(sent) == 1
    assert any(MARKER in path.read_text("utf-8", "replace") for path in (*reached, *sent)) == (
        log_text
    )
    assert back.tables["eval/samples"] == [row if log_text else {"id": "q1", "score": 1.0}]
    assert '"eval/rouge_l": 1.0' in sent[0].read_text()


def _files(folder: Path) -> Sequence[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _contents(artifact: dict[str, Any]) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = artifact["manifest"]["contents"]
    return contents


@pytest.mark.parametrize(
    "of", ["data=" + "x" * 300, "答案", "data=a/b:c d,model={x: [1]}", "über", "-"]
)
def test_a_name_is_one_that_w_and_b_takes(of: str) -> None:
    name = artifact_name("predictions", of)
    assert len(name) <= 128
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert name.startswith("predictions-")
    assert name == artifact_name("predictions", of)


def test_names_that_are_cut_stay_apart_and_keep_their_seed() -> None:
    long = "data=" + "x" * 300
    assert artifact_name("data", long, "-seed12").endswith("-seed12")
    assert artifact_name("data", long + "1") != artifact_name("data", long + "2")
    assert artifact_name("data", "答案") != artifact_name("data", "回答")
