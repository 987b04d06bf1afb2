"""Which runs are one arm, which stand in another's place, and what arms are called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.report.arms import group_arms
from understudy.report.compare import compare
from understudy.report.read.frame import load
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]
EARLY, LATE = "2026-11-20T10:00:00.000+00:00", "2026-11-21T10:00:00.000+00:00"


def files(*digests: str) -> dict[str, object]:
    """What a manifest says of the files that a run read."""
    return {"inputs": [{"path": f"data/{one}.json", "sha256": one, "rows": 9} for one in digests]}


def test_runs_on_other_files_are_arms_called_by_their_files(
    tmp_path: Path, add_run: AddRun
) -> None:
    for number, (name, other) in enumerate((("first", "second"), ("second", "first"))):
        for seed in (1, 2):
            add_run(tmp_path / f"{name}{seed}", seed=seed, num_questions=14,
                    started=(EARLY, LATE)[number], extra=files(name, other))  # fmt: skip
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert sorted(row.name for row in found.arms) == ["lab_strong, first", "lab_strong, second"]
    assert [row.entry.seeds for row in found.arms] == [(1, 2), (1, 2)]
    assert found.superseded == ()
    assert {one.metric for one in found.differences} >= {"eval/rouge_l"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"comparable": {"prompts": "bb" * 32}},
         ["lab_strong, prompts aaaaaaaa", "lab_strong, prompts bbbbbbbb"]),
        ({"extra": {"contamination": {"mode": "drop", "exact": 5, "near": 0}}},
         ["lab_strong", "lab_strong #2"]),
    ],
)  # fmt: skip
def test_a_run_that_learned_otherwise_supersedes_none(
    tmp_path: Path, add_run: AddRun, changes: dict[str, object], names: list[str]
) -> None:
    clean = {"contamination": {"mode": "off", "exact": 5, "near": 0}}
    add_run(tmp_path / "0", started=EARLY, num_questions=14, extra=clean)
    add_run(tmp_path / "1", **{"started": LATE, "num_questions": 14, "extra": clean, **changes})
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert found.superseded == ()
    assert sorted(row.name for row in found.arms) == names
    refused = {reason.partition(":")[0] for pair in found.refused for reason in pair.reasons}
    assert refused == ({"prompts"} if "comparable" in changes else set())


def test_the_same_files_again_supersede_and_the_terminal_can_say_so(
    tmp_path: Path, add_run: AddRun
) -> None:
    add_run(tmp_path / "0", started=EARLY, num_questions=14, extra=files("a", "b"))
    add_run(tmp_path / "1", started=LATE, num_questions=14, extra=files("a", "b"))
    add_run(tmp_path / "2", seed=2, num_questions=14)  # of a version that recorded no files
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert [row.name for row in found.arms] == ["lab_strong"]
    assert [run.path for run in found.superseded] == ["0"]
    assert "1 run is superseded by a later one of the same arm and seed: 0." in found.notes
    table = load(tmp_path)
    assert table["status"].tolist() == ["superseded", "finished", "finished"]
    assert table["arm"].tolist() == ["lab_strong"] * 3


def test_evaluations_of_other_checkpoints_and_windows_are_arms(
    tmp_path: Path, add_run: AddRun
) -> None:
    own = ["stage=evaluate", "seed=1"]
    asked = {
        "plain": [*own, "model.path=runs/a"],
        "last": [*own, "model.path=runs/a/checkpoints/last"],
        "best": [*own, "model.path=runs/a/checkpoints/best/"],
        "short": [*own, "model.path=runs/a", "prompt.max_length=60"],
    }
    for name, overrides in asked.items():
        add_run(tmp_path / name, arm="data=a", stage="evaluate", overrides=overrides,
                num_questions=14, extra={"parents": ["a-1"]})  # fmt: skip
    arms, superseded = group_arms(load_runs(tmp_path).runs)
    assert sorted(arm.name for arm in arms) == ["a, best", "a, last", "a, max_length=60, last"]
    assert [run.path for run in superseded] == ["last"]  # which is what a run folder means


def test_arms_of_other_experiments_are_named_as_in_their_own_sweep(
    tmp_path: Path, add_run: AddRun
) -> None:
    sweeps = {
        "lengths": ("data.max_length_ratio", (1.5, 2)),
        "rows": ("data.num_examples", (100, 200)),
    }
    for sweep, (key, values) in sweeps.items():
        for teacher in ("strong", "weak"):
            for value in values:
                add_run(tmp_path / sweep / f"{teacher}{value}", num_questions=7, teacher=teacher,
                        arm=f"data={teacher},experiment={sweep},{key}={value}",
                        extra={"sweep_id": f"id of {sweep}"})  # fmt: skip
    arms, _ = group_arms(load_runs(tmp_path).runs)
    alone = {sweep: group_arms(load_runs(tmp_path / sweep).runs)[0] for sweep in sweeps}
    expected = [f"{sweep}: {arm.name}" for sweep, found in alone.items() for arm in found]
    assert sorted(arm.name for arm in arms) == sorted(expected)
    assert len(expected) == 8
    assert not any("experiment" in name or "default" in name for name in expected)


def test_a_sweep_that_adds_a_teacher_needs_no_name(tmp_path: Path, add_run: AddRun) -> None:
    for number, teacher in enumerate("abc"):
        add_run(tmp_path / teacher, num_questions=7, arm=f"data={teacher},experiment=x",
                extra={"sweep_id": f"sweep {number // 2}"})  # fmt: skip
    arms, _ = group_arms(load_runs(tmp_path).runs)
    assert [arm.name for arm in arms] == ["a", "b", "c"]


@pytest.mark.parametrize(("second", "first"), [("y", ("x", "y")), ("x", ("1", "2"))])
def test_sweeps_without_an_experiment_have_the_name_of_runs_or_folder(
    tmp_path: Path, add_run: AddRun, second: str, first: tuple[str, str]
) -> None:
    for folder, name, model in (("1", "x", "small"), ("2", second, "large")):
        for teacher in "ab":
            add_run(tmp_path / folder / teacher, num_questions=7,
                    arm=f"data={teacher},model={model}",
                    extra={"sweep_id": folder, "name": name})  # fmt: skip
    arms, _ = group_arms(load_runs(tmp_path).runs)
    assert {arm.name for arm in arms} == {f"{name}: {one}" for name in first for one in "ab"}


def test_a_base_of_arms_with_nothing_short_in_common_is_called_by_the_first(
    tmp_path: Path, add_run: AddRun
) -> None:
    for arm, model in (("data=a,x.n=1,y.m=2", "s"), ("data=b,x.n=1,y.m=2", "s"),
                       ("data=a,model=l,x.n=1,y.m=2", "l")):  # fmt: skip
        add_run(tmp_path / arm, arm=arm, num_questions=7, comparable={"base_model": model})
    names = [row.name for row in compare(load_runs(tmp_path), num_resamples=20).baselines]
    assert names[:2] == ["base of a l", "base of a and 1 more"]


def test_collected_arms_are_called_by_their_teachers_unless_two_are_of_one(
    tmp_path: Path, add_run: Callable[..., Path]
) -> None:
    for run, teacher in (("a", "gpt4"), ("b", "gpt35")):
        arm = f"data=collected,data.path=runs/{run}"
        add_run(tmp_path / run, num_questions=1, arm=arm, teacher=teacher)
    arms, _ = group_arms(load_runs(tmp_path).runs)
    assert sorted(arm.name for arm in arms) == ["gpt35", "gpt4"]
    again = "data=collected,data.path=runs/c"
    add_run(tmp_path / "c", num_questions=1, arm=again, teacher="gpt4")
    arms, _ = group_arms(load_runs(tmp_path).runs)
    assert sorted(arm.name for arm in arms) == ["a", "b", "c"]
