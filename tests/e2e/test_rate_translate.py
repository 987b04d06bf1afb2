"""``stage=rate`` and ``stage=translate`` from the command line, against the lab's server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.support import SMALL_TEXT, Command, answers, own_environment, write_rows
from understudy.lab.server.app import lab_app
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.world import World

ROOT = Path(__file__).parents[2]
RATED = (
    "ratings.jsonl", "comparisons.jsonl", "statistics.json", "failures.jsonl", "ratings.html"
)  # fmt: skip
TRANSLATED = ("instructions.jsonl", "rejected.jsonl", "failures.jsonl")
TRAINING = (*SMALL_TEXT, "trainer.accelerator=cpu", "trainer.progress=false")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The port of a lab server."""
    with running(lab_app(ServerConfig(World()))) as url:
        yield url.removesuffix("/v1").rpartition(":")[2]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def _bytes(folder: Path, names: tuple[str, ...]) -> list[bytes]:
    return [(folder / name).read_bytes() for name in names]


def test_rating_is_planned_done_once_and_trains_a_reward_model(
    understudy: Command, tmp_path: Path, server: str
) -> None:
    write_rows(tmp_path / "good.json", answers("a long and helpful answer about letter things"))
    write_rows(tmp_path / "bad.json", answers("no"))
    line = ("stage=rate", f"teacher.server={server}", "answers=[good.json,bad.json]")

    planned = understudy(*line, "plan=true")
    assert planned.code == 0, planned.err
    assert "48 of good, bad" in planned.out
    assert "API calls" in planned.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json", "good.json"]

    for folder in ("first", "second"):
        done = understudy(*line, f"hydra.run.dir={folder}")
        assert done.code == 0, done.err
    assert _bytes(tmp_path / "first", RATED) == _bytes(tmp_path / "second", RATED)
    first, second = _manifest(tmp_path / "first"), _manifest(tmp_path / "second")
    assert first["metrics"]["rate/comparisons"] == 24
    assert first["metrics"]["rate/mean/good"] > first["metrics"]["rate/mean/bad"]
    assert 0 <= first["metrics"]["rate/ties/good_bad"] < 1
    assert first["asking"]["params"]["temperature"] == 0.0
    assert (first["asking"]["tally"]["asked"], second["asking"]["tally"]["asked"]) == (48, 0)
    ratings = _rows(tmp_path / "first" / "ratings.jsonl")
    assert len(ratings) == 48
    assert all(1 <= row["score"] <= 10 and row["explanation"] for row in ratings)

    trained = understudy(
        "stage=reward", "data=comparison_json", "data.path=first/comparisons.jsonl", *TRAINING,
        "hydra.run.dir=reward",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert _manifest(tmp_path / "reward")["inputs"][0]["rows"] == 24


def test_translating_is_planned_done_once_and_trains_on_what_passed(
    understudy: Command, tmp_path: Path, server: str
) -> None:
    rows = [
        *answers("an answer"),
        {"instruction": "说出三种颜色。", "input": "", "output": "红"},
        {"instruction": "Fix my_long_variable_name and other_variable_name.", "output": "Done"},
    ]
    write_rows(tmp_path / "en.json", rows)
    line = ("stage=translate", f"teacher.server={server}", "data=instructions", "data.path=en.json")

    planned = understudy(*line, "plan=true")
    assert planned.code == 0, planned.err
    assert "1 already_chinese" in planned.out
    assert [path.name for path in tmp_path.iterdir()] == ["en.json"]

    for folder in ("first", "second"):
        done = understudy(*line, f"hydra.run.dir={folder}")
        assert done.code == 0, done.err
    assert _bytes(tmp_path / "first", TRANSLATED) == _bytes(tmp_path / "second", TRANSLATED)
    first, second = _manifest(tmp_path / "first"), _manifest(tmp_path / "second")
    assert first["metrics"]["translate/translated"] == 24
    assert first["dropped"] == {"already_chinese": 1, "not_chinese": 1}
    assert second["asking"]["tally"]["asked"] == 0
    reasons = [row["reasons"] for row in _rows(tmp_path / "first" / "rejected.jsonl")]
    assert reasons == [{"instruction": ["not_chinese"]}, {"instruction": ["already_chinese"]}]

    collected = understudy(
        "stage=collect", "lang=zh", "teacher=lab_medium", f"teacher.server={server}",
        "data=instructions", "data.path=first", "hydra.run.dir=zh",
    )  # fmt: skip
    assert collected.code == 0, collected.err
    assert {row["lang"] for row in _rows(tmp_path / "zh" / "answers.jsonl")} == {"zh"}


@pytest.mark.parametrize(
    "line",
    [("stage=rate", "answers=[a.json,b.json]"),
     ("stage=translate", "data=instructions", "data.path=a.json")],
)  # fmt: skip
def test_a_server_that_is_not_there_is_one_line_and_writes_nothing(
    line: tuple[str, ...], understudy: Command, tmp_path: Path
) -> None:
    for name in "ab":
        write_rows(tmp_path / f"{name}.json", answers(name))
    port = "teacher.server=9"  # nobody listens at discard's port
    done = understudy(*line, port, "teacher.max_attempts=1")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "127.0.0.1:9" in done.err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "a.json",
        "b.json",
    ]
    assert not list(tmp_path.rglob("manifest.json"))
    assert not list(tmp_path.rglob("*.sqlite"))


