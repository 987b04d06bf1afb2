"""Which signals stop asking, and which hurry it; raised in this process, in a known order."""

from __future__ import annotations

import signal

import pytest

from understudy.chat.asking.stops import stops_noted


def _ctrl_c_echo_ctrl_c(said: list[str]) -> None:
    with stops_noted(said.append, lambda: said.append("again")):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert said == ["SIGINT"]
        signal.raise_signal(signal.SIGINT)


def test_an_echo_from_a_scheduler_changes_nothing_and_a_second_ctrl_c_hurries() -> None:
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _ctrl_c_echo_ctrl_c(said)
    assert said == ["SIGINT", "again"]


def test_what_handled_a_signal_before_does_so_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stops_noted(lambda _: None, lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
