"""The terminal's tables hold the numbers at 80 columns, without colour."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from understudy.report.compare import compare
from understudy.report.read.runs import RunSet, load_runs
from understudy.report.tables import print_comparison

AddRun = Callable[..., Path]


def printed(runs: RunSet, width: int) -> str:
    """What a terminal of that width shows, as plain text."""
    stream = io.StringIO()
    print_comparison(compare(runs, num_resamples=200), Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_arms_differences_and_budgets_are_shown(sweep: Path, width: int) -> None:
    text = printed(load_runs(sweep), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    strong = next(line for line in lines if line.strip().startswith("lab_strong"))
    assert strong.split()[-1] == "3"
    assert " 70 " in strong
    assert any("(teacher weak)" in line for line in lines)
    pair = next(line for line in lines if "lab_medium − lab_weak" in line)  # noqa: RUF001 - as shown
    assert "[+." in pair
    assert "8,000*" in text
    assert "not the paper's numbers" in text


def test_failures_and_refusals_are_shown(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", arm="data=a")
    add_run(tmp_path / "1", arm="data=b", comparable={"template": "other [red]"})
    add_run(tmp_path / "2", arm="data=c", status="failed", error="ValueError: [bold]no[/bold]")
    text = " ".join(printed(load_runs(tmp_path), 100).split())
    assert "failed: 2 (c, seed 1): ValueError: [bold]no[/bold]" in text
    assert "not compared: a and b: template: bbbbbbbbbbbb against other [red]" in text


def test_nothing_finished_is_said(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", status="running")
    text = printed(load_runs(tmp_path), 80)
    assert "No run finished" in text
    assert "running: 0 (lab_strong, seed 1)" in text


def test_stages_compared_apart_are_said(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0")
    add_run(tmp_path / "1", stage="evaluate")
    assert "compared within their stage only" in printed(load_runs(tmp_path), 200)


def add_sizes(folder: Path, add_run: AddRun, teachers: int, sizes: tuple[int, ...]) -> None:
    """Teachers by numbers of rows, with losses on every teacher's answers."""
    losses = {f"t{number}": 0.3 + number / 10 for number in range(teachers)}
    for number in range(teachers):
        for size in sizes:
            arm = f"data=t{number}" + (f",data.num_examples={size}" if size else "")
            add_run(folder / f"{number}-{size}", arm=arm, teacher=f"t{number}", losses=losses,
                    quality=0.9 - 0.05 * number, num_questions=21,
                    comparable={"prompts": str(size)}, budget={"examples": size})  # fmt: skip


def test_a_grid_a_matrix_and_what_rows_are_worth(tmp_path: Path, add_run: AddRun) -> None:
    add_sizes(tmp_path, add_run, 2, (100, 200))
    text = printed(load_runs(tmp_path), 100)
    assert "exact-answer accuracy by training rows" in text
    assert "differences at each level, and how they change from the first" in text
    assert "rows of t0 in rows of t1: 100 = " in text
    assert "on teachers' held-out answers (* own)" in " ".join(text.split())
    losses = next(line for line in text.splitlines() if ".318*" in line)
    assert losses.split()[0] == "t0,"
    assert "2 pairs of arms differ in two things or more at once" in " ".join(text.split())
    assert "not compared:" not in text


def test_many_arms_stay_readable(tmp_path: Path, add_run: AddRun) -> None:
    add_sizes(tmp_path, add_run, 12, (0,))
    text = printed(load_runs(tmp_path), 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "(46 more pairs in report.html)" in text
    assert "(2 more arms in each metric in report.html)" in text
    assert len(text.splitlines()) < 250
