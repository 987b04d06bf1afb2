"""The loss matrix: whose answers are likeliest to whom, read down its columns."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from understudy.pages.page import Chart, Table
from understudy.records import write_jsonl
from understudy.report.compare import Comparison, compare
from understudy.report.matrix import LossMatrix, loss_matrix, matrix_sections, matrix_title
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]


def write_losses(folder: Path, losses: Mapping[str, float], held_out: Mapping[str, str]) -> None:
    """Gives a run folder a loss for each instruction on teacher a's answers, and the answers."""
    rows = [{"id": each, "author": author, "scores": {"eval/loss/a": loss}}
            for author in ("student", "base") for each, loss in losses.items()]  # fmt: skip
    write_jsonl(folder / "losses.jsonl", rows)
    if held_out:
        told = [{"id": each, "references": {"a": text}} for each, text in held_out.items()]
        write_jsonl(folder / "held_out.jsonl", told)


def means(matrix: LossMatrix) -> dict[str, tuple[float | None, int]]:
    """Mean and n of each row in the only column."""
    (metric,) = matrix.metrics
    return {row.name: (row.mean(metric), row.metrics[metric].n) for row, _ in matrix.rows}


@pytest.fixture
def uneven(tmp_path: Path, add_run: AddRun) -> Callable[..., Comparison]:
    """Arm a on four held-out instructions, arm b on three, two of them common."""

    def uneven(
        answers: Mapping[str, Mapping[str, str]] | None = None, prints: str | None = "ab"
    ) -> Comparison:
        losses = {
            "a": {"h1": 1.0, "h2": 3.0, "h3": 90.0, "h4": 90.0},
            "b": {"h1": 2.0, "h2": 2.0, "h5": 0.0},
        }
        for place, (name, found) in enumerate(losses.items()):
            comparable = {"held_out": prints[place]} if prints else {}
            add_run(tmp_path / name, arm=f"data={name}", teacher=name, num_questions=14,
                    comparable=comparable)  # fmt: skip
            write_losses(tmp_path / name, found, (answers or {}).get(name, {}))
        return compare(load_runs(tmp_path), num_resamples=50)

    return uneven


@pytest.mark.parametrize("prints", [None, "xx"])
def test_a_column_is_over_the_instructions_that_all_arms_have(
    uneven: Callable[..., Comparison], prints: str | None
) -> None:
    found = uneven(prints=prints)
    matrix = loss_matrix(found)
    assert matrix is not None
    assert means(matrix) == {"a": (2.0, 2), "b": (2.0, 2), "base": (2.0, 2)}
    (note,) = matrix.notes
    assert note.startswith("The column of a is over the 2 instructions")
    (section,) = matrix_sections(found)
    assert note in str(section.blocks[-1])
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert {row[-1].text for row in table.rows} == {"2"}


def test_other_answers_to_an_instruction_are_not_in_the_column(
    uneven: Callable[..., Comparison],
) -> None:
    answers = {"a": {"h1": "yes", "h2": "yes", "h3": "x"}, "b": {"h1": "no", "h2": "yes"}}
    found = uneven(answers)
    matrix = loss_matrix(found)
    assert matrix is not None
    assert means(matrix) == {"a": (3.0, 1), "b": (2.0, 1), "base": (2.5, 1)}
    assert found.contrast("a", "b", "eval/loss/a") is None
    assert found.contrast("b", "a", "eval/loss/a") is None


def test_a_column_of_answers_that_are_not_known_to_be_the_same_is_left_out(
    uneven: Callable[..., Comparison],
) -> None:
    found = uneven()
    matrix = loss_matrix(found)
    assert matrix is not None
    assert matrix.rows == ()
    (note,) = matrix.notes
    assert note.startswith("No column for a: ")
    (section,) = matrix_sections(found)
    assert note in str(section.blocks)


@pytest.fixture
def comparison(tmp_path: Path, add_run: AddRun) -> Comparison:
    """Two arms, each likeliest to say its own teacher's answers, and a third teacher's answers."""
    losses = {
        "strong": {"strong": 0.2, "weak": 0.9, "third": 0.5},
        "weak": {"strong": 0.6, "weak": 0.3, "third": 0.5},
    }
    for name, quality in (("strong", 0.9), ("weak", 0.4)):
        for seed in (1, 2):
            add_run(tmp_path / f"{name}{seed}", arm=f"data={name}", teacher=name, seed=seed,
                    quality=quality, losses=losses[name], num_questions=14)  # fmt: skip
    return compare(load_runs(tmp_path), num_resamples=300)


