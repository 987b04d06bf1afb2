"""Inventing instructions by the command line: plan, both recipes, a kill, an end before enough."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.support import SMALL_TEXT, Command, own_environment
from rouge_oracle import google_rouge_l
from understudy.lab.invention.seed_tasks import LabSeeds
from understudy.lab.server.app import lab_app
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.world import World
from understudy.records import read_jsonl

ROOT = Path(__file__).parents[2]
FILES = ("instructions.jsonl", "rejected.jsonl", "failures.jsonl", "rounds.jsonl")


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    """Of a lab server that takes its time, so that a run can be killed in the middle."""
    with running(lab_app(ServerConfig(World(), latency_seconds=0.05))) as url:
        yield url.rsplit(":", 1)[1].removesuffix("/v1")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(path))


def manifest_of(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return read


def require_novel(rows: list[dict[str, Any]]) -> None:
    """Each is new against all seeds and those before it, as rouge-score sees it."""
    pool = [str(row["instruction"]) for row in LabSeeds(World()).rows()]
    for row in rows:
        scores = google_rouge_l(row["instruction"], pool)
        assert max(scores) <= 0.7 + 1e-9
        assert row["most_similar"]["score"] == pytest.approx(max(scores), abs=1e-6)
        pool.append(row["instruction"])


def test_alpacas_way_from_the_plan_to_data_of_others(
    port: str, understudy: Command, tmp_path: Path
) -> None:
    run, again = (tmp_path / name for name in ("run", "again"))
    line = ["stage=selfinstruct", f"teacher.server={port}", "num_instructions=60"]
    planned = understudy(*line, "plan=true")
    assert planned.code == 0, planned.err
    assert "16 tasks a reply, 60% of them accepted" in " ".join(planned.out.split())
    assert not (tmp_path / "outputs").exists()

    done = understudy(*line, f"hydra.run.dir={run}")
    assert done.code == 0, done.err
    rows, rejected = rows_of(run / FILES[0]), rows_of(run / FILES[1])
    assert len(rows) == 60 == len({row["id"] for row in rows})
    require_novel(rows)
    manifest = manifest_of(run)
    assert manifest["metrics"]["selfinstruct/accepted"] == 60
    assert manifest["metrics"]["selfinstruct/candidates"] == 60 + sum(manifest["dropped"].values())
    for reason, count in manifest["dropped"].items():
        assert count == sum(each["reason"] == reason for each in rejected) > 0
    assert manifest["asking"]["params"] == {
        "temperature": 1.0, "top_p": 1.0, "max_tokens": 3072, "stop": ["\n20.", "\n20 ."]
    }  # fmt: skip
    assert list(manifest["asking"]["forms"]) == ["task_blocks"]

    assert understudy(*line, f"hydra.run.dir={again}").code == 0
    for name in FILES:
        assert (again / name).read_bytes() == (run / name).read_bytes(), name
    assert manifest_of(again)["asking"]["tally"]["asked"] == 0

    inspected = understudy(
        "stage=inspect", "data=alpaca_json", f"data.path={run / FILES[0]}", *SMALL_TEXT
    )
    assert inspected.code == 0, inspected.err
    collected = understudy(
        "stage=collect", "data=instructions", f"data.path={run}", f"teacher.server={port}",
        "plan=true",
    )  # fmt: skip
    assert collected.code == 0, collected.err
    assert "60" in collected.out


def test_self_instructs_way_killed_and_gone_on_with_equals_unbroken(
    port: str, understudy: Command, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    line = [
        "stage=selfinstruct", "recipe=self_instruct", f"teacher.server={port}",
        "num_instructions=70",
    ]  # fmt: skip
    done = understudy(*line, "ledger=whole.sqlite", f"hydra.run.dir={whole}")
    assert done.code == 0, done.err
    rows = rows_of(whole / FILES[0])
    manifest = manifest_of(whole)
    tasks = {row["instruction"] for row in rows}
    assert len(tasks) == manifest["metrics"]["selfinstruct/instances/tasks"]
    assert 70 - len(tasks) == manifest["dropped"]["instance/no_instance"]
    assert all(row["output"] and row["task"] in ("classification", "generation") for row in rows)
    assert len(manifest["asking"]["forms"]) == 4

    broken = [*line, "ledger=killed.sqlite", f"hydra.run.dir={killed}"]
    kill_after_rounds(2, killed, *broken)
    assert manifest_of(killed)["status"] == "running"
    resumed = understudy(*broken, "resume=auto")
    assert resumed.code == 0, resumed.err
    for name in FILES:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert manifest_of(killed)["asking"]["tally"]["cached"] >= 10


def kill_after_rounds(count: int, folder: Path, *line: str) -> None:
    """Starts the line in a process of its own, and kills it when so many rounds are over."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *line], cwd=folder.parent, env=own_environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    path = folder / "rounds.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    _, said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said


def test_too_few_say_so_and_the_line_that_ends_with_them_asks_nothing(
    port: str, understudy: Command, tmp_path: Path
) -> None:
    run, ended = tmp_path / "run", tmp_path / "ended"
    line = ["stage=selfinstruct", f"teacher.server={port}", "max_rounds=1"]
    done = understudy(*line, "num_instructions=500", f"hydra.run.dir={run}")
    assert done.code == 1
    (said,) = [each for each in done.err.splitlines() if "error" in each]
    rows = rows_of(run / FILES[0])
    assert f"{len(rows)} of 500 instructions: max_rounds=1 are over" in said
    assert f"num_instructions={len(rows)} ends with these" in said
    assert manifest_of(run)["status"] == "failed"

    line[-1] = f"num_instructions={len(rows)}"
    assert understudy(*line, f"hydra.run.dir={ended}").code == 0
    assert (ended / FILES[0]).read_bytes() == (run / FILES[0]).read_bytes()
    assert manifest_of(ended)["asking"]["tally"]["asked"] == 0


def test_what_cannot_work_is_one_line_and_leaves_nothing(
    port: str, understudy: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (tmp_path / "s.jsonl").write_text('{"instruction": "Name a colour."}\n')
    lines = {
        "seeds=FILE": ["teacher=gpt35"],
        "row 1 field 'output'": [f"teacher.server={port}", "seeds=s.jsonl"],
        "does not exist": [f"teacher.server={port}", "teacher.model=lab-nobody"],
        "min_acceptance=2": [f"teacher.server={port}", "min_acceptance=2"],
    }
    for said, more in lines.items():
        done = understudy("stage=selfinstruct", *more)
        assert done.code == 1, more
        errors = [each for each in done.err.splitlines() if "error" in each]
        assert len(errors) == 1, done.err
        assert said in errors[0]
    assert not list(tmp_path.rglob("manifest.json"))
    assert not list(tmp_path.rglob("*.sqlite"))
