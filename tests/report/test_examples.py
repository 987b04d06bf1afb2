"""Examples are drawn by hash, balanced over tasks, with every arm's answer."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from report.conftest import SPLITS, FakeRun, write_run
from understudy.pages.page import Text
from understudy.report.compare import compare
from understudy.report.examples import Drawn, draw_examples, example_sections
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]


def drawn(folder: Path, num_examples: int = 400, **limits: int) -> Drawn:
    return draw_examples(compare(load_runs(folder), num_resamples=50), num_examples, **limits)


def test_examples_are_balanced_and_hold_all_answers(sweep: Path) -> None:
    found = drawn(sweep, 14)
    tasks = Counter(example.task for example in found.examples)
    assert set(tasks.values()) == {2}
    assert len(tasks) == 7
    assert found.num_common == 70
    assert [(column.name, column.series) for column in found.columns] == [
        ("lab_strong", 0), ("lab_medium", 1), ("lab_weak", 2),
        ("base", -1), ("teacher medium", -2), ("teacher strong", -3), ("teacher weak", -4),
    ]  # fmt: skip
    for example in found.examples:
        answers = [answer for answer in example.answers if answer is not None]
        assert len(answers) == 7
        assert all((a.score, a.mark) in ((1, "✓ right"), (0, "✗ wrong")) for a in answers)
        assert [name for name, _ in example.fields] == ["Instruction", "Input", "Reference (gold)"]
        assert dict(example.fields)["Input"] == "k m r t"
        assert example.title == f"{example.task}: say the {example.task} of these k m r t"
        assert (example.split in SPLITS, example.lang) == (True, "en")


def test_the_draw_takes_tasks_in_turn_and_fewer_are_its_beginning(sweep: Path) -> None:
    every = [example.title for example in drawn(sweep).examples]
    assert len(every) == 70
    assert [example.title for example in drawn(sweep, 9).examples] == every[:9]
    assert len({example.task for example in drawn(sweep, 7).examples}) == 7


def test_text_beyond_the_limit_is_not_drawn_but_the_first_always_is(sweep: Path) -> None:
    one = drawn(sweep, 1).examples[0]
    answers = [answer.text for answer in one.answers if answer]
    size = sum(len(text) for text in [*answers, *(text for _, text in one.fields)])
    assert len(drawn(sweep, max_bytes=size).examples) == 1
    assert len(drawn(sweep, max_bytes=1).examples) == 1
    assert 1 < len(drawn(sweep, max_bytes=20 * size).examples) < 40


def test_the_section_says_of_how_many_it_is(sweep: Path) -> None:
    comparison = compare(load_runs(sweep), num_resamples=50)
    few, every = example_sections(comparison, 7)[0], example_sections(comparison)[0]
    assert isinstance(few.blocks[0], Text)
    assert isinstance(every.blocks[0], Text)
    assert "7 of the 70 questions" in few.blocks[0].text
    assert every.blocks[0].text.startswith("All questions that every arm answered")
    assert every.title == "70 questions with every arm's answer"


def test_greedy_answers_are_shown_before_sampled_ones(tmp_path: Path, add_run: AddRun) -> None:
    folder = add_run(tmp_path / "0", num_questions=7)
    path = folder / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(reversed(lines)), encoding="utf-8")
    answers = [example.answers[0] for example in drawn(tmp_path, 3).examples]
    assert all(answer and answer.mark for answer in answers)


def test_conversations_long_texts_and_undefined_scores(tmp_path: Path) -> None:
    row = {
        "id": "q", "instruction": "再见", "input": "", "task": "", "lang": "zh", "split": "s",
        "history": [{"role": "user", "content": "你好"}], "references": {"b": "2", "a": "1"},
        "author": "x", "output": "答" * 9000, "decoding": "greedy", "finish": "stop",
        "scores": {"eval/rouge_l": None},
    }  # fmt: skip
    write_run(tmp_path / "0", FakeRun())
    for name in ("predictions", "baselines"):
        path = tmp_path / "0" / f"{name}.jsonl"
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (example,) = drawn(tmp_path).examples
    assert example.fields == [
        ("Earlier (user)", "你好"), ("Instruction", "再见"),
        ("Reference (a)", "1"), ("Reference (b)", "2"),
    ]  # fmt: skip
    assert (example.title, example.lang, example.split) == ("question: 再见", "zh", "s")
    own = example.answers[0]
    assert own is not None
    assert (own.score, own.mark) == (None, "undefined")
    assert own.text == "答" * 8000 + " … (1,000 more characters)"


def test_only_questions_that_all_arms_answered(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a", num_questions=7)
    add_run(tmp_path / "1", arm="data=b", num_questions=3)
    assert len(drawn(tmp_path, 9).examples) == drawn(tmp_path).num_common == 3


def test_no_predictions_no_examples(tmp_path: Path, add_run: AddRun) -> None:
    (add_run(tmp_path / "0") / "predictions.jsonl").unlink()
    assert drawn(tmp_path).examples == []
    assert example_sections(compare(load_runs(tmp_path), num_resamples=50)) == []
