"""Files beside a report hold its numbers, and their failure is not the report's."""

import csv
import logging
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.report.build import Report, build_report
from understudy.report.compare import compare
from understudy.report.paper.export import NAMES, export_all
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]


@pytest.fixture
def report(sweep: Path, tmp_path: Path) -> Report:
    """The report of three arms by two seeds."""
    return build_report(sweep, tmp_path / "report", num_resamples=200)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def value(text: str) -> float | None:
    return float(text) if text else None


def test_the_files_of_an_ordinary_report(report: Report) -> None:
    tables = {path.name for path in report.files if path.parent == report.tables}
    figures = {path.name for path in report.files if path.parent == report.figures}
    assert {"arms.csv", "metrics.csv", "seeds.csv", "differences.csv", "budgets.csv", "costs.csv",
            "refused.csv", "result.tex", "differences.tex", "families.tex", "splits.tex",
            "buckets.tex", "budgets.tex"} <= tables  # fmt: skip
    drawn = ("result", "differences", "families", "splits", "buckets", "losses")
    assert {f"{name}.{kind}" for name in drawn for kind in ("pdf", "svg")} <= figures
    assert {path.stem for path in report.files} <= NAMES
    assert all(path.stat().st_size for path in report.files)


def test_the_csv_files_hold_the_comparison(report: Report) -> None:
    comparison = report.comparison
    of_name = {row.name: row for row in (*comparison.arms, *comparison.baselines)}
    found = rows(report.tables / "metrics.csv")
    assert len(found) == sum(len(row.metrics) for row in of_name.values())
    for line in found:
        one = of_name[line["arm"]].metrics[line["metric"]]
        numbers = (value(line["mean"]), value(line["low"]), value(line["high"]), int(line["n"]))
        assert numbers == (one.mean, one.low, one.high, one.n)
        assert line["reason"] == one.reason
        assert line["role"] == ("arm" if line["arm"].startswith("lab") else "baseline")
    pairs = rows(report.tables / "differences.csv")
    assert [(value(line["mean"]), value(line["p_holm"])) for line in pairs] == [
        (one.mean, one.p_holm) for one in comparison.differences
    ]
    assert {line["is_clear"] for line in pairs} == {"0", "1"}


def test_an_undefined_number_is_empty_with_its_reason(report: Report) -> None:
    found = [line for line in rows(report.tables / "metrics.csv")
             if (line["metric"], line["arm"]) == ("eval/undefined", "lab_strong")]  # fmt: skip
    (line,) = found
    assert (line["mean"], line["low"], line["reason"]) == ("", "", "the answers have no tokens")


def test_parts_are_named_by_what_they_divide(report: Report) -> None:
    found = rows(report.tables / "metrics.csv")
    parts = {(line["measure"], line["by"], line["part"]) for line in found if line["part"]}
    assert ("eval/lab_accuracy", "family", "count") in parts
    assert ("eval/lab_accuracy", "split", "unseen_length") in parts
    assert ("eval/rouge_l", "bucket", "3-5") in parts


@pytest.fixture
def scaling(tmp_path: Path, add_run: AddRun) -> Report:
    """Two teachers by two numbers of rows, with losses on both and questions in two languages."""
    for teacher, quality in (("strong", 0.6), ("weak", 0.4)):
        for size, more in ((100, 0.0), (400, 0.2)):
            add_run(
                tmp_path / "runs" / f"{teacher}{size}", teacher=teacher, quality=quality + more,
                arm=f"data=lab_{teacher},data.num_examples={size}", budget={"examples": size},
                comparable={"prompts": f"p{size}"}, losses={"strong": 0.3 + more, "weak": 0.5},
                parts=("lang:en", "lang:zh"),
            )  # fmt: skip
    return build_report(tmp_path / "runs", tmp_path / "report", num_resamples=100)


def test_a_grid_of_rows_and_a_loss_matrix_are_exported_too(scaling: Report) -> None:
    comparison = scaling.comparison
    grid = comparison.grid
    assert grid is not None
    names = {path.name for path in scaling.files}
    for name in ("scaling", "rows_worth", "loss_matrix"):
        assert {f"{name}.{kind}" for kind in ("csv", "tex", "pdf", "svg")} <= names
    assert {"scaling_differences.csv", "scaling_differences.tex", "scaling_changes.csv",
            "languages.tex"} <= names  # fmt: skip
    assert {path.stem for path in scaling.files} <= NAMES
    of_name = {row.name: row for row in comparison.arms}
    cells = rows(scaling.tables / "scaling.csv")
    assert [(line["series"], line["x"]) for line in cells] == [
        ("lab_strong", "100.0"), ("lab_weak", "100.0"),
        ("lab_strong", "400.0"), ("lab_weak", "400.0"),
    ]  # fmt: skip
    assert all(value(line["mean"]) == of_name[line["arm"]].mean(grid.metric) for line in cells)
    gaps = rows(scaling.tables / "scaling_differences.csv")
    assert [value(line["mean"]) for line in gaps] == [one.difference.mean for one in grid.gaps]
    worth = rows(scaling.tables / "rows_worth.csv")
    rates = comparison.rows_worth[0].rates
    assert [(int(line["rows"]), value(line["worth"]), line["worth_bound"]) for line in worth] == [
        (one.size, one.worth and one.worth.count, one.worth.bound if one.worth else "")
        for one in rates
    ]


