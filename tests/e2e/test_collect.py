"""A teacher is asked over real HTTP by the command line: what comes, is refused, and trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from e2e.support import SMALL_LAB, Command, manifests
from understudy.chat.ledger.ledger import Ledger
from understudy.lab.server.app import lab_app
from understudy.lab.server.faults import FaultRates
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World
from understudy.records import read_jsonl

WORLD = World()
SMALL = [each for each in SMALL_LAB if not each.startswith("data.source")]
PRICES = {"lab-medium": {"input": 0.5, "output": 1.5}}
KEY = "sk-understudy-test-0123456789abcdef"


@pytest.fixture(scope="module")
def lab_url() -> Iterator[str]:
    """The lab's server, without faults."""
    with running(lab_app(ServerConfig(WORLD, prices=PRICES))) as url:
        yield url


@pytest.fixture
def collect(understudy: Command, lab_url: str) -> Command:
    """``collect("limit=40", ...)``: the lab's medium teacher answers."""

    def call(*more: str) -> Any:  # noqa: ANN401 - what a command left
        return understudy(
            "stage=collect", "teacher=lab_medium", f"teacher.base_url={lab_url}",
            "+teacher.retry_seconds=0.01", *more,
        )  # fmt: skip

    return call


def bill(url: str) -> dict[str, Any]:
    with urlopen(f"{url.removesuffix('/v1')}/lab/bill") as response:
        read: dict[str, Any] = json.load(response)
    return read


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_an_arm_is_the_teachers_own_whatever_goes_wrong_on_the_way(
    collect: Command, lab_url: str, tmp_path: Path
) -> None:
    """Row by row the lab's; the same bytes with faults; from the ledger for free."""
    own, faulty, again = (tmp_path / name for name in ("own", "faulty", "again"))
    before = bill(lab_url)["replied"]
    done = collect("limit=40", f"hydra.run.dir={own}")
    assert done.code == 0, done.err
    assert bill(lab_url)["replied"] == before + 40

    rows = list(read_jsonl(own / "answers.jsonl"))
    expected = LabTeacher(WORLD, "medium").read().rows[:40]
    assert [(row["id"], row["instruction"], row["input"], row["output"]) for row in rows] == [
        (each.prompt.id, each.prompt.instruction, each.prompt.input, each.output)
        for each in expected
    ]
    assert {(row["teacher"], row["task"] != "", row["finish"]) for row in rows} == {
        ("medium", True, "stop")
    }
    arm, manifest = read(own / "arm.json"), read(own / "manifest.json")
    assert (arm["teacher"], arm["models"], arm["counts"]["rows"]) == (
        "medium", {"lab-medium": 40}, 40,
    )  # fmt: skip
    assert arm["counts"]["failed"] == arm["counts"]["empty"] == arm["counts"]["refused"] == 0
    assert arm["left_out"] == manifest["dropped"] == {"beyond_limit": 7960}
    assert arm["template"]["name"] == "alpaca"
    assert manifest["teacher"] == "medium"
    assert manifest["comparable"]["prompts"] == arm["prompts_sha256"]
    assert manifest["asking"]["params"]["temperature"] == 1.0
    assert manifest["metrics"]["collect/rows"] == 40
    assert {each["path"] for each in manifest["outputs"]} == {
        "answers.jsonl", "failures.jsonl", "arm.json",
    }  # fmt: skip
    assert f"stage=sft data=lab_collected data.path={own}".replace(" ", "") in "".join(
        done.out.split()
    )

    rates = FaultRates(rate_500=0.1, rate_429=0.1, rate_dropped=0.1, retry_after_seconds=0.05)
    with running(lab_app(ServerConfig(WORLD, prices=PRICES, faults=rates))) as url:
        done = collect(
            "limit=40", f"teacher.base_url={url}", "teacher.max_concurrent=3",
            f"ledger={tmp_path / 'other.sqlite'}", f"hydra.run.dir={faulty}",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert sum(bill(url)["faults"].values()) > 0
    assert (faulty / "answers.jsonl").read_bytes() == (own / "answers.jsonl").read_bytes()

    done = collect("limit=40", f"hydra.run.dir={again}")
    assert done.code == 0, done.err
    assert bill(lab_url)["replied"] == before + 40
    assert (again / "answers.jsonl").read_bytes() == (own / "answers.jsonl").read_bytes()
    assert read(again / "arm.json")["usd"]["this_run"] == 0
    assert read(again / "arm.json")["usd"]["arm"] == pytest.approx(arm["usd"]["arm"])
    assert read(again / "manifest.json")["metrics"]["ask/cached"] == 40


def test_what_has_no_text_is_listed_and_asked_again_where_it_failed(
    understudy: Command, tmp_path: Path
) -> None:
    rates = FaultRates(rate_empty=0.1, rate_length=0.1, rate_content_filter=0.1)
    line = ("stage=collect", "teacher=lab_weak", "limit=60", "max_failed=1")
    with running(lab_app(ServerConfig(WORLD, faults=rates))) as url:
        done = understudy(*line, f"teacher.base_url={url}", f"hydra.run.dir={tmp_path / 'one'}")
        assert done.code == 0, done.err
    counts = read(tmp_path / "one" / "arm.json")["counts"]
    assert counts["rows"] + counts["empty"] + counts["failed"] == 60
    assert min(counts[name] for name in ("empty", "failed", "truncated")) > 0
    assert counts["failed"] == counts["failed_content_filter"]
    listed = list(read_jsonl(tmp_path / "one" / "failures.jsonl"))
    kinds = [each["kind"] for each in listed]
    assert (kinds.count("empty"), kinds.count("content_filter"), len(kinds)) == (
        counts["empty"], counts["failed"], counts["empty"] + counts["failed"],
    )  # fmt: skip
    rows = list(read_jsonl(tmp_path / "one" / "answers.jsonl"))
    assert not {row["id"] for row in rows} & {each["id"] for each in listed}
    assert sum(row["truncated"] for row in rows) == counts["truncated"]
    assert "the same line asks them again" in " ".join(done.out.split())

    with running(lab_app(ServerConfig(WORLD))) as url:
        done = understudy(*line, f"teacher.base_url={url}", f"hydra.run.dir={tmp_path / 'two'}")
        assert done.code == 0, done.err
        assert bill(url)["replied"] == counts["failed"]
    later = read(tmp_path / "two" / "arm.json")["counts"]
    assert (later["failed"], later["empty"]) == (0, counts["empty"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["teacher.model=gpt-7"], "gpt-7"),
        (["teacher.base_url=http://127.0.0.1:9/v1"], "http://127.0.0.1:9/v1"),
        (["teacher.key_env=UNDERSTUDY_NO_KEY"], "UNDERSTUDY_NO_KEY"),
        (["lang=zh"], "none of the 8,000 instructions is Chinese; translate them first"),
        (["prompt.template=null"], "type prompt=alpaca"),
        (["data=instructions", "data.path=none.json"], "none.json: no such file"),
    ],
    ids=["model", "url", "key", "language", "template", "file"],
)
def test_what_cannot_be_asked_is_one_line_and_nothing_is_written(
    more: list[str], said: str, collect: Command, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = collect(*more)
    assert done.code == 1
    (line,) = [each for each in done.err.splitlines() if each.startswith("error:")]
    assert said in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_wrong_key_is_one_line_that_does_not_hold_it(
    collect: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_SERVERS_KEY", "the-right-one")
    monkeypatch.setenv("UNDERSTUDY_KEY", KEY)
    with running(lab_app(ServerConfig(WORLD, key_env="UNDERSTUDY_SERVERS_KEY"))) as url:
        done = collect(f"teacher.base_url={url}", "teacher.key_env=UNDERSTUDY_KEY")
    assert (done.code, list(tmp_path.rglob("*"))) == (1, [])
    (line,) = [each for each in done.err.splitlines() if each.startswith("error:")]
    assert "UNDERSTUDY_KEY" in line
    assert KEY not in done.out + done.err


def test_no_key_is_in_anything_that_a_run_leaves(
    collect: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_KEY", KEY)
    with running(lab_app(ServerConfig(WORLD, key_env="UNDERSTUDY_KEY"))) as url:
        done = collect(f"teacher.base_url={url}", "teacher.key_env=UNDERSTUDY_KEY", "limit=5")
    assert done.code == 0, done.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"answers.jsonl", "arm.json", "config.yaml"} < {path.name for path in files}
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in done.out + done.err


def test_a_second_writer_of_a_ledger_is_refused_before_it_writes(
    collect: Command, tmp_path: Path
) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as held:
        held.hold()
        before = sorted(tmp_path.rglob("*"))
        done = collect("limit=3", f"ledger={held.path}")
        assert sorted(tmp_path.rglob("*")) == before
    assert done.code == 1
    assert str(held.path) in done.err


def test_a_spent_budget_ends_the_run_and_its_manifest_says_what_was_paid(
    collect: Command, tmp_path: Path
) -> None:
    done = collect("limit=50", "budget_usd=0.0015")
    assert done.code == 1
    assert "budget_usd=0.0015 is reached" in done.err
    (manifest,) = manifests(tmp_path)
    tally = manifest["asking"]["tally"]
    assert (manifest["status"], tally["stopped_by"]) == ("failed", "budget")
    assert 0 < tally["replied"] < 50
    assert 0 < tally["spent_usd"] == pytest.approx(tally["ledger_usd"])
    assert tally["spent_usd"] <= 0.0015
    assert manifest["metrics"]["ask/spent_usd"] == tally["spent_usd"]


def test_a_plan_says_calls_tokens_and_dollars_and_writes_nothing(
    understudy: Command, tmp_path: Path
) -> None:
    done = understudy("stage=collect", "teacher=gpt4", "data=alpaca_gpt35", "plan=true")
    shown = " ".join(done.out.split())
    assert (done.code, list(tmp_path.rglob("*"))) == (0, [])
    assert "52,002 if all published rows can be asked" in shown
    assert "API calls 52,002" in shown
    assert "$" in shown
    assert "data.local.alpaca_gpt35=FILE_OR_FOLDER" in shown

    limits = ("teacher.requests_per_minute=60", "limit=120", "budget_usd=5")
    done = understudy("stage=collect", "teacher=gpt4", "plan=true", *limits)
    shown = " ".join(done.out.split())
    assert (done.code, list(tmp_path.rglob("*"))) == (0, [])
    for said in ("API calls 120", "2.0 minutes: requests per minute bind", "$5.00"):
        assert said in shown


def test_a_sweep_goes_on_after_a_teacher_that_cannot_be_asked(
    collect: Command, tmp_path: Path
) -> None:
    line = ("-m", "teacher.model=gpt-7,lab-medium", "limit=3", "ledger=${teacher.model}.sqlite")
    done = collect(*line)
    assert done.code == 1
    (manifest,) = manifests(tmp_path)
    assert manifest["status"] == "finished"
    assert "job 0" in done.err
    assert "gpt-7" in done.err
    assert not (tmp_path / "gpt-7.sqlite").exists()


def test_collected_arms_train_under_their_teachers_names(
    understudy: Command, lab_url: str, tmp_path: Path
) -> None:
    for teacher in ("strong", "weak"):
        done = understudy(
            "stage=collect", f"teacher=lab_{teacher}", f"teacher.base_url={lab_url}", "limit=120",
            f"hydra.run.dir={tmp_path / teacher[0]}",
        )  # fmt: skip
        assert done.code == 0, done.err
    runs = f"{tmp_path / 's'},{tmp_path / 'w'}"
    done = understudy("-m", "data=lab_collected", f"data.path={runs}", *SMALL)
    assert done.code == 0, done.err
    students = manifests(tmp_path / "outputs" / "sweeps")
    assert [each["teacher"] for each in students] == ["strong", "weak"]
    assert len({each["comparable"]["prompts"] for each in students}) == 1
    collection = read(tmp_path / "s" / "arm.json")["collection"]
    assert {each["comparable"]["collection"] for each in students} == {collection}
    assert "eval/lab_inherited_errors" in students[1]["metrics"]
    assert "strong \N{MINUS SIGN} weak" in done.out
    shown = understudy(
        "stage=inspect", "rows=1", "data=lab_collected", f"data.path={tmp_path / 'w'}"
    )
    assert "Arm of weak" in shown.out