def test_rows_are_arms_and_the_base_and_columns_are_teachers(comparison: Comparison) -> None:
    matrix = loss_matrix(comparison)
    assert matrix is not None
    assert matrix.teachers == ("strong", "weak", "third")
    assert [row.name for row, _ in matrix.rows] == ["strong", "weak", "base"]
    strong = matrix.rows[0][0]
    summary = strong.metrics["eval/loss/weak"]
    assert summary.n == 39
    assert summary.mean == pytest.approx(0.9, abs=0.05)
    assert (summary.low or 0) < (summary.mean or 0) < (summary.high or 0)


def test_the_title_says_whose_answers_are_likeliest_to_whom(comparison: Comparison) -> None:
    (section,) = matrix_sections(comparison)
    title = section.title
    assert title.startswith("Whose answers are likeliest to whom: strong's to strong (.")
    assert "weak's to weak (." in title
    assert "not told apart" in title.partition("third's")[2]
    assert "not told apart" not in title.partition("third's")[0]
    chart, table, note = section.blocks
    assert isinstance(chart, Chart)
    assert isinstance(table, Table)
    (heat, *_) = chart.figure.data
    assert heat.z[0][0] == pytest.approx(1)
    assert heat.z[1][0] == pytest.approx(0)
    assert heat.z[2][0] == pytest.approx(0)
    assert len(chart.figure.layout.shapes) == 2
    assert "never ranks arms" in str(note)
    assert table.header == ["Student", "on strong", "on weak", "on third", "n"]
    assert [row[-1].text for row in table.rows] == ["39", "39", "39"]


def test_students_of_their_own(tmp_path: Path, add_run: AddRun) -> None:
    for name, own, other in (("a", 0.2, 0.9), ("b", 0.1, 0.8)):
        losses = {name: own, {"a": "b", "b": "a"}[name]: other}
        add_run(tmp_path / name, arm=f"data={name}", teacher=name, losses=losses, num_questions=14)
    found = compare(load_runs(tmp_path), num_resamples=200)
    matrix = loss_matrix(found)
    assert matrix is not None
    title = matrix_title(found, matrix)
    assert title.startswith("Each teacher's answers are likeliest to a student of its own: ")


def test_what_was_not_measured_is_a_dash_and_no_losses_make_no_section(
    tmp_path: Path, add_run: AddRun
) -> None:
    add_run(tmp_path / "old", arm="data=a", teacher="a", num_questions=14)
    assert matrix_sections(compare(load_runs(tmp_path), num_resamples=20)) == []
    add_run(tmp_path / "new", arm="data=b", teacher="b", losses={"b": 0.3}, num_questions=14)
    add_run(tmp_path / "other", arm="data=c", teacher="c", losses={"a": 0.3}, num_questions=14)
    (section,) = matrix_sections(compare(load_runs(tmp_path), num_resamples=20))
    chart, table, _ = section.blocks
    assert isinstance(table, Table)
    cells = {row[0].text: [cell.text for cell in row[1:3]] for row in table.rows}
    assert cells.keys() == {"b", "c", "base"}
    assert table.header[1:3] == ["on a", "on b"]
    assert cells["b"][0] == "—"
    assert cells["c"][1] == "—"
    assert isinstance(chart, Chart)
    assert None in [value for row in chart.figure.data[0].z for value in row]


def test_a_column_without_a_defined_loss_is_left_out_by_name(
    tmp_path: Path, add_run: AddRun
) -> None:
    add_run(tmp_path / "0", arm="data=a", teacher="a", num_questions=14)
    scores = {"eval/loss/a": 1.0, "eval/loss/b": None}
    write_jsonl(
        tmp_path / "0" / "losses.jsonl", [{"id": "h", "author": "student", "scores": scores}]
    )
    matrix = loss_matrix(compare(load_runs(tmp_path), num_resamples=20))
    assert matrix is not None
    assert matrix.teachers == ("a",)
    assert matrix.notes == ("No column for b: no loss on its held-out answers is defined.",)
