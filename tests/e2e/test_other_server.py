"""``stage=collect`` from a server that is not ours: llama.cpp's, with a tiny model."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from e2e.support import Command, manifests, write_rows

pytest.importorskip("xllamacpp", reason="llama.cpp has no wheel for this machine")
pytest.importorskip("gguf", reason="no model can be written for llama.cpp")
other_server = pytest.importorskip("chat.other_server")

INSTRUCTIONS = [f"say {word} and then {other}" for word in ("a", "two") for other in "abcdefgh"]


def test_an_arm_is_collected_from_it_and_asks_nothing_twice(
    understudy: Command, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "data.json", [{"instruction": each} for each in INSTRUCTIONS])
    model = other_server.write_gguf(tmp_path / "tiny.gguf")
    with other_server.serving(model) as url:
        line = [
            "stage=collect", "teacher=vllm", "teacher.model=tiny", f"teacher.base_url={url}",
            "teacher.name=tiny", "teacher.params.max_tokens=24", "+teacher.params.seed=1",
            "teacher.key_env=null", "data=instructions", f"data.path={data}",
        ]  # fmt: skip
        done = understudy(*line)
        assert done.code == 0, done.err
    again = understudy(*line)  # the server is gone
    assert again.code == 0, again.err
    first, second = sorted(tmp_path.rglob("answers.jsonl"))
    assert first.read_bytes() == second.read_bytes()
    rows = [json.loads(line) for line in first.read_text().splitlines()]
    assert [row["instruction"] for row in rows] == INSTRUCTIONS
    said = {word for row in rows for word in row["output"].split()}
    assert len(said) > 5
    assert said <= set(other_server.WORDS)
    assert {row["finish"] for row in rows} <= {"stop", "length"}
    counts = [each["metrics"] for each in manifests(tmp_path)]
    assert [each["collect/rows"] for each in counts] == [len(INSTRUCTIONS)] * 2
    assert counts[0]["collect/truncated"] == sum(row["finish"] == "length" for row in rows)
    (ledger,) = tmp_path.rglob("*.sqlite")
    with closing(sqlite3.connect(ledger)) as connection:
        kept = connection.execute("select count(*), min(completion_tokens) from replies").fetchone()
    assert kept[0] == len(INSTRUCTIONS)
    assert kept[1] >= 1
