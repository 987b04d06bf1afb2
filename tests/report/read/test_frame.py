"""Run folders as a data frame: one row a run, the same columns always, nulls with their reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from understudy.records import InputError, read_jsonl
from understudy.report import load, load_items
from understudy.tracking.manifest import BUDGET_KEYS, COMPARABLE_KEYS

FIRST = [
    "path", "id", "stage", "name", "arm", "arm_full", "teacher", "base_model", "num_parameters",
    "seed", "status", "error", "started", "seconds", "sweep_id", "experiment", "commit", "reasons",
    *(f"budget.{key}" for key in BUDGET_KEYS), *(f"comparable.{key}" for key in COMPARABLE_KEYS),
]  # fmt: skip

AddRun = Callable[..., Path]


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def test_every_run_is_a_row_in_the_order_of_its_folder(sweep: Path) -> None:
    frame = load(sweep)
    assert frame["path"].tolist() == [str(sweep / str(job)) for job in range(6)]
    assert frame["arm"].tolist() == ["lab_strong"] * 2 + ["lab_medium"] * 2 + ["lab_weak"] * 2
    assert frame["seed"].tolist() == [1, 2] * 3
    assert frame["arm_full"][0] == "data=lab_strong,experiment=quickstart"
    assert frame["experiment"].unique().tolist() == ["quickstart"]
    assert frame["overrides.data"][2] == "lab_medium"
    assert frame["val/loss"].tolist() == pytest.approx([0.3, 0.4] * 3)
    assert frame["budget.supervised_tokens"].tolist() == [71_000] * 6
    assert frame["dropped.too_long"].tolist() == [1] * 6
    assert frame["commit"][0] == "0123456789abcdef"


def test_a_run_folder_alone_and_a_text_path_are_sources_too(sweep: Path) -> None:
    whole, one = load(str(sweep)), load(sweep / "3")
    assert one["path"].tolist() == [str(sweep / "3")]
    shared = [name for name in FIRST if name not in ("path", "arm", "reasons")]
    pd.testing.assert_frame_equal(
        one[shared], whole.loc[[3], shared].reset_index(drop=True), check_dtype=True
    )


def test_the_columns_have_a_fixed_order_and_fixed_types(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", metrics={"eval/loss/gpt4": 1.5, "eval/rouge_l": 0.25})
    _edit(tmp_path / "0", timings={"training": 3, "data": 0.5})
    frame = load(tmp_path)
    assert frame.columns.tolist() == [
        *FIRST, "overrides.data", "overrides.experiment", "dropped.empty_output",
        "dropped.too_long", "timings.data", "timings.training", "eval/loss/gpt4", "eval/rouge_l",
        "train/tokens_per_second", "val/loss",
    ]  # fmt: skip
    kinds = frame.dtypes.astype(str)
    assert set(kinds[["seed", "budget.steps", "dropped.too_long"]]) == {"Int64"}
    assert set(kinds[["seconds", "timings.training", "eval/rouge_l"]]) == {"float64"}
    assert set(kinds[["path", "teacher", "error", "comparable.judge"]]) == {"str"}
    assert kinds["started"] == "datetime64[us, UTC]"


def test_the_docs_list_the_fixed_columns_in_their_order() -> None:
    text = (Path(__file__).parents[3] / "docs" / "frame.md").read_text(encoding="utf-8")
    table = text.split("## Columns of `load`")[1].split("\n\n")[2]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row)[:3]
              if row.index(name) < row.index("|", 2)]  # fmt: skip
    others = {f"comparable.{key}" for key in COMPARABLE_KEYS} - {"comparable.prompts"}
    assert listed == [name for name in FIRST if name not in others]


def test_a_mean_over_an_arms_runs_is_one_line(tmp_path: Path, add_run: AddRun) -> None:
    for seed, score in enumerate((0.25, 0.75), start=1):
        add_run(tmp_path / str(seed), seed=seed, metrics={"eval/rouge_l": score})
    runs = load(tmp_path)
    of_arms = runs[runs["status"] == "finished"].groupby("arm")["eval/rouge_l"]
    assert of_arms.agg(["mean", "count"]).to_numpy().tolist() == [[0.5, 2]]


def test_types_do_not_depend_on_which_values_are_null(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "a", metrics={"eval/rouge_l": None})
    add_run(tmp_path / "b", metrics={"eval/rouge_l": 0.5})
    _edit(tmp_path / "a", budget={}, started="", dropped={})
    one, other = load(tmp_path / "a"), load(tmp_path / "b")
    shared = [name for name in one if name in other]
    assert one[shared].dtypes.equals(other[shared].dtypes)
    assert one[[*FIRST, "eval/rouge_l"]].isna().sum().sum() > other[FIRST].isna().sum().sum()


@pytest.mark.parametrize(
    ("values", "dtype", "read"),
    [
        (["100", "250"], "Int64", [100, 250]),
        (["1e-3", "2"], "float64", [0.001, 2.0]),
        (["null", "3"], "str", ["null", "3"]),
        (["small", "large"], "str", ["small", "large"]),
    ],
)
def test_an_override_is_a_number_where_all_its_values_are(
    tmp_path: Path, add_run: AddRun, values: list[str], dtype: str, read: list[object]
) -> None:
    for value in values:
        add_run(tmp_path / value, arm=f"data=lab_strong,model.width={value}")
    add_run(tmp_path / "without", arm="data=lab_strong")
    frame = load(tmp_path).set_index("path").loc[[str(tmp_path / value) for value in values]]
    assert str(frame["overrides.model.width"].dtype) == dtype
    assert frame["overrides.model.width"].tolist() == read


def test_a_null_metric_is_nan_and_says_why(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", metrics={"eval/undefined": None, "eval/rouge_l": 0.5})
    frame = load(tmp_path)
    assert pd.isna(frame["eval/undefined"][0])
    assert frame["reasons"][0]["eval/undefined"] == "the answers have no tokens"


def test_seconds_run_from_the_start_to_the_end(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", started="2026-11-20T10:00:00.250+00:00")
    _edit(tmp_path / "0", finished="2026-11-20T10:02:00.750+00:00")
    assert load(tmp_path)["seconds"].tolist() == [120.5]
    assert load(tmp_path)["started"][0] == pd.Timestamp("2026-11-20T10:00:00.25Z")


def test_failed_jobs_are_rows_with_what_is_known_of_them(sweep: Path, add_run: AddRun) -> None:
    add_run(sweep / "6", status="failed", error="MemoryError: no room", arm="data=lab_weak")
    (sweep / "7").mkdir()
    (sweep / "8").mkdir()
    (sweep / "8" / "manifest.json").write_text("{broken", encoding="utf-8")
    (sweep / "sweep.json").write_text(
        json.dumps({"jobs": [["data=lab_strong", "seed=9"]] * 8}), encoding="utf-8"
    )
    frame = load(sweep).set_index("path")
    assert len(frame) == 9
    failed, missing, broken = (frame.loc[str(sweep / job)] for job in ("6", "7", "8"))
    assert (failed["status"], failed["error"]) == ("failed", "MemoryError: no room")
    assert (failed["id"], failed["overrides.data"]) == ("strong-1", "lab_weak")
    assert (missing["status"], missing["seed"]) == ("missing", 9)
    assert broken["status"] == "unreadable"
    assert frame["id"].isna().tolist() == [False] * 7 + [True] * 2
    assert frame["val/loss"].notna().sum() == 6


def test_a_superseded_run_stays_a_row_and_says_so(sweep: Path, add_run: AddRun) -> None:
    add_run(sweep / "9", started="2026-11-21T10:00:00.000+00:00", id="again")
    frame = load(sweep).set_index("path")
    assert frame.loc[str(sweep / "0"), "status"] == "superseded"
    assert frame.loc[[str(sweep / "0"), str(sweep / "9")], "arm"].tolist() == ["lab_strong"] * 2
    assert (frame["status"] == "finished").sum() == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "no such folder; give a folder of runs, or entity/project"),
        ("outputs/nope", "outputs/nope: no such folder; give a folder of runs"),
        ("./nope", "no such folder"),
        (Path("entity/project"), "no such folder"),
        ("", "holds no run"),
    ],
)
def test_what_is_no_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | Path, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    with pytest.raises(InputError, match=message):
        load(source)


def test_a_file_is_refused_by_name(sweep: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json is a file; give the folder"):
        load(sweep / "0" / "manifest.json")


def test_item_scores_are_those_of_the_rows(sweep: Path) -> None:
    items = load_items(sweep)
    assert items.columns.tolist() == [
        "run", "arm", "seed", "author", "metric", "question", "score",
    ]  # fmt: skip
    is_own = (items["author"] == "student") & (items["metric"] == "eval/rouge_l")
    own = items[is_own & (items["arm"] == "lab_weak") & (items["seed"] == 2)]
    rows = {row["id"]: row["scores"] for row in read_jsonl(sweep / "5" / "predictions.jsonl")
            if row["decoding"] == "greedy"}  # fmt: skip
    assert dict(zip(own["question"], own["score"], strict=True)) == pytest.approx(
        {question: scores["eval/rouge_l"] for question, scores in rows.items()}
    )
    assert set(items["author"]) == {
        "student", "base", "teacher strong", "teacher medium", "teacher weak",
    }  # fmt: skip
    assert items.loc[items["metric"] == "eval/undefined", "score"].isna().all()


def test_item_scores_need_a_finished_run(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", status="failed", error="MemoryError")
    with pytest.raises(InputError, match="no finished run"):
        load_items(tmp_path)
