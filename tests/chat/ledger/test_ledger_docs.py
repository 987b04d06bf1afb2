"""The lines of docs/ledger.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from chat.ledgers import TEACHER, filled, reply, request
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.ledger.schema import COLUMNS

PAGE = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text(encoding="utf-8")
READING, MERGING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_pandas_reads_every_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    filled(tmp_path / "ledger.sqlite", 3)
    names: dict[str, Any] = {}
    exec(READING, names)
    assert names["replies"]["completion_tokens"].tolist() == [5, 6, 7]
    assert tuple(names["replies"].columns) == COLUMNS["replies"]
    for column in COLUMNS["replies"]:
        assert f"`{column}`" in PAGE


def test_merging_keeps_both_and_every_row_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(tmp_path / "ledger.sqlite", 3)
    with Ledger.open("other.sqlite") as other:
        for number in (2, 3, 4):
            other.add(request(number), TEACHER, reply(number)).result(10)
    exec(MERGING, {})
    with Ledger.open("ledger.sqlite") as ledger:
        ledger.hold()
        assert [each.request_id for each in ledger.replies()] == [f"id{n}" for n in range(5)]
        assert all(ledger.has(reply(number).key) for number in range(5))
    assert caplog.records == []
