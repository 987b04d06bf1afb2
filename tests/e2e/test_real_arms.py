"""Arms of published data, by name: local copies, question sets, contamination, one report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.support import SMALL_TEXT, Command, answers, manifests, write_rows

LOCAL = ("data=alpaca_gpt4,alpaca_gpt35", "seed=1", *SMALL_TEXT)


@pytest.fixture
def copies(tmp_path: Path) -> list[str]:
    """Local copies of the two arms, one saved by datasets, one a file."""
    import datasets  # type: ignore[import-untyped]  # noqa: PLC0415 - slow; it has no types

    saved = tmp_path / "alpaca_gpt4"
    datasets.Dataset.from_list(answers("star")).save_to_disk(str(saved))
    file = write_rows(tmp_path / "gpt35.json", answers("extra"))
    return [f"data.local.alpaca_gpt4={saved}", f"data.local.alpaca_gpt35={file}"]


def questions(tmp_path: Path) -> list[str]:
    """A question set: one that is in the training data, in capitals, and one that is not."""
    planted = answers("star")[3]
    asked = [
        {"instruction": planted["instruction"].upper(), "input": planted["input"], "output": "d"},
        {"instruction": "Say something else entirely.", "input": "", "output": "something"},
    ]
    file = write_rows(tmp_path / "asked.json", asked)
    return ["questions=file", f"questions.path={file}", "data.decontaminate=drop"]


def test_arms_of_two_groups_are_aligned_and_scored_on_each_others_answers(
    understudy: Command, tmp_path: Path, copies: list[str]
) -> None:
    done = understudy("-m", *LOCAL, *copies, *questions(tmp_path))
    assert done.code == 0, done.err
    found = manifests(tmp_path / "outputs")
    assert [each["teacher"] for each in found] == ["gpt4", "gpt35"]
    assert [each["arm"].partition(",")[0] for each in found] == ["data=alpaca_gpt4",
                                                                "data=alpaca_gpt35"]  # fmt: skip
    for each in found:
        assert each["dropped"] == {"contaminated": 1}
        assert each["contamination"] == {"mode": "drop", "exact": 1, "near": 0}
        assert each["metrics"]["eval/loss/gpt4"] > 0
        assert each["metrics"]["eval/loss/gpt35"] > 0
    assert len({each["comparable"]["prompts"] for each in found}) == 1
    (report,) = (tmp_path / "outputs").rglob("report.json")
    loaded = json.loads(report.read_text())
    assert loaded["refused"] == []
    metrics = {row["metric"] for row in loaded["differences"]}
    assert {"eval/loss/gpt4", "eval/loss/gpt35", "eval/rouge_l", "eval/answer_words"} <= metrics
    assert all(row["n"] > 0 for row in loaded["differences"] if "loss/gpt" in row["metric"])


def test_without_a_network_only_the_download_fails_and_says_how_to_go_on(
    understudy: Command, tmp_path: Path
) -> None:
    """The plan shows what was published: 52,002 rows in 1,221 steps, less those held out."""
    done = understudy("experiment=llama_gpt4", "plan=true", "data.num_val=0")
    assert done.code == 1
    assert "52,002 if all rows published can be used" in done.out
    assert "1,221 of 128 rows (3.00 epochs)" in done.out
    lines = [line for line in done.err.splitlines() if line.startswith("error: job")]
    assert len(lines) == 2
    assert all("huggyllama/llama-7b" in line for line in lines)
    assert all("type model.path=FOLDER" in line for line in lines)
    assert all("data.local.alpaca_gpt4=" in line for line in lines)
    assert all("questions.sets.user252.path=FILE" in line for line in lines)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_missing_data_names_the_repository_and_the_override(understudy: Command) -> None:
    done = understudy("data=alpaca_gpt4", *SMALL_TEXT)
    assert done.code == 1
    assert "vicgalle/alpaca-gpt4" in done.err
    assert "data.local.alpaca_gpt4=" in done.err


def test_named_answers_are_a_ceiling_scored_against_the_others(
    understudy: Command, tmp_path: Path
) -> None:
    """Somebody's answers to the questions stand beside the students', never against themselves."""
    train = write_rows(tmp_path / "star.json", answers("star"))
    asked = [{"instruction": f"Say {n}.", "output": "one two", "b": "one"} for n in range(3)]
    file = write_rows(tmp_path / "asked.json", asked)
    done = understudy(
        "data=alpaca_json", f"data.path={train}", "questions=file", f"questions.path={file}",
        "questions.references.reference=output", "questions.references.b=b", *SMALL_TEXT,
    )  # fmt: skip
    assert done.code == 0, done.err
    (path,) = (tmp_path / "outputs").rglob("baselines.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    named = [row for row in rows if row["author"] == "reference b"]
    assert [row["references"] for row in named] == [{"reference": "one two"}] * 3
    assert [row["scores"]["eval/rouge_l"] for row in named] == [pytest.approx(2 / 3)] * 3


def test_a_typo_beside_an_experiments_sweep_is_what_is_complained_of(understudy: Command) -> None:
    done = understudy("experiment=cross_lingual", "seed=1,2", "data.num_exampels=3")
    assert done.code == 1
    assert "data.num_exampels: there is no such key; did you mean data.num_examples?" in done.err


def test_a_folder_that_holds_a_sweep_takes_no_other(understudy: Command, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "sweep.json").write_text("{}")
    done = understudy("-m", "data=lab_strong,lab_weak", "hydra.sweep.dir=kept")
    assert done.code == 1
    assert "kept holds a sweep already; choose another hydra.sweep.dir" in done.err
    assert (tmp_path / "kept" / "sweep.json").read_text() == "{}"