def test_the_loss_matrix_marks_each_students_own_teacher(scaling: Report) -> None:
    found = rows(scaling.tables / "loss_matrix.csv")
    own = {(line["student"], line["teacher"]) for line in found if line["is_own"] == "1"}
    assert len(own) == 4
    assert all(student.startswith(f"lab_{teacher}, ") for student, teacher in own)
    text = (scaling.tables / "loss_matrix.tex").read_text(encoding="utf-8")
    assert len(re.findall(r"\d\* ", text)) == 4
    html = scaling.html.read_text(encoding="utf-8")
    assert "tables/loss_matrix.csv" in html.partition('<section id="matrix"')[2]
    assert "figures/rows_worth.pdf" in html.partition('<section id="scaling"')[2]


def test_what_was_not_asked_is_told_from_what_was_refused(scaling: Report) -> None:
    found = rows(scaling.tables / "refused.csv")
    assert {line["kind"] for line in found} == {"not asked"}
    assert len({(line["arm"], line["against"]) for line in found}) == 2


def test_seeds_budgets_and_arms(report: Report) -> None:
    seeds = [line for line in rows(report.tables / "seeds.csv")
             if (line["arm"], line["metric"]) == ("lab_weak", "val/loss")]  # fmt: skip
    assert [(line["seed"], line["value"]) for line in seeds] == [("1", "0.30000000000000004"),
                                                                 ("2", "0.4")]  # fmt: skip
    budget = {(line["arm"], line["quantity"]): line for line in rows(report.tables / "budgets.csv")}
    assert float(budget["lab_weak", "supervised_tokens"]["mean_over_runs"]) == 71_000
    assert budget["lab_weak", "examples"]["is_held_equal"] == "1"
    costs = rows(report.tables / "costs.csv")
    assert [(line["arm"], line["run"], line["usd"]) for line in costs[:2]] == [
        ("lab_strong", "strong-1", ""), ("lab_strong", "strong-2", "")
    ]  # fmt: skip
    arm = rows(report.tables / "arms.csv")[0]
    assert (arm["arm"], arm["teacher"], arm["seeds"]) == ("lab_strong", "strong", "1 2")


def test_the_latex_tables_say_the_pages_numbers_and_compile(report: Report) -> None:
    text = (report.tables / "result.tex").read_text(encoding="utf-8")
    html = report.html.read_text(encoding="utf-8")
    cell = re.search(r"lab\\_strong & (\S+) &", text)
    interval = re.search(r"\\scriptsize \{\[\}(.+?)\]\}", text)
    assert cell is not None
    assert interval is not None
    assert f"{cell[1]}<small>[{interval[1]}]" in html
    assert r"95\,\% interval over questions (percentile bootstrap, 200 resamples" in text
    engine = shutil.which("pdflatex")
    if engine is None:
        pytest.skip("no pdflatex on this machine")
    inputs = "".join(f"\\input{{{path.name}}}" for path in sorted(report.tables.glob("*.tex")))
    (report.tables / "all.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}"
        f"{inputs}\\end{{document}}"
    )
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=report.tables, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_same_runs_give_the_same_files(sweep: Path, tmp_path: Path, report: Report) -> None:
    again = build_report(sweep, tmp_path / "again", num_resamples=200)
    assert [path.name for path in again.files] == [path.name for path in report.files]
    for one, other in zip(report.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_the_page_links_to_the_files_that_there_are(report: Report) -> None:
    html = report.html.read_text(encoding="utf-8")
    links = re.findall(r'<a href="((?:tables|figures)/[^"]+)">', html)
    assert len(links) >= 16
    assert all((report.html.parent / link).is_file() for link in links)
    result = html.partition('<section id="result"')[2].partition("</section>")[0]
    assert "tables/metrics.csv" in result
    assert "figures/result.pdf" in result


def test_what_cannot_be_written_is_logged_and_the_page_stands(
    sweep: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tables").write_text("in the way")
    report = build_report(sweep, tmp_path / "out", num_resamples=50)
    assert report.json.is_file()
    html = report.html.read_text(encoding="utf-8")
    assert 'href="figures/result.pdf"' in html
    assert 'href="tables/' not in html
    assert {path.parent.name for path in report.files} == {"figures"}
    assert any("CSV tables could not be written" in one.getMessage() for one in caplog.records)
    assert all(one.levelno == logging.ERROR for one in caplog.records)


def test_a_later_reports_files_replace_an_earlier_ones_and_no_others(
    sweep: Path, tmp_path: Path, add_run: AddRun
) -> None:
    out = tmp_path / "report"
    build_report(sweep, out, num_resamples=50)
    (out / "tables" / "mine.tex").write_text("mine")
    add_run(tmp_path / "one" / "0")
    export_all(compare(load_runs(tmp_path / "one"), num_resamples=50), out, num_resamples=50)
    assert not (out / "tables" / "differences.tex").exists()
    assert not (out / "figures" / "differences.pdf").exists()
    assert (out / "tables" / "mine.tex").read_text() == "mine"


def test_no_finished_run_leaves_tables_without_rows(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    report = build_report(tmp_path / "runs", tmp_path / "out")
    assert rows(report.tables / "metrics.csv") == []
    assert list(report.figures.iterdir()) == []
