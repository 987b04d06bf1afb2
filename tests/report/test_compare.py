"""Means, paired differences and baselines equal what the item scores say by hand."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest

from understudy.report.arms import group_arms, group_baselines, score_matrix
from understudy.report.compare import Comparison, compare
from understudy.report.phrases import contrast_phrase
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]
ACCURACY = "eval/lab_accuracy"


def scores_of(folder: Path, metric: str = ACCURACY) -> dict[str, float]:
    """A run's scores, straight from its rows."""
    rows = map(json.loads, (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["id"]: row["scores"][metric] for row in rows if metric in row["scores"]}


def set_scores(folder: Path, scores: Mapping[str, Mapping[str, float | None]]) -> None:
    """Gives a run other rows: question to scores."""
    rows = [{"id": question, "scores": values} for question, values in scores.items()]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def comparison(sweep: Path) -> Comparison:
    """The comparison of three arms by two seeds."""
    return compare(load_runs(sweep), num_resamples=500)


def test_arms_are_ranked_by_the_headline(comparison: Comparison) -> None:
    assert comparison.headline == ACCURACY
    assert [row.name for row in comparison.arms] == ["lab_strong", "lab_medium", "lab_weak"]
    assert [len(row.entry.runs) for row in comparison.arms] == [2, 2, 2]


def test_a_mean_is_over_items_averaged_over_seeds(sweep: Path, comparison: Comparison) -> None:
    summary = comparison.arms[0].metrics[ACCURACY]
    one, two = scores_of(sweep / "0"), scores_of(sweep / "1")
    assert summary.mean == pytest.approx(mean((one[q] + two[q]) / 2 for q in one))
    assert summary.n == 70
    assert summary.by_seed == pytest.approx({1: mean(one.values()), 2: mean(two.values())})
    assert summary.spread.sd == pytest.approx(stdev([mean(one.values()), mean(two.values())]))
    assert summary.low is not None
    assert summary.high is not None
    assert summary.low < mean(summary.by_seed.values()) < summary.high


def test_differences_are_paired_over_common_items(tmp_path: Path, add_run: AddRun) -> None:
    scores = {
        "a": {"q1": 1.0, "q2": 0.5, "q3": 0.0},
        "b": {"q2": 0.0, "q3": 0.0, "q4": 1.0},
    }
    for name, of in scores.items():
        folder = add_run(tmp_path / name, arm=f"data={name}")
        set_scores(folder, {question: {"eval/rouge_l": score} for question, score in of.items()})
    (contrast,) = compare(load_runs(tmp_path), num_resamples=200).differences
    assert (contrast.arm, contrast.against, contrast.n) == ("a", "b", 2)
    assert contrast.mean == pytest.approx(0.25)
    assert contrast.by_seed == pytest.approx({1: 0.25})


def test_every_two_arms_are_compared_in_every_evaluation_metric(comparison: Comparison) -> None:
    pairs = {(one.arm, one.against) for one in comparison.differences if one.metric == ACCURACY}
    assert pairs == {
        ("lab_strong", "lab_medium"), ("lab_strong", "lab_weak"), ("lab_medium", "lab_weak")
    }  # fmt: skip
    assert {one.metric for one in comparison.differences} == {
        metric for metric in comparison.metrics if metric.startswith("eval/")
    }
    strong_weak = comparison.contrast("lab_strong", "lab_weak", ACCURACY)
    assert strong_weak is not None
    assert strong_weak.is_clear
    assert strong_weak.p is not None
    assert strong_weak.p_holm is not None
    assert strong_weak.p <= strong_weak.p_holm < 0.05


def test_holm_corrects_within_a_metric(tmp_path: Path, add_run: AddRun) -> None:
    rng = np.random.default_rng(0)
    for name, shift in (("a", 0.3), ("b", 0.1), ("c", 0.0)):
        folder = add_run(tmp_path / name, arm=f"data={name}")
        values = rng.random(40) + shift
        set_scores(folder, {f"q{i}": {"eval/rouge_l": v} for i, v in enumerate(values.tolist())})
    found = compare(load_runs(tmp_path), num_resamples=1000).differences
    by_p = sorted((one.p or 0.0, one.p_holm or 0.0) for one in found)
    expected, floor = [], 0.0
    for factor, (p, _) in zip((3, 2, 1), by_p, strict=True):
        floor = max(floor, min(1.0, factor * p))
        expected.append(floor)
    assert [p_holm for _, p_holm in by_p] == pytest.approx(expected)


def test_metrics_of_runs_have_a_spread_and_no_interval(comparison: Comparison) -> None:
    loss = comparison.arms[0].metrics["val/loss"]
    assert loss.mean == pytest.approx(0.35)
    assert (loss.low, loss.high, loss.n) == (None, None, 2)
    assert loss.spread.sd == pytest.approx(stdev([0.3, 0.4]))
    assert "no interval" in loss.reason
    assert not any(one.metric == "val/loss" for one in comparison.differences)


def test_an_undefined_metric_is_null_with_the_runs_reason(comparison: Comparison) -> None:
    summary = comparison.arms[0].metrics["eval/undefined"]
    assert (summary.mean, summary.low, summary.n) == (None, None, 0)
    assert summary.reason == "the answers have no tokens"
    contrast = comparison.contrast("lab_strong", "lab_weak", "eval/undefined")
    assert contrast is not None
    assert (contrast.mean, contrast.p, contrast.p_holm) == (None, None, None)
    assert contrast.reason


def test_without_evaluation_scores_nothing_ranks(tmp_path: Path, add_run: AddRun) -> None:
    for name, loss in (("b", 0.1), ("a", 0.2)):
        folder = add_run(tmp_path / name, arm=f"data={name}", metrics={"val/loss": loss})
        (folder / "predictions.jsonl").write_text("", encoding="utf-8")
        (folder / "baselines.jsonl").unlink()
    found = compare(load_runs(tmp_path))
    assert found.headline is None
    assert [row.name for row in found.arms] == ["a", "b"]
    assert found.differences == ()


def test_equal_baselines_are_one_row_and_the_base_is_averaged_over_seeds(
    comparison: Comparison,
) -> None:
    names = [row.name for row in comparison.baselines]
    assert names == ["base", "teacher medium", "teacher strong", "teacher weak"]
    base, medium, *_ = comparison.baselines
    assert base.entry.seeds == (1, 2)
    assert len(base.entry.runs) == 6
    assert len(base.metrics[ACCURACY].by_seed) == 2
    assert medium.entry.seeds == ()
    assert len(medium.entry.tables) == 1
    assert medium.metrics[ACCURACY].low is not None
    assert "val/loss" not in base.metrics


def test_bases_of_different_models_are_rows_of_their_own(tmp_path: Path, add_run: AddRun) -> None:
    for name in ("small", "large"):
        add_run(tmp_path / name, arm=f"model={name}", comparable={"base_model": name})
    arms, _ = group_arms(load_runs(tmp_path).runs)
    names = [entry.name for entry in group_baselines(arms)]
    assert names == ["base of large", "base of small", "teacher strong"]


def test_the_latest_run_of_an_arm_and_seed_counts(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", id="old", started="2026-11-20T10:00:00.000+00:00")
    add_run(tmp_path / "1", id="new", started="2026-11-21T10:00:00.000+00:00")
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert [run.id for run in found.arms[0].entry.runs] == ["new"]
    assert [run.id for run in found.superseded] == ["old"]


def test_another_stage_or_question_set_is_an_arm_of_its_own(
    tmp_path: Path, add_run: AddRun
) -> None:
    add_run(tmp_path / "0")
    add_run(tmp_path / "1", stage="evaluate")
    add_run(tmp_path / "2", stage="evaluate", comparable={"questions": "others"})
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert sorted(row.name for row in found.arms) == [
        "lab_strong (evaluate)", "lab_strong (evaluate) #2", "lab_strong (sft)"
    ]  # fmt: skip
    (refusal,) = found.refused
    assert "evaluation set" in refusal.reasons[0]


def test_pairs_are_within_a_stage_and_what_that_hides_is_said(
    tmp_path: Path, add_run: AddRun
) -> None:
    for stage in ("sft", "evaluate"):
        for name in "ab":
            add_run(tmp_path / stage / name, arm=f"data={name}", stage=stage)
    found = compare(load_runs(tmp_path), num_resamples=50)
    pairs = {(one.arm, one.against) for one in found.differences}
    assert pairs == {("a (evaluate)", "b (evaluate)"), ("a (sft)", "b (sft)")}
    assert found.refused == ()
    (note,) = found.notes
    assert "stages evaluate and sft are compared within their stage only" in note
    assert compare(load_runs(tmp_path / "sft"), num_resamples=50).notes == ()


def test_evaluations_by_other_decodings_are_arms_named_by_their_own_overrides(
    tmp_path: Path, add_run: AddRun
) -> None:
    own = ["stage=evaluate", "seed=1"]
    for arm in ("data=lab_weak", "data=lab_strong"):
        short = arm.removeprefix("data=")
        given = [*own, f"model.path=runs/{short}"]
        add_run(tmp_path / f"{short}-32", arm=arm, stage="evaluate", overrides=given)
        given = [*given, "eval.decodings.0.max_new_tokens=16"]
        add_run(tmp_path / f"{short}-16", arm=arm, stage="evaluate", overrides=given,
                comparable={"decoding": "16"})  # fmt: skip
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert sorted(row.name for row in found.arms) == [
        "lab_strong", "lab_strong, max_new_tokens=16", "lab_weak", "lab_weak, max_new_tokens=16"
    ]  # fmt: skip
    assert found.superseded == ()
    pairs = {frozenset((pair.arm, pair.against)) for pair in found.refused}
    assert pairs == {  # teacher and decoding at once
        frozenset(("lab_strong", "lab_weak, max_new_tokens=16")),
        frozenset(("lab_weak", "lab_strong, max_new_tokens=16")),
    }


def test_another_template_is_no_later_run_of_the_same_arm(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0")
    add_run(tmp_path / "1", comparable={"template": "other"})
    arms, superseded = group_arms(load_runs(tmp_path).runs)
    assert [arm.name for arm in arms] == ["lab_strong", "lab_strong #2"]
    assert superseded == []
    bases = [entry.name for entry in group_baselines(arms) if entry.arm == "base"]
    assert bases == ["base of lab_strong", "base of lab_strong #2"]


def test_arms_spelled_differently_are_one_arm(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a,prompt.train_on_inputs=False")
    add_run(tmp_path / "1", arm="+prompt.train_on_inputs=false,data=b,data=a", seed=2)
    arms, _ = group_arms(load_runs(tmp_path).runs)
    (arm,) = arms
    assert (arm.name, arm.arm, arm.seeds) == ("a", "data=a,prompt.train_on_inputs=false", (1, 2))


def test_a_baseline_has_no_inherited_errors(comparison: Comparison) -> None:
    inherited = "eval/lab_inherited_errors"
    assert inherited in comparison.arms[0].metrics
    rows = {row.name: row for row in comparison.baselines}
    assert not any(metric.startswith(inherited) for metric in rows["base"].metrics)
    assert not any(metric.startswith(inherited) for metric in rows["teacher weak"].metrics)


def test_failed_jobs_have_the_short_names_of_their_arms(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a,model=s")
    add_run(tmp_path / "1", arm="data=b,model=s")
    add_run(tmp_path / "2", arm="data=b,model=s", seed=2, status="failed", error="no")
    add_run(tmp_path / "3", arm="data=c,model=s", status="failed", error="no")
    add_run(tmp_path / "4", arm="data=c,model=l", status="failed", error="no")
    (tmp_path / "5").mkdir()
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert sorted(row.name for row in found.arms) == ["a", "b"]
    assert [job.name for job in found.failed_jobs] == ["b", "c s", "c l", ""]
    assert found.failed_jobs[0].arm == "data=b,model=s"


def test_a_failed_arm_never_takes_the_name_of_another(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a,model=x")
    add_run(tmp_path / "1", arm="data=a,model=a", status="failed", error="no")
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert found.arms[0].name == "a"
    assert found.failed_jobs[0].name == "data=a,model=a"


def test_refused_pairs_have_no_differences(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "a", arm="data=a")
    add_run(tmp_path / "b", arm="data=b", quality=0.5, comparable={"template": "other"})
    found = compare(load_runs(tmp_path), num_resamples=50)
    (refusal,) = found.refused
    assert (refusal.arm, refusal.against) == ("a", "b")
    assert found.differences == ()
    asked = compare(load_runs(tmp_path), ask=("template",), num_resamples=50)
    assert asked.refused == ()
    assert asked.differences


def test_the_matrix_has_a_row_for_each_question_of_any_column() -> None:
    matrix = score_matrix([{"b": 1.0, "a": 0.5}, {"c": 0.25}])
    np.testing.assert_array_equal(matrix, [[0.5, np.nan], [1.0, np.nan], [np.nan, 0.25]])


def add_grid(folder: Path, add_run: AddRun, levels: Sequence[int], **changes: object) -> None:
    """Runs of two teachers by several numbers of examples."""
    for teacher in ("strong", "weak"):
        for number in levels:
            arm = f"data={teacher},data.num_examples={number}"
            add_run(folder / f"{teacher}-{number}", arm=arm, teacher=teacher,
                    comparable={"prompts": str(number)}, budget={"examples": number},
                    **changes)  # fmt: skip


def test_pairs_of_a_grid_that_differ_in_both_its_axes_are_counted_not_refused(
    tmp_path: Path, add_run: AddRun
) -> None:
    add_grid(tmp_path, add_run, (100, 200, 400), num_questions=14)
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert found.refused == ()
    assert len(found.not_asked) == 6
    assert found.not_asked[0].reasons == ("budget", "teacher")
    assert len({(one.arm, one.against) for one in found.differences}) == 9
    assert found.notes == (
        "6 pairs of arms differ in two things or more at once (of budget, teacher) and are not "
        "compared.",
        "Arms that are compared did not all have the same number of examples, as they ask: "
        "100 (strong, 100 rows) to 400 (weak, 400 rows).",
    )


def test_an_arm_that_alone_differs_in_two_things_is_refused(
    tmp_path: Path, add_run: AddRun
) -> None:
    add_run(tmp_path / "0", arm="data=a", num_questions=14)
    add_run(tmp_path / "1", arm="data=b", num_questions=14)
    add_run(tmp_path / "2", arm="data=c,model=large", num_questions=14,
            comparable={"base_model": "large"})  # fmt: skip
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert found.not_asked == ()
    assert len(found.refused) == 2
    (reason,) = found.refused[0].reasons
    assert reason.startswith("base model and teacher differ at once")


def test_a_fifth_arm_with_another_template_is_refused_by_name(
    tmp_path: Path, add_run: AddRun
) -> None:
    for place in range(4):
        add_run(tmp_path / str(place), arm=f"data.path=/d/{place}.json", num_questions=14)
    add_run(tmp_path / "4", arm="data.path=/d/4.json,prompt=alpaca_lora", num_questions=14,
            comparable={"template": "lora"})  # fmt: skip
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert len({(one.arm, one.against) for one in found.differences}) == 6
    assert len(found.refused) == 4
    for pair in found.refused:
        assert "4.json alpaca_lora" in (pair.arm, pair.against)
        assert pair.reasons[0].startswith("template: ")
        assert "lora" in pair.reasons[0]


def test_arms_that_answer_all_alike_are_said_to(tmp_path: Path, add_run: AddRun) -> None:
    for name in "ab":
        for seed in (1, 2):
            add_run(tmp_path / f"{name}{seed}", arm=f"data={name}", seed=seed, num_questions=14)
    found = compare(load_runs(tmp_path), num_resamples=50)
    one = found.contrast("a", "b", found.headline or "")
    assert one is not None
    assert one.same_answers == 14
    assert contrast_phrase(one) == "a and b gave the same answers to all 14 questions"
    add_run(tmp_path / "b2", arm="data=b", seed=2, num_questions=14, outputs={"q0003": "other"})
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert {one.same_answers for one in found.differences} == {0}


def test_an_arm_of_one_answer_is_warned_of(tmp_path: Path, add_run: AddRun) -> None:
    outputs = {f"q{number:04d}": "yes" for number in range(8)}
    add_run(tmp_path / "0", arm="data=a", num_questions=14, quality=1.0, outputs=outputs)
    add_run(tmp_path / "1", arm="data=b", num_questions=14, quality=1.0)
    found = compare(load_runs(tmp_path), num_resamples=50)
    assert found.notes == (
        "a gave one and the same answer to 8 of 14 questions: its scores say little about the "
        "others.",
    )


def test_a_report_asks_what_its_sweep_asked(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a", num_questions=14)
    add_run(tmp_path / "1", arm="data=b", num_questions=14, comparable={"prompts": "other"})
    assert len(compare(load_runs(tmp_path), num_resamples=50).refused) == 1
    (tmp_path / "sweep.json").write_text('{"jobs": [], "ask": ["prompts"]}', encoding="utf-8")
    runs = load_runs(tmp_path)
    assert compare(runs, num_resamples=50).refused == ()
    assert len(compare(runs, ask=("budget",), num_resamples=50).refused) == 1


def test_a_base_is_one_row_though_arms_measure_its_loss_on_other_answers(
    tmp_path: Path, add_run: AddRun
) -> None:
    for teacher in "ab":
        for seed in (1, 2):
            add_run(tmp_path / f"{teacher}{seed}", arm=f"data={teacher}", seed=seed,
                    num_questions=14, losses={teacher: 0.2})  # fmt: skip
    found = compare(load_runs(tmp_path), num_resamples=50)
    (base,) = (row for row in found.baselines if row.entry.arm == "base")
    assert base.entry.seeds == (1, 2)
    assert {"eval/loss/a", "eval/loss/b", ACCURACY} <= base.metrics.keys()
    assert base.metrics["eval/loss/a"].n == 39


def test_bases_of_a_grid_are_called_by_what_their_arms_share(
    tmp_path: Path, add_run: AddRun
) -> None:
    for teacher in "ab":
        for size in ("small", "large"):
            add_run(tmp_path / f"{teacher}{size}", arm=f"data={teacher},model={size}",
                    num_questions=14, comparable={"base_model": size})  # fmt: skip
    arms, _ = group_arms(load_runs(tmp_path).runs)
    names = [entry.name for entry in group_baselines(arms)]
    assert names == ["base of large", "base of small", "teacher strong"]
