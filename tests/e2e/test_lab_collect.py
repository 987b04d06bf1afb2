"""``tour=lab_collect``: what is collected over HTTP is the lab's own arms, and so are its students.

The fast test takes the tour's lines at a hundredth of their size, one by one. The slow ones take
the tour itself, killed on the way, and a small soak.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from e2e.support import SMALL_LAB, Command, manifests, own_environment
from understudy.app import conf_dir
from understudy.lab.server.app import lab_app
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World
from understudy.records import read_jsonl
from understudy.stages.tour_results import left_by
from understudy.stages.tour_steps import Step, planned_steps

ROOT = Path(__file__).parents[2]
NUM_ROWS = 120
FEW_ROWS = f"data.source.num_rows={NUM_ROWS}"
SMALL_STUDENTS = [each for each in SMALL_LAB if not each.startswith("data.source")]
ARMS = ("strong", "medium", "weak")


def steps(more: dict[str, str]) -> dict[str, Step]:
    values = OmegaConf.to_container(OmegaConf.load(conf_dir() / "tour" / "lab_collect.yaml"))
    assert isinstance(values, dict)
    named = {name: {**step, "more": more.get(name, "")} for name, step in values["steps"].items()}
    return {step.name: step for step in planned_steps(named, "", 1)}


def answers_in(run: Path) -> list[tuple[str, ...]]:
    fields = ("instruction", "input", "output")
    return [tuple(row[name] for name in fields) for row in read_jsonl(run / "answers.jsonl")]


def the_lab_s_own(teacher: str, num_rows: int = NUM_ROWS) -> list[tuple[str, ...]]:
    rows = LabTeacher(World(), teacher, num_rows=num_rows).read().rows
    return [(row.prompt.instruction, row.prompt.input, row.output) for row in rows]


def results(sweep: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What each job's student reached, by teacher and seed."""
    return {
        (each["teacher"], each["seed"]): {
            name: each["metrics"][name] for name in ("val/loss", "eval/lab_accuracy")
        }
        for each in manifests(sweep)
    }


def test_collected_arms_and_their_students_are_the_lab_s_own(
    understudy: Command, tmp_path: Path
) -> None:
    taken = steps({name: FEW_ROWS for name in ARMS})
    with running(lab_app(ServerConfig(World()))) as url:
        (tmp_path / "server").mkdir()
        (tmp_path / "server" / "endpoint.json").write_text(json.dumps({"base_url": url, "pid": 1}))
        for name in ARMS:
            line = taken[name].words(tmp_path)
            done = understudy(*line, f"hydra.run.dir={tmp_path / name}")
            assert done.code == 0, done.err
            assert answers_in(tmp_path / name) == the_lab_s_own(name)
    small = ["seed=1", "launcher=basic", *SMALL_STUDENTS]
    students = [*taken["students"].words(tmp_path), *small]
    assert understudy(*students, f"hydra.sweep.dir={tmp_path / 'students'}").code == 0
    quickstart = ["-m", "data=lab_strong,lab_medium,lab_weak", FEW_ROWS, *small]
    assert understudy(*quickstart, f"hydra.sweep.dir={tmp_path / 'quickstart'}").code == 0
    found = results(tmp_path / "students")
    assert set(found) == {(name, 1) for name in ARMS}
    assert found == results(tmp_path / "quickstart")
    assert len({each["val/loss"] for each in found.values()}) == 3
    report = json.loads((tmp_path / "students" / "report" / "report.json").read_text())
    assert {arm["name"] for arm in report["arms"]} == set(ARMS)
    assert report["refused"] == []
    left = left_by(tmp_path / "students")
    wanted = left.chosen(taken["students"], taken={})
    accuracies = [found[name, 1]["eval/lab_accuracy"] for name in ("strong", "weak")]
    gap = wanted["strong-weak/eval/lab_accuracy"]
    assert gap is not None
    assert gap == pytest.approx(accuracies[0] - accuracies[1])
    assert left.metrics["weak-strong/eval/lab_accuracy"] == pytest.approx(-gap)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_tour_that_is_killed_anywhere_goes_on(seed: int, tmp_path: Path) -> None:
    """SIGKILL, which no process can answer: the steps end by themselves, and nothing is lost."""
    rng = random.Random(seed)
    more = {name: f"{FEW_ROWS} teacher.max_concurrent=4" for name in ARMS}
    more |= {"server": "server.latency_seconds=0.2"}
    more |= {"students": f"seed=1 launcher=basic {' '.join(SMALL_STUDENTS)}"}
    folder = tmp_path / "tour"
    line = ["stage=tour", "tour=lab_collect", f"hydra.run.dir={folder}"]
    line += [f"tour.steps.{name}.more='{words}'" for name, words in more.items()]
    num_kills = 0
    while True:
        started = (folder / "config.yaml").is_file()
        code = _run_a_while(
            [f"resume={folder}"] if started else line,
            tmp_path, seconds=rng.uniform(5, 40) if num_kills < 4 else None,
        )  # fmt: skip
        if code == 0:
            break
        assert code == -signal.SIGKILL
        num_kills += 1
    metrics = json.loads((folder / "manifest.json").read_text())["metrics"]
    for name in ARMS:
        assert answers_in(folder / name) == the_lab_s_own(name)
    assert metrics["serve/replied"] >= 3 * NUM_ROWS
    assert metrics["serve/asked_twice"] <= num_kills * 2 * 4
    assert set(results(folder / "students")) == {(name, 1) for name in ARMS}
    assert metrics["strong/eval/lab_accuracy"] is not None


def _run_a_while(words: list[str], folder: Path, *, seconds: float | None) -> int:
    """A line's exit code; it is killed, but not its children, when the time is over."""
    log = folder / "said.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *words], cwd=folder, env=own_environment(),
            stdout=stream, stderr=stream,
        )  # fmt: skip
    end = time.monotonic() + (600 if seconds is None else seconds)
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    code = process.wait()
    assert code in (0, -signal.SIGKILL), log.read_text()[-2000:]
    return code


@pytest.mark.slow
def test_a_small_soak_holds(tmp_path: Path) -> None:
    """As ``bench/soak.py`` does it in full: faults, three kills, every row and cent compared."""
    out = tmp_path / "soak.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "soak.py"), "--requests", "1500", "--out", str(out)],
        env=own_environment(), capture_output=True, text=True, timeout=590, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(out.read_text())
    assert content["failed"] == []
    assert [part["ended"] for part in content["parts"]] == ["killed"] * 3 + ["0"]
    found = content["found"]
    assert found["rows"] == found["replies in the ledger"] == 1500
    assert sum(found["faults"].values()) > 0
    assert found["ledger, picodollars"] == found["server, the same replies"] > 0
