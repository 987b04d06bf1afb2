"""The rows of a run that asked, as a data set with its card: ``stage=push``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset  # type: ignore[import-untyped]  # it has none

from hub_server import Hub
from stages.test_push import UPLOADS, arguments, manifest_of
from understudy.data.comparison_files import ComparisonFiles
from understudy.data.files import AnswerFile
from understudy.prompts import ALPACA
from understudy.records import InputError, write_jsonl
from understudy.stages.push import check
from understudy.stages.push import run as push
from understudy.tracking.run import Run

ASKING = {
    "name": "gpt4", "model": "gpt-4-0613", "api": "openai", "endpoint": "https://api.openai.com/v1",
    "params": {"temperature": 1.0, "max_tokens": 512}, "refused": [], "batch": False,
    "prices_of": "2026-01-01",
    "tally": {"prompt_tokens": 7, "completion_tokens": 9, "ledger_usd": 0.5},
    "used": {"models": {"gpt-4-0613": 3}, "prompt_tokens": 1234, "completion_tokens": 5678,
             "usd": 0.375, "first_reply": "2026-01-02", "last_reply": "2026-01-03"},
}  # fmt: skip
ARM_FACTS = {
    "data": "alpaca_gpt35", "models": {"gpt-4-0613": 3}, "prompts_sha256": "f00d",
    "template": {"name": "alpaca", "sha256": ALPACA.sha256}, "left_out": {"duplicate": 2},
    "counts": {"rows": 3, "truncated": 1, "refused": 0, "empty": 0, "failed": 4},
    "tokens": {"prompt": 1234, "completion": 5678}, "usd": {"arm": 0.375},
}  # fmt: skip
COLLECTED = [
    {"id": "a", "instruction": "Name a color.", "input": "", "output": "red | `blue`",
     "lang": "en", "truncated": False, "references": {}},
    {"id": "b", "instruction": "列出颜色", "input": "三种", "output": "红色和黄色", "lang": "zh",
     "truncated": True, "references": {}},
    {"id": "c", "instruction": "Add {them}.", "input": "1 2", "output": "3", "lang": "en",
     "truncated": False, "references": {}},
]  # fmt: skip


def asked(folder: Path, stage: str, file: str, rows: Sequence[dict[str, Any]]) -> Path:
    """The folder of a finished run of a stage that asks."""
    write_jsonl(folder / file, rows)
    manifest = manifest_of(stage, {f"{stage}/rows": 3})
    manifest.asking = dict(ASKING)
    manifest.write(folder)
    return folder


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A finished run of ``stage=collect``."""
    folder = asked(tmp_path / "collect", "collect", "answers.jsonl", COLLECTED)
    (folder / "arm.json").write_text(json.dumps(ARM_FACTS))
    return folder


