"""``experiment=lab_reward``: from a policy to its best answers, the lines of the tour as they ship.

The fast test takes every step at a hundredth of its size and holds what is true at any size. The
slow ones take the tour itself and hold what a reward model must reach where all answers are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from e2e.support import Command
from understudy.app import conf_dir
from understudy.comparisons import comparison_from_json
from understudy.lab.comparisons import LabComparisons
from understudy.lab.world import World
from understudy.records import read_jsonl
from understudy.samples import SAMPLED, read_samples
from understudy.stages.tour_steps import planned_steps

SMALL = {
    "sft": "data.source.num_rows=300 data.num_val=20 questions.num_test=21 trainer.max_steps=30 "
    "trainer.batch_size=32 model.config.hidden_size=32 model.config.num_hidden_layers=2 "
    "model.config.intermediate_size=32",
    "own_samples": "questions.num_questions=40 n=2",
    "samples": "",
    "reward": "data.source.num_prompts=120 data.num_val=12 trainer.max_steps=4",
    "rank": "",
    "curve": "",
}


def tour_of(name: str, more: Mapping[str, str], seed: int) -> list[Any]:
    values = OmegaConf.to_container(OmegaConf.load(conf_dir() / "tour" / f"{name}.yaml"))
    assert isinstance(values, dict)
    steps = {key: {**step, "more": more[key]} for key, step in values["steps"].items()}
    return planned_steps(steps, f"seed={seed}", 1)


def manifest(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return read


def ceiling(reward_run: Path) -> float:
    rows = [comparison_from_json(row) for row in read_jsonl(reward_run / "comparisons.jsonl")]
    best = LabComparisons(World()).ceiling(rows)
    assert best is not None
    return best


def test_every_step_of_the_road_leads_to_the_next(understudy: Command, tmp_path: Path) -> None:
    steps = tour_of("lab_reward", SMALL, seed=3)
    for step in steps:
        done = understudy(*step.words(tmp_path), f"hydra.run.dir={tmp_path / step.name}")
        assert done.code == 0, f"{step.name}: {done.err}"
        metrics = manifest(tmp_path / step.name)["metrics"]
        assert set(step.metrics) <= set(metrics)
    own = read_samples(tmp_path / "own_samples")
    assert len(own) == 80
    reward = manifest(tmp_path / "reward")
    assert str(tmp_path / "own_samples" / "samples.jsonl") in {f["path"] for f in reward["inputs"]}
    scores = list(read_jsonl(tmp_path / "reward" / "reward_scores.jsonl"))
    assert {row["source"] for row in scores} <= {
        "strong_terse", "medium", "weak", "random", "policy",
    }  # fmt: skip
    assert 0 < ceiling(tmp_path / "reward") <= 1
    _hold_ranks(tmp_path)


def _hold_ranks(folder: Path) -> None:
    """What ranks are at any size, whatever the reward model has learned."""
    rank, curve = manifest(folder / "rank")["metrics"], manifest(folder / "curve")["metrics"]
    proxies = [rank[f"rank/proxy/R{k}"] for k in range(1, 6)]
    assert proxies == sorted(proxies, reverse=True)
    golds = [rank[f"rank/gold/R{k}"] for k in range(1, 6)]
    first_five: dict[str, list[float]] = {}
    for each in read_samples(folder / "samples"):
        if each.prediction.decoding == SAMPLED and each.sample < 5:
            gold = each.prediction.scores["eval/lab_gold@sample"]
            assert gold is not None
            first_five.setdefault(each.key.id, []).append(gold)
    means = [sum(golds_of) / 5 for golds_of in first_five.values()]
    assert sum(golds) / 5 == pytest.approx(sum(means) / len(means))
    rising = [curve[f"best_of_n/{n}/proxy"] for n in (1, 2, 4, 16)]
    assert rising == sorted(rising)
    assert curve["best_of_n/1/gold"] == pytest.approx(curve["rank/gold/mean"])


@pytest.mark.slow
def test_the_lab_s_reward_model_ranks(understudy: Command, tmp_path: Path) -> None:
    """The real thing, one seed: three seeds and their intervals are in docs/lab_reward.md."""
    done = understudy("experiment=lab_reward", "seed=1", f"hydra.run.dir={tmp_path / 'tour'}")
    assert done.code == 0, done.err
    folder = tmp_path / "tour"
    metrics = manifest(folder)["metrics"]
    assert metrics["reward/accuracy"] >= 0.80
    assert metrics["reward/accuracy"] > metrics["baseline/longer_wins"]
    assert metrics["reward/accuracy"] <= ceiling(folder / "reward") + 0.03
    reward = manifest(folder / "reward")["metrics"]
    pairs = "reward/accuracy_by_sources/"
    assert reward[f"{pairs}strong_terse vs weak"] > reward[f"{pairs}medium vs policy"]
    gaps = [reward[f"reward/accuracy_by_gap/{gap}"] for gap in ("0-1", "3-5", "5-9")]
    assert gaps == sorted(gaps)
    rank = json.loads((folder / "rank" / "ranks.json").read_text(encoding="utf-8"))
    gained = {row["name"]: row for row in rank["differences"]["gold"]}
    assert gained["R1-mean"]["mean"] >= 0.03
    for name in ("R1-mean", "R1-R5", "R1-B", "B-R5"):
        assert gained[name]["low"] > 0, name
    _hold_ranks(folder)


@pytest.mark.slow
def test_shuffled_labels_teach_nothing(understudy: Command, tmp_path: Path) -> None:
    """The control: without a policy's samples, on the body of a fresh model, 200 steps."""
    done = understudy(
        "experiment=lab_reward_model", "model=lab", "data=lab_comparisons_shuffled",
        "trainer.max_steps=200", "seed=1", f"hydra.run.dir={tmp_path / 'reward'}",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert manifest(tmp_path / "reward")["metrics"]["reward/accuracy"] == pytest.approx(
        0.5, abs=0.05
    )
