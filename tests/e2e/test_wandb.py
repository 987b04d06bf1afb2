"""W&B after real stages: offline runs hold the record, both axes, lineage; no text unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.support import SMALL_TEXT, Command, answers, manifests, write_rows
from tracking.offline import read_offline
from understudy.records import read_jsonl
from understudy.tracking.manifest import read_manifest


def test_training_and_evaluation_read_back_from_offline_runs(
    understudy: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    data = write_rows(tmp_path / "gpt4.json", answers("the marker sentence"))
    silent = ("tracking.log_text=false", "trainer.accelerator=cpu")
    done = understudy("data=alpaca_json", f"data.path={data}", *SMALL_TEXT, *silent)
    assert done.code == 0, done.err
    (trained,) = _runs(tmp_path / "outputs" / "sft")
    done = understudy("stage=evaluate", f"model.path={trained}", *silent)
    assert done.code == 0, done.err
    (evaluated,) = _runs(tmp_path / "outputs" / "evaluate")

    back, manifest = read_offline(trained), read_manifest(trained)
    assert back.config["understudy"]["id"] == manifest["id"]
    assert back.config["data"]["path"] == str(data)
    assert {name: back.summary[name] for name in manifest["metrics"]} == manifest["metrics"]
    assert back.summary["budget/supervised_tokens"] == manifest["budget"]["supervised_tokens"]
    rows = [row for row in back.history if {"train/loss", "val/loss"} & row.keys()]
    axes = [(row["step"], "val/loss" in row) for row in rows]
    assert sorted(axes) == [(1, False), (1, True), (2, False), (2, True)]
    tokens = {row["step"]: row["supervised_tokens"] for row in rows}
    assert tokens[2] == manifest["budget"]["supervised_tokens"] > tokens[1] > 0
    names = {row["metric"] for row in back.tables["eval/metrics"]}
    assert "eval/rouge_l" in names
    assert set(back.tables["eval/samples"][0]) == {"id", "scores"}

    lineage = {(each["type"], each["role"]) for each in manifest["artifacts"]}
    assert lineage == {("dataset", "input"), ("model", "output"), ("predictions", "output")}
    outputs = {each["digest"] for each in manifest["artifacts"] if each["type"] == "model"}
    (checkpoint, predictions) = read_manifest(evaluated)["artifacts"]
    assert (checkpoint["type"], checkpoint["role"]) == ("model", "input")
    assert checkpoint["digest"] in outputs
    assert {each["name"] for each in read_offline(evaluated).artifacts} == {predictions["name"]}

    texts = [
        text
        for row in read_jsonl(trained / "predictions.jsonl")
        for text in (row["instruction"], *row["references"].values())
    ]
    kept = [*(trained / "wandb").rglob("*"), *(tmp_path / "staged").rglob("*")]
    kept += [trained / "scores.jsonl", *(evaluated / "wandb").rglob("*")]
    assert len(texts) >= 4
    for path in kept:
        if path.is_file():
            left = path.read_bytes()
            assert not [text for text in texts if text.encode() in left], path


def _runs(folder: Path) -> list[Path]:
    assert manifests(folder)
    return [path.parent for path in folder.rglob("manifest.json")]