@pytest.mark.slow
@pytest.mark.skipif(
    "UNDERSTUDY_TEST_DATA" not in os.environ,
    reason="UNDERSTUDY_TEST_DATA names no folder of real data",
)
def test_999_real_rows_are_rated_and_translated_and_train_both_models(
    understudy: Command, tmp_path: Path
) -> None:
    """Serve, collect three arms, rate, translate, collect in Chinese, train; all by run.py."""
    real = Path(os.environ["UNDERSTUDY_TEST_DATA"]) / "sft" / "alpaca_en_demo.json"
    data = ("data=instructions", f"data.path={real}")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "stage=serve", "server.port=0",
         "hydra.run.dir=served"],
        cwd=tmp_path, env=own_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        while not (tmp_path / "served" / "endpoint.json").exists():
            assert process.poll() is None
            time.sleep(0.1)

        def ask(stage: str, folder: str, *more: str) -> Path:
            done = understudy(
                f"stage={stage}", "teacher.server=served", f"hydra.run.dir={folder}", *more
            )
            assert done.code == 0, done.err
            return tmp_path / folder

        for name in ("strong", "medium", "weak"):
            ask("collect", name, f"teacher=lab_{name}", *data)
        rated = ask("rate", "rated", f"answers=[strong,medium,weak,{real}]")
        translated = ask("translate", "translated", *data)
        chinese = ask("collect", "zh", "lang=zh", "data=instructions", "data.path=translated")
        again = ask("rate", "again", f"answers=[strong,medium,weak,{real}]")
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said

    assert _bytes(rated, RATED) == _bytes(again, RATED)
    assert _manifest(again)["asking"]["tally"]["asked"] == 0
    metrics = _manifest(rated)["metrics"]
    assert metrics["rate/prompts"] == metrics["rate/comparisons"] == 985  # of 999; 14 stand twice
    assert metrics["rate/rated"] == 4 * 985
    assert metrics["rate/mean/strong"] > metrics["rate/mean/medium"] > metrics["rate/mean/weak"]
    kept = _rows(translated / "instructions.jsonl")
    rejected = _rows(translated / "rejected.jsonl")
    assert len(kept) + len(rejected) == 985
    assert len(kept) > 0.98 * 985
    assert len(_rows(chinese / "answers.jsonl")) == len(kept)
    bill = json.loads((tmp_path / "served" / "bill.json").read_text())
    assert bill["asked_twice"] == 0

    small = (*TRAINING, "data.num_examples=40", "model.vocabulary.vocab_size=1500")
    for line in (
        ("stage=reward", "data=comparison_json", "data.path=rated/comparisons.jsonl",
         "reward.normalise_on=nothing"),
        ("stage=sft", "data=collected", "data.path=zh"),
    ):  # fmt: skip
        folder = f"trained_{line[0].removeprefix('stage=')}"
        done = understudy(*line, *small, f"hydra.run.dir={folder}")
        assert done.code == 0, done.err
        assert _manifest(tmp_path / folder)["budget"]["steps"] == 2