def test_an_arm_is_a_data_set_for_others_and_for_us(
    collected: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    push(run=opened(), **arguments(collected, path=str(folder), license="cc-by-nc-4.0"))
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    without = [{k: v for k, v in row.items() if k != "references"} for row in COLLECTED]
    assert loaded["train"].to_list() == without
    rows = AnswerFile(path=str(folder / "data/train.parquet"), teacher="gpt4").read().rows
    assert [(row.prompt.instruction, row.prompt.input, row.output) for row in rows] == [
        (row["instruction"], row["input"], row["output"]) for row in COLLECTED
    ]
    assert [row.prompt.lang for row in rows] == ["en", "zh", "en"]


def test_a_data_card_is_filled(collected: Path, opened: Callable[[], Run], tmp_path: Path) -> None:
    push(run=opened(), **arguments(collected, license="cc-by-nc-4.0"))
    text = (tmp_path / "run0/push/README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "language": ["en", "zh"], "license": "cc-by-nc-4.0", "size_categories": ["n<1K"],
        "task_categories": ["text-generation"], "pretty_name": "mine",
        "tags": ["understudy", "instruction-tuning"],
        "configs": [{"config_name": "default",
                     "data_files": [{"split": "train", "path": "data/train.parquet"}]}],
    }  # fmt: skip
    for said in (
        "| languages | 2 en, 1 zh |", "| instructions of | alpaca_gpt35 |",
        "| model, as asked for | gpt-4-0613 |",
        "| model, as the server called it | 3 gpt-4-0613 |",
        "| parameters | temperature 1.0, max_tokens 512 |", f"| template, sha256 | {ALPACA.sha256}",
        "| truncated | 1 |", "| failed | 4 |", "| left out before asking | 2 duplicate |",
        "| prompt tokens | 1,234 |", "| cost, USD | 0.3750 |", "| prices of | 2026-01-01 |",
        "| `output` | zh | characters | 1 | 5 | 5 | 5 | 5 |",
        "| `output` | en | words | 2 | 2 | 2 | 3 | 3 |",
        '"output": "red | `blue`"', "fall under its provider's terms",
        "python run.py stage=collect data=gpt4 seed=3",
        "stage=sft data=alpaca_json data.path=FOLDER/data/train.parquet",
    ):  # fmt: skip
        assert said in text, said
    assert not re.search(r"None|null|TODO|\|\s*\|\n", text.replace("|  |  |\n", ""))
    assert "the lab" not in text


def test_what_the_lab_wrote_is_said_to_be_the_labs(
    collected: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    file = collected / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["asking"]["endpoint"] = "lab"
    file.write_text(json.dumps(manifest))
    (collected / "arm.json").unlink()
    push(run=opened(), **arguments(collected))
    text = (tmp_path / "run0/push/README.md").read_text()
    assert "This comes from the lab" in text
    assert "- lab\n" in text
    assert "Licence: unknown; nobody has stated one" in text
    assert "| model, as the server called it | 3 gpt-4-0613 |" in text
    assert "| completion tokens | 5,678 |" in text


def test_ratings_are_comparisons_for_a_reward_model(
    opened: Callable[[], Run], tmp_path: Path
) -> None:
    rows = [
        {"user_input": f"Name {n}.", "responses_and_scores": [
            {"response": "good one", "source": "gpt4", "score": 9.0},
            {"response": "", "source": "weak", "score": 2.5}]}
        for n in range(3)
    ]  # fmt: skip
    push(run=opened(), **arguments(asked(tmp_path / "rate", "rate", "comparisons.jsonl", rows)))
    saved = tmp_path / "run0/push"
    loaded = load_dataset(str(saved), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].to_list() == rows
    found = ComparisonFiles(path=str(saved / "data/train.parquet")).read().rows
    assert [[each.score for each in row.candidates] for row in found] == [[9.0, 2.5]] * 3
    assert "| `response of gpt4` | en | words | 3 | 2 |" in (saved / "README.md").read_text()


def test_parts_of_the_rows_become_splits(opened: Callable[[], Run], tmp_path: Path) -> None:
    rows = [{"instruction": "q", "output": "a", "split": name} for name in ("test", "dev", "test")]
    folder = asked(tmp_path / "sample", "sample", "samples.jsonl", rows)
    push(run=opened(), **arguments(folder))
    loaded = load_dataset(str(tmp_path / "run0/push"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"test": 2, "dev": 1}


@UPLOADS
def test_a_data_set_is_pushed_as_one(
    hub: Hub, collected: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    push(run=opened(), **arguments(collected, repo="me/arm", private=False))
    repo = hub.repos["datasets/me/arm"]
    assert not repo.private
    sent = (tmp_path / "run0/push/data/train.parquet").read_bytes()
    assert repo.files["data/train.parquet"] == sent
    assert b"load_dataset('me/arm')" in repo.files["README.md"]


def test_a_field_of_several_types_and_no_rows_are_refused(
    collected: Path, opened: Callable[[], Run]
) -> None:
    write_jsonl(collected / "answers.jsonl", [{"output": "a"}, {"output": {"b": 1}}])
    with pytest.raises(InputError, match="field 'output' holds values of several types"):
        push(run=opened(), **arguments(collected))
    (collected / "answers.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no rows, so there is nothing to save"):
        check(**arguments(collected))
