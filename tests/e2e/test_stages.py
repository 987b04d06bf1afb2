"""Every stage from the command line, on what the stages before it left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.support import SMALL_LAB, Command, answers, manifests, write_rows


def test_a_student_is_evaluated_again_to_the_same_numbers(
    understudy: Command, tmp_path: Path
) -> None:
    assert understudy("data=lab_weak", "seed=5", *SMALL_LAB).code == 0
    (trained,) = manifests(tmp_path / "outputs")
    folder = next((tmp_path / "outputs").rglob("manifest.json")).parent
    done = understudy("stage=evaluate", f"model.path={folder}")
    assert done.code == 0, done.err
    (again,) = manifests(tmp_path / "outputs" / "evaluate")
    assert again["parents"] == [trained["id"]]
    kept = ("arm", "teacher", "seed", "base_model", "budget")
    assert {key: again[key] for key in kept} == {key: trained[key] for key in kept}
    names = [name for name in trained["metrics"] if name.startswith("eval/")]
    assert names
    assert {name: again["metrics"][name] for name in names} == {
        name: trained["metrics"][name] for name in names
    }
    assert again["comparable"] == trained["comparable"]


def test_a_checkpoint_inside_a_run_keeps_its_lineage(understudy: Command, tmp_path: Path) -> None:
    assert understudy("data=lab_weak", "seed=5", *SMALL_LAB).code == 0
    (trained,) = manifests(tmp_path / "outputs")
    folder = next((tmp_path / "outputs").rglob("manifest.json")).parent
    done = understudy("stage=evaluate", f"model.path={folder}/checkpoints/last")
    assert done.code == 0, done.err
    (again,) = manifests(tmp_path / "outputs" / "evaluate")
    assert again["parents"] == [trained["id"]]
    assert again["name"] == trained["name"]
    assert again["metrics"]["eval/lab_accuracy"] == trained["metrics"]["eval/lab_accuracy"]


def test_generation_with_another_template_is_refused(understudy: Command, tmp_path: Path) -> None:
    assert understudy(*SMALL_LAB).code == 0
    folder = next((tmp_path / "outputs").rglob("manifest.json")).parent
    done = understudy("stage=evaluate", f"model.path={folder}", "prompt=alpaca")
    assert done.code == 1
    assert "alpaca_compact" in done.err


def test_a_report_can_be_made_at_any_time(understudy: Command, tmp_path: Path) -> None:
    for data in ("lab_strong", "lab_weak"):
        assert understudy(f"data={data}", *SMALL_LAB).code == 0
    done = understudy("stage=report", "runs=outputs/sft")
    assert done.code == 0, done.err
    (path,) = (tmp_path / "outputs" / "report").rglob("report.json")
    assert len(json.loads(path.read_text())["arms"]) == 2


def test_an_answer_file_of_others_is_scored(understudy: Command, tmp_path: Path) -> None:
    rows = [
        {"instruction": "q", "input": "", "response": "the cat sat", "target": "the cat sat"},
        {"instruction": "r", "input": "", "response": "a dog", "target": "the cat sat down here"},
    ]
    write_rows(tmp_path / "theirs.json", rows)
    done = understudy(
        "stage=score", "answers=theirs.json", "fields.output=response", "fields.reference=target"
    )
    assert done.code == 0, done.err
    (manifest,) = manifests(tmp_path / "outputs")
    assert manifest["metrics"]["eval/rouge_l"] == pytest.approx(0.5)
    assert manifest["metrics"]["eval/rouge_l/>10"] is None
    assert "eval/rouge_l/>10" in manifest["reasons"]
    assert "0.5000" in done.out


def test_inspect_shows_what_is_learned_and_leaves_no_run(
    understudy: Command, tmp_path: Path
) -> None:
    done = understudy("stage=inspect", "rows=2", *SMALL_LAB)
    assert done.code == 0, done.err
    assert "[" in done.out
    assert "answer :" in done.out
    assert "supervised tokens" in done.out
    assert not list(tmp_path.rglob("manifest.json"))


def test_showing_removes_no_file_of_the_users(understudy: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = understudy("stage=inspect", "rows=1", "hydra.run.dir=.", *SMALL_LAB)
    assert done.code == 0, done.err
    assert understudy("plan=true", "hydra.run.dir=.", *SMALL_LAB).code == 0
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_run_folder_is_never_used_twice(understudy: Command, tmp_path: Path) -> None:
    assert understudy(*SMALL_LAB, "hydra.run.dir=one").code == 0
    done = understudy(*SMALL_LAB, "hydra.run.dir=one")
    assert done.code == 1
    assert "holds a run already" in done.err
    (manifest,) = manifests(tmp_path)
    assert manifest["status"] == "finished"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=-1", "Invalid learning rate"),
        ("optimizer.betas=3", "optimizer"),
        ("lab.families=[zzz]", "no family 'zzz'"),
        ("trainer.accelerator=tpu", "trainer"),
    ],
)
def test_a_value_that_a_part_refuses_is_one_line(
    override: str, said: str, understudy: Command
) -> None:
    done = understudy(*SMALL_LAB, override)
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("stage", ["sft", "inspect"])
def test_a_plan_prints_steps_tokens_memory_and_runs_nothing(
    stage: str, understudy: Command, tmp_path: Path
) -> None:
    done = understudy("plan=true", f"stage={stage}", *SMALL_LAB)
    assert done.code == 0, done.err
    if stage == "sft":
        for words in ("optimizer steps", "supervised tokens", "peak memory", "answers to generate"):
            assert words in done.out
    assert not list(tmp_path.rglob("manifest.json"))


GOOD = answers("star")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "a.json"),
        (b"[", "a.json"),
        (b"[]", "0 rows"),
        (b'\xff\xfe["x"]', "UTF-8"),
        ([*GOOD, {"instruction": "x", "input": ""}], "row 25 field 'output'"),
        ([*GOOD, {"instruction": 7, "input": "", "output": "y"}], "row 25 field 'instruction'"),
        ([*GOOD, {"instruction": "x", "input": "", "output": ""}], "row 25 field 'output'"),
        ([*GOOD, {"instruction": "x", "output": "y" * 10**6}], "row 25 field 'output'"),
        ([{**row, "id": "same"} for row in GOOD], "row 2 field 'id'"),
    ],
    ids=["no such file", "broken JSON", "no rows", "wrong encoding", "missing key", "wrong type",
         "empty output", "a million characters", "duplicate ids"],
)  # fmt: skip
def test_a_malformed_file_is_one_line_with_file_row_and_field(
    content: bytes | list[dict[str, str]] | None, said: str, understudy: Command, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write_rows(path, content)
    done = understudy("data=alpaca_json", "data.path=a.json", "model=scratch_10m")
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.err.count("error:") == 1
    (manifest,) = manifests(tmp_path / "outputs")
    assert manifest["status"] == "failed"
