"""``stage=tour``: several command lines as one run, resumed after the one that failed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from e2e.support import Command, manifests, write_rows
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World
from understudy.records import InputError, read_jsonl
from understudy.stages.tour_steps import planned_steps

FIRST: dict[str, Any] = {"line": "stage=score answers=a.json", "metrics": ["eval/rouge_l"]}


def rows(output: str) -> list[dict[str, str]]:
    return [{"instruction": "Say it.", "input": "", "output": output, "reference": "a b c d"}]


def tour(steps: dict[str, Any], folder: Path, *, side_by_side: int = 1) -> list[str]:
    """The line of a tour that exists in no file; the rest of the line is the stage's own."""
    conf = OmegaConf.create({"steps": steps, "side_by_side": side_by_side})
    (folder / "conf" / "tour").mkdir(parents=True, exist_ok=True)
    OmegaConf.save(conf, folder / "conf" / "tour" / "own.yaml")
    return [
        "stage=tour", "tour=own", f"hydra.searchpath=[file://{folder / 'conf'}]",
        "hydra.run.dir=the tour",
    ]  # fmt: skip


def test_a_tour_ends_at_the_step_that_fails_and_goes_on_after_it(
    understudy: Command, tmp_path: Path
) -> None:
    """Folder names with a space are quoted; a finished step is not taken again."""
    write_rows(tmp_path / "a.json", rows("a b c d"))
    steps = {
        "first": FIRST,
        "second": {
            "line": "stage=score answers={first}/predictions.jsonl",
            "more": "fields.output=output fields.reference=answer",
        },
    }
    line = tour(steps, tmp_path)
    failed = understudy(*line)
    folder = tmp_path / "the tour"
    assert failed.code == 1
    assert "step second failed with exit code 1" in failed.err
    assert "predictions.jsonl" in failed.err
    assert f"resume={folder}" in failed.err
    (own,) = (m for m in manifests(folder) if m["stage"] == "tour")
    assert own["status"] == "failed"
    first = json.loads((folder / "first" / "manifest.json").read_text())
    assert first["metrics"]["eval/rouge_l"] == 1

    mended = json.dumps({**rows("a b")[0], "answer": "a b"})
    (folder / "first" / "predictions.jsonl").write_text(mended + "\n")
    again = understudy(f"resume={folder}", f"hydra.searchpath=[file://{tmp_path / 'conf'}]")
    assert again.code == 0, again.err
    own = json.loads((folder / "manifest.json").read_text())
    assert own["status"] == "finished"
    assert own["metrics"] == {"eval/rouge_l": 1.0}
    steps_taken = [json.loads(row) for row in (folder / "steps.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps_taken] == ["first", "second"]
    assert steps_taken[0]["run_id"] == first["id"] == own["parents"][0]
    assert json.loads((folder / "first" / "manifest.json").read_text()) == first


def test_the_plan_shows_every_line_with_its_folders(understudy: Command, tmp_path: Path) -> None:
    steps = {"first": FIRST, "second": {"line": "stage=score answers={first}/x.json"}}
    done = understudy(*tour(steps, tmp_path), "plan=true", "seed=7")
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    assert "python run.py seed=7" in words
    assert "answers=TOUR/first/x.json" in words
    assert not (tmp_path / "the tour").exists()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({}, "has no steps"),
        ({"a": {"metrics": ["x"]}}, "step a of the tour: has no line"),
        ({"a": {"line": "stage=sft", "befor": ["x"]}}, "befor"),
        ({"a-b": {"line": "stage=sft"}}, "a-b"),
        ({"a": {"line": "model.path={b}"}, "b": {"line": "stage=sft"}}, "waits for 'b'"),
        ({"a": {"line": "stage=sft", "after": ["a"]}}, "waits for 'a'"),
    ],
)
def test_a_tour_that_cannot_be_taken_is_refused(steps: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        planned_steps(steps, "", 1)


def test_a_step_waits_for_all_before_it_unless_told_otherwise() -> None:
    steps: dict[str, Any] = {
        "a": {"line": "stage=sft"},
        "b": {"line": "model.path={a}", "after": []},
        "c": {"line": "stage=x", "after": []},
        "d": {"line": "stage=y"},
    }
    planned = planned_steps(steps, "seed=1", 2)
    assert [step.needs for step in planned] == [set(), {"a"}, set(), {"a", "b", "c"}]
    assert planned[1].words(Path("/t t")) == ["seed=1", "model.path='/t t/a'"]
    with pytest.raises(InputError, match="side_by_side=0"):
        planned_steps(steps, "", 0)


SWEEP: dict[str, Any] = {"line": "-m stage=score answers=a.json,b.json", "after": []}


def test_a_step_may_be_a_sweep_whose_report_has_the_metrics(
    understudy: Command, tmp_path: Path
) -> None:
    """The jobs lie in the step's folder; a folder of an earlier step stands in a list of them."""
    write_rows(tmp_path / "a.json", rows("a b c d"))
    write_rows(tmp_path / "b.json", rows("a b"))
    swept = {**SWEEP, "metrics": ["a.json/eval/rouge_l", "a.json-b.json/eval/rouge_l"]}
    line = tour({"swept": swept}, tmp_path)
    done = understudy(*line)
    assert done.code == 0, done.err
    folder = tmp_path / "the tour"
    own = json.loads((folder / "manifest.json").read_text())
    jobs = [json.loads((folder / "swept" / n / "manifest.json").read_text()) for n in "01"]
    worse = jobs[1]["metrics"]["eval/rouge_l"]
    both = {"a.json/eval/rouge_l": 1.0, "a.json-b.json/eval/rouge_l": pytest.approx(1 - worse)}
    assert own["metrics"] == both
    assert 0 < worse < 1
    assert own["parents"] == [job["id"] for job in jobs]
    (row,) = [json.loads(row) for row in (folder / "steps.jsonl").read_text().splitlines()]
    assert (row["run_id"], row["run_ids"]) == (None, own["parents"])
    assert row["started"] == min(job["started"] for job in jobs)
    page = " ".join(done.out.split()).replace(" ", "")
    assert f"{folder}/swept/report/report.html".replace(" ", "") in page


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            {"a": {"line": "stage=serve", "service": True}},
            "step a of the tour is a service that no step refers to",
        ),
        ({"tour": {"line": "stage=sft"}}, "'tour' of the tour: give another name"),
    ],
)
def test_a_service_that_nobody_needs_is_refused(steps: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        planned_steps(steps, "", 1)


def test_a_step_waits_for_a_service_only_where_it_refers_to_it() -> None:
    """What a line says itself counts, not what all have in common; folders in a list are each."""
    steps: dict[str, Any] = {
        "serving": {"line": "stage=serve", "service": True},
        "asking": {"line": "stage=collect teacher.server={serving} ledger={tour}/l.sqlite"},
        "training": {"line": "-m seed=1,2 data.path={asking},{asking}/b"},
        "beside": {"line": "stage=x", "after": ["serving"]},
    }
    planned = planned_steps(steps, "seed=0 output_dir=o", 1)
    assert [step.needs for step in planned] == [set(), {"serving"}, {"asking"}, {"serving"}]
    assert planned[1].words(Path("/t t"))[-1] == "ledger='/t t/l.sqlite'"
    assert planned[2].words(Path("/t t")) == [
        "-m", "output_dir=o", "seed=1,2", "data.path='/t t/asking','/t t/asking/b'",
    ]  # fmt: skip


SERVING: dict[str, Any] = {"line": "stage=serve server.port=0", "service": True}
ASKING = (
    "stage=collect teacher=lab_medium teacher.server={serving} data=lab_medium "
    "ledger={tour}/ledger.sqlite data.source.num_rows=40 limit=40"
)


@pytest.mark.parametrize(
    ("dies", "said"),
    [
        ("serving", "step serving ended with exit code -9 while other steps needed it"),
        pytest.param("asking", "step asking failed with exit code -9", marks=pytest.mark.slow),
    ],
)
def test_a_service_ends_with_its_tour_and_starts_again_with_it(
    dies: str, said: str, understudy: Command, tmp_path: Path
) -> None:
    """It ends well when nobody needs it any more; what it had answered is not asked again."""
    slow = {**SERVING, "line": f"{SERVING['line']} server.latency_seconds=0.5"}
    steps = {
        "serving": {**slow, "metrics": ["serve/requests", "serve/asked_twice"]},
        "asking": {"line": f"{ASKING} teacher.max_concurrent=4"},
    }
    folder = tmp_path / "the tour"
    killer = threading.Thread(target=_kill_when_asked, args=(folder, dies))
    killer.start()
    failed = understudy(*tour(steps, tmp_path))
    killer.join()
    assert failed.code == 1
    assert said in failed.err
    bills = folder / "serving" / "bills.jsonl"
    answered = [json.loads(line) for line in bills.read_text().splitlines()]
    assert 1 < len(answered) < 40

    again = understudy(f"resume={folder}", f"hydra.searchpath=[file://{tmp_path / 'conf'}]")
    assert again.code == 0, again.err
    metrics = json.loads((folder / "manifest.json").read_text())["metrics"]
    assert metrics["serve/asked_twice"] <= 4
    assert metrics["serve/requests"] <= 40 + 4 + 1
    serving = json.loads((folder / "serving" / "manifest.json").read_text())
    assert serving["status"] == "finished"
    assert len(serving["resumed"]) == (dies == "serving")
    earlier = folder / "serving" / "manifest_1.json"  # it had ended well, so this is another run
    assert earlier.is_file() == (dies == "asking")
    expected = LabTeacher(World(), "medium", num_rows=40).read().rows
    collected = list(read_jsonl(folder / "asking" / "answers.jsonl"))
    assert [row["output"] for row in collected] == [row.output for row in expected]
    order = [json.loads(row) for row in (folder / "steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in order] == ["serving", "asking"]
    assert order[0]["finished"] > order[1]["finished"]


def _kill_when_asked(folder: Path, step: str) -> None:
    bills = folder / "serving" / "bills.jsonl"
    for _ in range(30_000):
        if bills.is_file() and bills.read_bytes().count(b"\n") > 1:
            holder = (folder / step / ".lock").read_text()  # "process 42 on HOST"
            os.kill(int(holder.split()[1]), signal.SIGKILL)
            return
        time.sleep(0.01)
