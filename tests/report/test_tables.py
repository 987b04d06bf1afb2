"""The terminal's tables hold the numbers at 80 columns, without colour."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from understudy.report.compare import compare
from understudy.report.runs import RunSet, load_runs
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
