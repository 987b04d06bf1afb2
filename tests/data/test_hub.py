"""Hub data: one set of rows and one hash, whatever copy they are read from; a clear line if none.

The Hub itself is a small server on this machine, asked by a process that is not offline.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.packaged_modules.parquet import parquet  # type: ignore[import-untyped]  # as above

from data.hub_server import COMMIT, hub
from understudy.data.files import AnswerFile
from understudy.data.hub import HubAnswers
from understudy.records import InputError, NotAtHand

REPO = "owner/answers"
ROWS = [
    {"instruction": "Say a", "input": "", "output": "b", "text": "Below is an instruction"},
    {"instruction": "解释细胞", "input": "x", "output": "好", "text": "以下"},
    {"instruction": "Say c", "input": "", "output": "", "text": "Below is an instruction"},
    {"instruction": "Say a", "input": "", "output": "other", "text": "Below is an instruction"},
]
KINDS = ("json", "jsonl", "parquet", "dataset", "dataset_dict", "folder")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that what a test leaves behind serves no other."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def answers(**options: Any) -> HubAnswers:  # noqa: ANN401 - any
    return HubAnswers(**{"name": "gpt4_52k", "repo": REPO, "empty_output": "drop", **options})


def copy_of(folder: Path, kind: str, rows: list[dict[str, str]] = ROWS) -> str:
    """The rows as a local copy of one of ``KINDS``."""
    path = folder / f"copy.{kind}"
    if kind == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "dataset":
        datasets.Dataset.from_list(rows).save_to_disk(path)
    elif kind == "dataset_dict":
        other = datasets.Dataset.from_list(rows[:1])
        saved = datasets.DatasetDict(test=other, train=datasets.Dataset.from_list(rows))
        saved.save_to_disk(path)
    else:
        (path / "data").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), path / "data" / "train-00000.parquet")
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_local_copy_gives_the_rows_of_a_file(tmp_path: Path, kind: str) -> None:
    found = answers(local=copy_of(tmp_path, kind), teacher="gpt4").read()
    file = AnswerFile(copy_of(tmp_path, "jsonl"), teacher="gpt4", empty_output="drop").read()
    assert found.rows == file.rows
    assert [(row.output, row.prompt.lang) for row in found.rows] == [("b", "en"), ("好", "zh")]
    assert found.dropped == file.dropped == Counter(empty_output=1, duplicate_instruction=1)
    assert [(each.path, each.rows) for each in found.inputs] == [
        (str(tmp_path / f"copy.{kind}"), 4)
    ]


def test_the_same_rows_have_one_hash_in_every_copy(tmp_path: Path) -> None:
    stored = {answers(local=copy_of(tmp_path, kind)).read().inputs[0].sha256 for kind in KINDS}
    assert len(stored) == 1
    bare = [{name: row[name] for name in ("instruction", "output", "input")} for row in ROWS]
    folder = tmp_path / "bare"
    folder.mkdir()
    assert answers(local=copy_of(folder, "json", bare)).read().inputs[0].sha256 in stored
    assert answers(local=copy_of(folder, "json", bare[:3])).read().inputs[0].sha256 not in stored


def test_the_rules_of_files_hold_and_errors_name_copy_row_and_field(tmp_path: Path) -> None:
    for kind in KINDS:
        with pytest.raises(
            InputError, match=rf"copy\.{kind} row 3 field 'output': empty; data\.em"
        ):
            answers(local=copy_of(tmp_path, kind), empty_output="error").read()


def test_nested_rows_of_a_saved_data_set_are_expanded(tmp_path: Path) -> None:
    instances = [{"input": "x", "output": "y"}, {"input": "z", "output": "w"}]
    core = [{"instruction": "Say a", "instances": instances}]
    datasets.Dataset.from_list(core).save_to_disk(tmp_path / "saved")
    found = answers(local=str(tmp_path / "saved"), expand="instances", num_rows=2).read()
    assert [(row.prompt.input, row.output) for row in found.rows] == [("x", "y"), ("z", "w")]
    (tmp_path / "core.json").write_text(json.dumps(core), encoding="utf-8")
    file = answers(local=str(tmp_path / "core.json"), expand="instances").read()
    assert file.inputs[0].sha256 == found.inputs[0].sha256


def test_conversations_of_a_saved_data_set_are_read(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Say a"}, {"role": "assistant", "content": "b"}]
    datasets.Dataset.from_list([{"messages": said}]).save_to_disk(tmp_path / "saved")
    found = answers(local=str(tmp_path / "saved"), format="messages").read()
    assert [(row.prompt.instruction, row.output) for row in found.rows] == [("Say a", "b")]


def test_the_teacher_is_the_configs_name_unless_it_is_given() -> None:
    assert (answers().teacher, answers(teacher="gpt4").teacher) == ("gpt4_52k", "gpt4")
    assert answers() == answers(local="")
    assert answers() != answers(local="x")


@pytest.mark.parametrize(("num_rows", "warned"), [(4, False), (52_002, True), (None, False)])
def test_another_number_of_rows_than_was_published_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, num_rows: int | None, warned: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        answers(local=copy_of(tmp_path, "json"), num_rows=num_rows).read()
    assert ("4 rows, where 52,002 were published" in caplog.text) is warned


def test_what_is_no_copy_is_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "state.json").write_text("{", encoding="utf-8")
    wrong = {
        str(tmp_path / "nowhere"): "there is no such file or folder",
        str(empty): "not a data set that can be read",
        str(broken): "not a data set that can be read",
    }
    for path, said in wrong.items():
        with pytest.raises(InputError, match=rf"data\.local\.gpt4_52k=.*{said}") as caught:
            answers(local=path).read()
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(
        InputError, match=r"no split 'eval' but test, train; type data\.source\.spl"
    ):
        answers(local=copy_of(tmp_path, "dataset_dict"), split="eval").read()


def test_without_copy_cache_and_network_one_line_comes_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(NotAtHand) as caught:
        answers().read()
    assert time.monotonic() - started < 20
    assert caught.value.what.startswith("data=gpt4_52k: owner/answers is not in the Hub's cache")
    assert "offline mode" in caught.value.what
    assert caught.value.hint == "give a copy with data.local.gpt4_52k=FILE_OR_FOLDER"
    assert str(caught.value) == f"{caught.value.what}; {caught.value.hint}"


def cache_rows(cache: Path, table: str) -> None:
    """Leaves in ``cache`` what ``load_dataset`` leaves when it has downloaded the data set."""
    builder = parquet.Parquet(
        cache_dir=str(cache),
        dataset_name="answers",
        config_id="default",
        hash=COMMIT,
        data_files=table,
    )
    builder.download_and_prepare()
    (cache / "answers").rename(cache / "owner___answers")


def test_what_is_in_the_cache_serves_without_a_network(
    own_cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache_rows(own_cache, copy_of(tmp_path, "parquet"))
    with caplog.at_level(logging.WARNING):
        found = answers().read()
    assert "the Hub did not answer" in caplog.text
    assert found.inputs[0].path == f"{REPO}@{COMMIT}"
    copied = answers(local=copy_of(tmp_path, "json")).read()
    assert (found.rows, found.inputs[0].sha256) == (copied.rows, copied.inputs[0].sha256)
    assert answers(revision=COMMIT).read().rows == found.rows
    with pytest.raises(NotAtHand, match=f"the cache has commit {COMMIT} only"):
        answers(revision="0" * 40).read()


_READ = """
import json, sys
from understudy.data.hub import HubAnswers
from understudy.records import NotAtHand
for repo in sys.argv[1:]:
    try:
        read = HubAnswers(name="gpt4_52k", repo=repo, empty_output="drop").read()
        print(json.dumps([[row.output for row in read.rows], read.inputs[0].path]))
    except NotAtHand as error:
        print(json.dumps(str(error)))
"""


def read_online(endpoint: str, home: Path, *repos: str) -> list[Any]:
    """What a process that is not offline reads from each repository, or why it does not."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", _READ, *repos],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_data_set_is_downloaded_once_and_pinned_to_its_commit(tmp_path: Path) -> None:
    table = Path(copy_of(tmp_path, "parquet")).read_bytes()
    files = {"README.md": b"# Answers", "data/train-00000-of-00001.parquet": table}
    expected = [["b", "好"], f"{REPO}@{COMMIT}"]
    with hub(REPO, files) as (endpoint, asked):
        found, said = read_online(endpoint, tmp_path / "home", REPO, "owner/other")
    assert found == expected
    downloads = [path for path in asked if "/resolve/" in path]
    assert downloads
    assert all(f"/resolve/{COMMIT}/" in path for path in downloads)
    assert said.startswith("data=gpt4_52k: owner/other is not in the Hub's cache and the Hub")
    assert read_online(endpoint, tmp_path / "home", REPO) == [expected]
