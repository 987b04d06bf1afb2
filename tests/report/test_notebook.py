"""What a notebook shows of an ablation, from the functions that it calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from understudy.records import InputError
from understudy.report import notebook
from understudy.report.build import report_json
from understudy.report.compare import Comparison, compare
from understudy.report.findings import lead
from understudy.report.read.runs import RunSet

AddRun = Callable[..., Path]


@pytest.fixture
def compared(sweep: Path) -> Comparison:
    return notebook.comparison(sweep, num_resamples=200)


def test_the_answer_is_the_reports_lead(compared: Comparison) -> None:
    assert notebook.answer(compared) == lead(compared)
    assert notebook.answer(compared).startswith("lab_strong leads lab_medium by ")


def test_the_tables_hold_the_reports_numbers(compared: Comparison) -> None:
    report = report_json(compared)
    results = notebook.results(compared)
    for one in (*report["arms"], *report["baselines"]):
        row = results[results["name"] == one["name"]].iloc[0]
        own = one["metrics"]["eval/lab_accuracy"]
        assert (row["mean"], row["low"], row["high"], row["n"]) == (
            own["mean"], own["low"], own["high"], own["n"],
        )  # fmt: skip
    pairs = [one for one in report["differences"] if one["metric"] == "eval/rouge_l"]
    shown = notebook.differences(compared, "eval/rouge_l")
    assert shown[["arm", "against", "mean", "p (Holm)"]].to_numpy().tolist() == [
        [one["arm"], one["against"], one["mean"], one["p_holm"]] for one in pairs
    ]
    assert shown.columns.name == "ROUGE-L"


def test_a_metric_without_item_scores_has_no_interval(compared: Comparison) -> None:
    losses = notebook.results(compared, "val/loss")
    assert losses["mean"].tolist() == pytest.approx([0.35] * 3)
    assert losses["low"].isna().all()
    assert losses["n"].tolist() == [2, 2, 2]
    assert notebook.differences(compared, "val/loss").empty


def test_what_the_sweep_asked_about_is_asked_here_too(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0")
    add_run(tmp_path / "1", arm="data=other", comparable={"template": "ff" * 32})
    assert notebook.comparison(tmp_path, num_resamples=50).refused
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": [[], []], "ask": ["template"]}))
    assert not notebook.comparison(tmp_path, num_resamples=50).refused
    assert notebook.comparison(tmp_path, ask=["judge"], num_resamples=50).refused


@pytest.mark.parametrize("name", notebook.FIGURES)
def test_a_figure_is_a_drawing_of_a_screens_size(compared: Comparison, name: str) -> None:
    picture = notebook.figure(compared, name)
    assert isinstance(picture, notebook.Picture)
    width, _, ratio, tall = (
        float(size)
        for size in re.findall(
            r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="0 0 ([\d.]+) ([\d.]+)"', picture.svg
        )[0]
    )
    assert 300 < width <= 640
    assert ratio > 0 < tall
    assert repr(picture) == f"Picture(name='{name}')"


def test_a_figure_that_cannot_be_drawn_says_why_and_an_unknown_one_what_there_is() -> None:
    empty = compare(RunSet())
    note = notebook.figure(empty, "losses")
    assert isinstance(note, notebook.Note)
    assert note.text == "No figure: no run logged a loss."
    assert notebook.answer(empty) == "No run finished, so there is nothing to compare."
    assert notebook.results(empty).empty
    with pytest.raises(InputError, match=r"figure 'loses': choose among result, differences"):
        notebook.figure(empty, "loses")


def test_the_newest_sweep_is_found_from_here_and_from_a_folder_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="set SOURCE or UNDERSTUDY_RUNS"):
        notebook.newest_sweep()
    for name in ("sft/2026-11-20_09", "quickstart/2026-11-21_08", "sft/2026-11-21_07"):
        sweep = tmp_path / "outputs" / "sweeps" / name
        sweep.mkdir(parents=True)
        (sweep / "sweep.json").write_text("{}")
    assert notebook.newest_sweep().parts[-2:] == ("quickstart", "2026-11-21_08")
    monkeypatch.chdir(tmp_path / "outputs" / "sweeps")
    assert notebook.newest_sweep().parts[-2:] == ("quickstart", "2026-11-21_08")


def test_tables_survive_arms_without_the_metric(compared: Comparison) -> None:
    nothing = notebook.results(compared, "eval/unheard_of")
    assert nothing.empty
    assert isinstance(nothing, pd.DataFrame)
