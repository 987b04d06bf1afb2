"""Run folders come back as they were left, and what is broken is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.records import InputError
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]


def edit_manifest(folder: Path, **changes: object) -> None:
    """Changes keys of a manifest that was written."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_run_comes_back(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "a" / "b", num_questions=14)
    (run,) = load_runs(tmp_path).runs
    assert (run.id, run.path, run.seed, run.stage) == ("strong-1", "a/b", 1, "sft")
    assert run.arm == "data=lab_strong,experiment=quickstart"
    assert run.dropped == {"empty_output": 2, "too_long": 1}
    assert sorted(run.baselines) == ["base", "teacher strong"]
    assert len(run.items["eval/lab_accuracy"]) == 14
    assert len(run.items["eval/lab_accuracy/first"]) == 2
    assert set(run.items["eval/undefined"].values()) == {None}
    assert {"step", "train/loss", "val/loss"} <= set(run.history.columns)


def test_several_answers_to_a_question_count_as_their_mean(tmp_path: Path, add_run: AddRun) -> None:
    folder = add_run(tmp_path / "run", num_questions=1)
    scores: list[float | None] = [1.0, 0.0, None, float("nan")]
    rows = [{"id": "q", "scores": {"eval/x": score}} for score in scores]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
    (run,) = load_runs(tmp_path).runs
    assert run.items == {"eval/x": {"q": 0.5}}


def test_failed_running_and_missing_jobs_are_named(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0")
    add_run(tmp_path / "1", status="failed", error="ValueError: loss is NaN")
    add_run(tmp_path / "2", status="running", seed=4)
    (tmp_path / "10" / ".hydra").mkdir(parents=True)
    loaded = load_runs(tmp_path)
    assert [run.path for run in loaded.runs] == ["0"]
    named = [(job.path, job.seed, job.status) for job in loaded.failed_jobs]
    assert named == [("1", 1, "failed"), ("2", 4, "running"), ("10", None, "missing")]
    assert loaded.failed_jobs[0].error == "ValueError: loss is NaN"
    assert "killed" in loaded.failed_jobs[1].error


def test_the_sweep_file_names_jobs_that_left_nothing(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0")
    (tmp_path / "1").mkdir()
    jobs = [["data=a", "seed=1"], ["+x=NULL", "data=b", "seed=1"], ["data=b", "++seed=2"]]
    sweep = {"sweep_id": "s", "num_jobs": 4, "jobs": jobs}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep), encoding="utf-8")
    failed = load_runs(tmp_path).failed_jobs
    named = [(job.path, job.arm, job.seed) for job in failed]
    assert sorted(named) == [("1", "data=b,x=null", 1), ("2", "data=b", 2), ("3", "", None)]
    errors = {job.path: job.error for job in failed}
    assert "no manifest" in errors["1"]
    assert "never started" in errors["2"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not readable JSON"),
        ("[]", "holds list"),
        ("{}", "no valid 'id'"),
    ],
)
def test_a_broken_manifest_is_named(tmp_path: Path, add_run: AddRun, text: str, named: str) -> None:
    add_run(tmp_path / "0")
    folder = add_run(tmp_path / "1")
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    loaded = load_runs(tmp_path)
    assert len(loaded.runs) == 1
    (job,) = loaded.failed_jobs
    assert (job.path, job.status) == ("1", "unreadable")
    assert named in job.error


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": "one"}, "'seed'"),
        ({"status": "resting"}, "resting"),
        ({"metrics": {"val/loss": "low"}}, "not a number: 'low'"),
        ({"budget": 3}, "'budget'"),
        ({"budget": {"kind": "examples", "examples": "64"}}, "'budget.examples': '64'"),
        ({"budget": {"kind": "steps", "steps": float("nan")}}, "'budget.steps': nan"),
        ({"budget": {"kind": 3}}, "'budget.kind'"),
        ({"comparable": "aa"}, "'comparable'"),
        ({"comparable": {"prompts": ["aa"]}}, "'comparable.prompts'"),
        ({"dropped": {"too_long": "2"}}, "'dropped.too_long'"),
        ({"reasons": {"val/loss": 1}}, "'reasons.val/loss'"),
        ({"overrides": [1]}, "'overrides.0'"),
        ({"arm": None}, "'arm'"),
    ],
)
def test_a_manifest_with_a_wrong_value_is_named(
    tmp_path: Path, add_run: AddRun, changes: dict[str, object], named: str
) -> None:
    edit_manifest(add_run(tmp_path / "0"), **changes)
    loaded = load_runs(tmp_path)
    (job,) = loaded.failed_jobs
    assert named in job.error
    assert loaded.runs == ()
    assert (job.path, job.status) == ("0", "unreadable")
    assert job.arm == ("" if "arm" in changes else "data=lab_strong,experiment=quickstart")


