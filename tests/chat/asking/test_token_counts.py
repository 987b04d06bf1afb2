"""Tokens are counted where a vocabulary is at hand, and estimated by a stated rule elsewhere."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.asking.token_counts import CACHE, by_rule, most_tokens, token_counter
from understudy.records import InputError, Turn


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    token_counter.cache_clear()
    yield
    token_counter.cache_clear()


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("你好吗", 3), ("你好 abcd", 4), ("é" * 8, 2)],
)
def test_the_rule_by_hand(text: str, count: int) -> None:
    assert by_rule(text) == count


@given(st.text(), st.text())
def test_no_tokenizer_makes_more_of_a_prompt_than_its_bound(text: str, more: str) -> None:
    turns = [Turn("system", text), Turn("user", more)]
    num_bytes = len((text + more).encode("utf-8", "replace"))
    assert most_tokens(turns) >= num_bytes + 3 + 2 * 4  # a token a byte, and the chat format
    assert most_tokens(turns) >= token_counter(None).of_messages(turns) - 3


def test_the_chat_format_is_counted() -> None:
    counter = token_counter(None)
    assert counter.of_messages([Turn("user", "abcdefgh")]) == 2 + 4 + 3
    assert counter.of_messages([Turn("system", "abcd"), Turn("user", "abcd")]) == 2 * (1 + 4) + 3
    assert not counter.is_exact
    assert "estimated" in counter.in_words


@pytest.mark.parametrize("name", ["gpt-4-0613", "cl100k_base"])
def test_without_a_network_it_is_estimated_and_said(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    caplog.set_level(logging.WARNING)
    counter = token_counter(name)
    assert counter("abcdefgh") == 2
    assert "cl100k_base not at hand" in counter.in_words
    assert CACHE in caplog.records[0].getMessage()
    token_counter(name)
    assert len(caplog.records) == 1


HANGING = """
    import time, sys
    from understudy.chat.asking import token_counts
    token_counts._LONG_WAIT_SECONDS = 0.5
    start = time.monotonic()
    counter = token_counts.token_counter("o200k_base")
    assert not counter.is_exact
    assert time.monotonic() - start < 30
    print("gone on")
"""


def test_a_network_that_never_answers_delays_it_but_a_moment(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {**os.environ, "HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "",
                       "no_proxy": "", CACHE: str(tmp_path)}  # fmt: skip
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(HANGING)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert run.stdout == "gone on\n"


def test_a_name_that_tiktoken_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match=r"teacher\.tokenizer=claude"):
        token_counter("claude")


REAL = os.environ.get("UNDERSTUDY_TEST_DATA")


@pytest.mark.skipif(REAL is None, reason="UNDERSTUDY_TEST_DATA names no folder of real data")
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("alpaca_en_demo", 190_000, 205_000), ("alpaca_zh_demo", 175_000, 190_000)],
)
def test_the_rule_on_real_text_gives_what_its_description_says(
    name: str, least: int, most: int
) -> None:
    # Counted once by byte pairs: English 161,701 (cl100k_base) and 160,209 (o200k_base) tokens,
    # Chinese 219,226 and 147,104.
    rows = json.loads((Path(str(REAL)) / "sft" / f"{name}.json").read_text(encoding="utf-8"))
    texts = [row[key] for row in rows for key in ("instruction", "input", "output") if row[key]]
    assert least < sum(map(by_rule, texts)) < most
