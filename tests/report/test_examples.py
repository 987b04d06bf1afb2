"""Examples are drawn by hash, balanced over tasks, with every arm's answer."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from understudy.report.compare import compare
from understudy.report.examples import draw_examples
from understudy.report.runs import load_runs

AddRun = Callable[..., Path]


def test_examples_are_balanced_and_hold_all_answers(sweep: Path) -> None:
    found = draw_examples(compare(load_runs(sweep), num_resamples=50), 14)
    tasks = Counter(example.title.partition(":")[0] for example in found)
    assert set(tasks.values()) == {2}
    assert len(tasks) == 7
    for example in found:
        assert [answer.author for answer in example.answers] == [
            "lab_strong", "lab_medium", "lab_weak",
            "base", "teacher medium", "teacher strong", "teacher weak",
        ]  # fmt: skip
        assert [answer.series for answer in example.answers] == [0, 1, 2, -1, -2, -3, -4]
        assert {answer.score for answer in example.answers} <= {"✓ right", "✗ wrong"}
        assert dict(example.fields)["Input"] == "k m r t"


def test_greedy_answers_are_shown_before_sampled_ones(tmp_path: Path, add_run: AddRun) -> None:
    folder = add_run(tmp_path / "0", num_questions=7)
    path = folder / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(reversed(lines)), encoding="utf-8")
    found = draw_examples(compare(load_runs(tmp_path), num_resamples=50), 3)
    assert all(example.answers[0].score for example in found)


def test_only_questions_that_all_arms_answered(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a", num_questions=7)
    add_run(tmp_path / "1", arm="data=b", num_questions=3)
    assert len(draw_examples(compare(load_runs(tmp_path), num_resamples=50), 9)) == 3


def test_no_predictions_no_examples(tmp_path: Path, add_run: AddRun) -> None:
    (add_run(tmp_path / "0") / "predictions.jsonl").unlink()
    assert draw_examples(compare(load_runs(tmp_path), num_resamples=50), 9) == []
