"""The clock of training, against a clock that the test moves."""

from __future__ import annotations

import time

import pytest

from understudy.train.throughput import Throughput


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day in a list of one; the clock reads it instead of the machine's."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_laps_leave_pauses_out(wait: list[float]) -> None:
    """20 tokens in 2 seconds before and 2 after a pause of 30 are 5 tokens a second."""
    clock = Throughput()
    clock.start(over_steps=1)
    wait[0] += 2
    clock.pause()
    wait[0] += 30
    clock.resume()
    wait[0] += 2
    assert clock.lap(20) == pytest.approx(5)
    assert (clock.running_seconds, clock.paused_seconds) == (4, 30)


def test_the_rate_is_over_the_steps_since_the_last_record(wait: list[float]) -> None:
    """A record every two steps counts both; the median is over single steps."""
    clock = Throughput()
    assert clock.median is None
    clock.start(over_steps=2)
    rates = []
    for seconds, tokens in ((1, 10), (4, 20), (1, 30)):
        wait[0] += seconds
        rates.append(clock.lap(tokens))
    assert rates == pytest.approx([10, 30 / 5, 50 / 5])
    assert clock.median == 10
