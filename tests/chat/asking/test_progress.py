"""What is shown: counts, speed and cost; a bar in a terminal, lines elsewhere."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
import termios
import textwrap
from collections import Counter

import pytest

from understudy.chat.asking.progress import Progress, Tally
from understudy.chat.requests import Reply


def reply(cost: float | None = 0.5, *, finish: str = "stop", text: str = "a") -> Reply:
    return Reply("k", text, finish, "m", 10, 5, cost)


def test_a_tally_counts_replies_and_forgets_no_unknown_price() -> None:
    tally = Tally(cached=3, duplicates=2, failed=Counter(server=1), ledger_usd=1.0)
    tally.count(reply())
    tally.count(reply(finish="length"))
    tally.count(reply(text=" \n"))
    assert (tally.replied, tally.truncated, tally.empty, tally.done) == (3, 1, 1, 9)
    assert (tally.spent_usd, tally.ledger_usd, tally.tokens) == (1.5, 2.5, 45)
    tally.count(reply(None))
    tally.count(reply())
    assert tally.spent_usd is None
    assert tally.ledger_usd == 3.0
    assert tally.facts()["failed"] == {"server": 1}


def test_the_projection_is_what_is_spent_and_as_much_for_each_that_is_left() -> None:
    tally = Tally(cached=10)
    with Progress("t", 100, tally, is_shown=False) as progress:
        assert "$0.00," not in progress.in_words
        for _ in range(20):
            tally.asked += 1
            tally.count(reply())
        said = progress.in_words
    assert said.startswith("30 of 100 done, 0 failed, ")
    assert said.endswith("$10.00 of $45.00 projected")  # 70 more at 50 cents


def test_without_a_total_nothing_is_projected() -> None:
    tally = Tally()
    with Progress("t", None, tally, is_shown=False) as progress:
        tally.count(reply(1.0))
        assert progress.in_words.startswith("1 done")
        assert progress.in_words.endswith("$1.00")
        tally.count(reply(None))
        assert progress.in_words.endswith("price unknown")


def test_lines_come_now_and_then_where_there_is_no_terminal(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    at = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: at)
    tally = Tally()
    with Progress("answers", 1000, tally) as progress:
        for _ in range(500):
            at += 0.125
            tally.asked += 1
            tally.count(reply(0.0))
            progress.look()
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 2
    assert lines[1].startswith("answers: 480 of 1,000 done, 0 failed, 8.0 req/s, 120 tok/s")


BAR = """
    from understudy.chat.asking.progress import Progress, Tally
    from understudy.chat.requests import Reply
    tally = Tally()
    with Progress("answers", 3, tally) as progress:
        for _ in range(3):
            tally.count(Reply("k", "a", "stop", "m", 10, 5, 0.25))
            progress.look()
"""


def test_a_terminal_shows_a_bar_with_cost_and_failures() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 200))
    line = [sys.executable, "-c", textwrap.dedent(BAR)]
    subprocess.run(line, stderr=theirs, check=True)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    last = shown.decode().strip().split("\r")[-1]
    assert "answers 100%" in last
    assert "3/3" in last
    assert "0 failed" in last
    assert "$0.75 of $0.75 projected" in last
