"""An arm collected through the Batch API, saved, and trained on from what was saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from e2e.support import SMALL_TEXT, Command
from understudy.lab.server.app import lab_app
from understudy.lab.server.serving import running
from understudy.lab.server.settings import BatchTimes, ServerConfig
from understudy.lab.world import World

PRICES = {"lab-strong": {"input": 30.0, "output": 60.0}}


@pytest.fixture
def port() -> Iterator[int]:
    """Where a lab server listens whose batches take a moment."""
    config = ServerConfig(World(), prices=PRICES, batches=BatchTimes(0.0, 0.1))
    with running(lab_app(config)) as url:
        found = urlsplit(url).port
        assert found is not None
        yield found


def test_a_batch_becomes_an_arm_the_arm_a_data_set_and_that_a_model(
    understudy: Command, port: int, tmp_path: Path
) -> None:
    collect = (
        "stage=collect", "data=lab_strong", "data.source.num_rows=40", "teacher=lab_strong",
        f"teacher.server={port}", "batch=true", "asker.batches.poll_seconds=0.05",
    )  # fmt: skip
    plan = understudy(*collect, "plan=true")
    assert "Batch API" in plan.out
    assert plan.code == 0, plan.err
    done = understudy(*collect, "budget_usd=5", "hydra.run.dir=arm")
    assert done.code == 0, done.err
    arm = json.loads((tmp_path / "arm/arm.json").read_text())
    assert arm["counts"]["rows"] == 40
    tokens = arm["tokens"]
    full = (30 * tokens["prompt"] + 60 * tokens["completion"]) / 1e6
    assert arm["usd"]["arm"] == pytest.approx(full / 2)
    refused = understudy("stage=push", "run=arm", "repo=me/arm", "hydra.run.dir=refused")
    assert refused.code != 0
    assert "export HF_TOKEN=TOKEN" in refused.err
    assert not (tmp_path / "refused").exists()
    planned = understudy("stage=push", "run=arm", "plan=true")
    assert "the rows of" in planned.out
    saved = understudy("stage=push", "run=arm", "path=data_set", "license=mit")
    assert saved.code == 0, saved.err
    card = (tmp_path / "data_set/README.md").read_text()
    assert "| through the Batch API | yes |" in card
    assert "This comes from the lab" in card
    trained = understudy(
        "data=alpaca_json", "data.path=data_set/data/train.parquet", "data.teacher=strong",
        *SMALL_TEXT, "hydra.run.dir=student",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    saved = understudy("stage=push", "run=student", "path=model")
    assert saved.code == 0, saved.err
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.config.vocab_size >= len(AutoTokenizer.from_pretrained(tmp_path / "model"))
    card = (tmp_path / "model/README.md").read_text()
    assert "answers of strong" in card
    assert "This comes from the lab" in card