def test_a_finished_run_without_its_predictions_is_no_seed(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0")
    (add_run(tmp_path / "1", seed=2) / "predictions.jsonl").unlink()
    loaded = load_runs(tmp_path)
    assert [run.seed for run in loaded.runs] == [1]
    (job,) = loaded.failed_jobs
    assert (job.path, job.seed, job.status) == ("1", 2, "incomplete")
    assert job.error == "finished, but its predictions.jsonl is missing"


@pytest.mark.parametrize(
    "text", ["{\n", '{"id": "q"}\n', "[1]\n", '{"id": "q", "scores": {"a": "b"}}\n']
)
def test_broken_predictions_are_named(tmp_path: Path, add_run: AddRun, text: str) -> None:
    folder = add_run(tmp_path / "0")
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
    (job,) = load_runs(tmp_path).failed_jobs
    assert (job.arm, job.seed) == ("data=lab_strong,experiment=quickstart", 1)
    assert "1" in job.error
    assert "predictions.jsonl" in job.error


def test_broken_histories_are_problems_of_a_run_that_counts(
    tmp_path: Path, add_run: AddRun
) -> None:
    folder = add_run(tmp_path / "0")
    (folder / "metrics.csv").write_text("", encoding="utf-8")
    (run,) = load_runs(tmp_path).runs
    assert run.history.empty
    assert "metrics.csv" in run.problems[0]


@pytest.mark.parametrize("value", [float("inf"), 10**400])
def test_infinite_metrics_are_null(tmp_path: Path, add_run: AddRun, value: float) -> None:
    edit_manifest(add_run(tmp_path / "0"), metrics={"val/loss": value})
    (run,) = load_runs(tmp_path).runs
    assert run.metrics == {"val/loss": None}


def test_reports_and_runs_without_numbers_are_no_arms(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "a", stage="report")
    folder = add_run(tmp_path / "b", stage="inspect")
    edit_manifest(folder, metrics={})
    (folder / "predictions.jsonl").unlink()
    assert load_runs(tmp_path).runs == ()
    assert load_runs(tmp_path).failed_jobs == ()


def test_a_folder_without_runs_is_empty_and_a_missing_one_refused(tmp_path: Path) -> None:
    assert load_runs(tmp_path).runs == ()
    with pytest.raises(InputError, match="no such folder; type runs="):
        load_runs(tmp_path / "typo")


def test_losses_on_teachers_answers_are_item_scores_like_any(
    tmp_path: Path, add_run: AddRun
) -> None:
    add_run(tmp_path / "new", num_questions=7, losses={"strong": 0.2, "weak": 0.9})
    add_run(tmp_path / "old", num_questions=7, id="old")
    new, old = load_runs(tmp_path).runs
    assert len(new.items["eval/loss/weak"]) == 40
    assert new.items["eval/loss/weak"]["h000"] is None
    difference = (new.items["eval/loss/weak"]["h001"] or 0) - 0.9
    assert new.baselines["base"]["eval/loss/strong"]["h001"] == pytest.approx(5 + difference)
    assert "eval/lab_accuracy" in new.baselines["base"]
    assert sorted(new.baselines) == ["base", "teacher strong"]
    assert not any(metric.startswith("eval/loss/") for metric in old.items)


def test_losses_of_a_run_that_asked_no_base_still_have_the_base(
    tmp_path: Path, add_run: AddRun
) -> None:
    folder = add_run(tmp_path / "0", num_questions=7, losses={"strong": 0.2})
    (folder / "baselines.jsonl").unlink()
    (run,) = load_runs(tmp_path).runs
    assert list(run.baselines["base"]) == ["eval/loss/strong"]


def test_what_cannot_change_a_result_makes_no_other_arm(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a,output_dir=/x,tracking.mode=offline,threads=1")
    add_run(tmp_path / "1", arm="data=a,data.local.a=/y,data.peers=[b],name=z", seed=2)
    assert {run.arm for run in load_runs(tmp_path).runs} == {"data=a"}


def test_a_sweep_says_what_it_asks(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "one" / "0")
    for name, ask in (("one", ["prompts", "budget"]), ("two", ["budget", "template"])):
        (tmp_path / name).mkdir(exist_ok=True)
        announced = {"jobs": [["data=a"]], "ask": ask}
        (tmp_path / name / "sweep.json").write_text(json.dumps(announced), encoding="utf-8")
    assert load_runs(tmp_path / "one").ask == ("prompts", "budget")
    assert load_runs(tmp_path).ask == ("prompts", "budget", "template")
    (tmp_path / "two" / "sweep.json").write_text("{", encoding="utf-8")
    assert load_runs(tmp_path / "two").ask == ()
