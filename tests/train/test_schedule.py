"""The learning rate against golden numbers and against transformers' own schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from understudy.records import InputError
from understudy.train.schedule import Schedule


@pytest.mark.parametrize(
    ("total_steps", "warmup"), [(1221, 37), (2439, 74), (1218, 37), (2436, 74), (100, 3), (101, 4)]
)
def test_warmup_is_three_percent_rounded_up(total_steps: int, warmup: int) -> None:
    """The step counts of 52,002 rows, and that 3 % of 100 is 3, not 4."""
    assert Schedule().num_warmup_steps(total_steps) == warmup


@pytest.mark.parametrize(
    ("kind", "hf_name"),
    [
        ("cosine", "cosine"),
        ("linear", "linear"),
        ("constant", "constant_with_warmup"),
    ],
)
def test_rates_equal_those_of_transformers(kind: str, hf_name: str) -> None:
    """Every learning rate of a run, the first (0) and the last included."""
    total_steps, warmup = 57, 5
    ours = Schedule(kind, warmup_steps=warmup).factor(total_steps)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = get_scheduler(hf_name, optimizer, warmup, total_steps)
    theirs = scheduler.lr_lambdas[0] if isinstance(scheduler, LambdaLR) else None
    assert theirs is not None
    assert [ours(t) for t in range(total_steps + 1)] == pytest.approx(
        [theirs(t) for t in range(total_steps + 1)], abs=1e-12
    )


def test_the_cosine_of_methods() -> None:
    """lr(t) = t / W below W and 0.5 (1 + cos(pi (t - W) / (T - W))) from there."""
    rate = Schedule().factor(1221)
    assert rate(0) == 0
    assert rate(36) == 36 / 37
    assert rate(37) == 1
    assert rate(700) == pytest.approx(0.5 * (1 + math.cos(math.pi * 663 / 1184)), abs=1e-12)


def test_no_warmup_starts_at_the_full_rate() -> None:
    """A constant schedule without warm-up never changes."""
    rate = Schedule("constant", warmup_ratio=0.0).factor(10)
    assert {rate(t) for t in range(10)} == {1.0}


@given(st.integers(1, 40), st.floats(0, 0.99))
def test_short_runs_reach_the_full_rate_and_stay_within_bounds(steps: int, ratio: float) -> None:
    """T <= W clamps W to T - 1: one step at least has factor 1."""
    rate = Schedule(warmup_ratio=ratio).factor(steps)
    rates = [rate(t) for t in range(steps)]
    assert max(rates) == 1.0
    assert min(rates) >= 0.0


def test_a_warmup_longer_than_the_run_is_refused() -> None:
    """Named steps are a choice, so they are not clamped in silence."""
    with pytest.raises(InputError, match=r"warmup_steps=100 .* 50 optimizer steps; use at most 49"):
        Schedule(warmup_steps=100).factor(50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "cosin"}, r"'cosin' is unknown; use cosine, linear, constant"),
        ({"warmup_ratio": 1.0}, r"\[0, 1\), got 1.0"),
        ({"warmup_steps": -1}, "must not be negative"),
    ],
)
def test_bad_schedules_are_refused(arguments: dict[str, object], message: str) -> None:
    """The message names the value and the choices."""
    with pytest.raises(InputError, match=message):
        Schedule(**arguments)  # type: ignore[arg-type]  # wrong on purpose
