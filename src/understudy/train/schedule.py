"""How many optimizer steps a run has, and the learning rate at each of them.

As in Alpaca's recipe: warm-up W = ceil(0.03 T), lr(t) = base t / W below W, so that the first step
has learning rate 0; then half a cosine to 0 at T. Rates are factors of the optimizer's own
learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from understudy.records import InputError

_DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1.0 - progress,
    "constant": lambda progress: 1.0,
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Warm-up from 0, then ``cosine`` or ``linear`` decay to 0 at step T, or ``constant``.

    ``warmup_steps``, when given, wins over ``warmup_ratio`` (a share of all steps, rounded up).

    Raises:
        InputError: An unknown kind, or a negative warm-up, or a ratio of 1 and above.
    """

    kind: str = "cosine"
    warmup_ratio: float = 0.03
    warmup_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuses what no run could use."""
        if self.kind not in _DECAYS:
            raise InputError(f"schedule kind {self.kind!r} is unknown; use {', '.join(_DECAYS)}")
        if not 0 <= self.warmup_ratio < 1:
            raise InputError(f"warmup_ratio must lie in [0, 1), got {self.warmup_ratio}")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise InputError(f"warmup_steps must not be negative, got {self.warmup_steps}")

    @property
    def in_words(self) -> str:
        """Kind and warm-up, for people and for the guard."""
        if self.warmup_steps is not None:
            return f"{self.kind}, warm-up {self.warmup_steps} steps"
        return f"{self.kind}, warm-up {self.warmup_ratio:g} of the steps"

    def num_warmup_steps(self, total_steps: int) -> int:
        """W. A ratio is clamped to ``total_steps - 1``, so that short runs still learn.

        Raises:
            InputError: ``warmup_steps`` leaves no step at the full learning rate.
        """
        if self.warmup_steps is None:
            exact = Fraction(str(self.warmup_ratio)) * total_steps
            return max(0, min(math.ceil(exact), total_steps - 1))
        if self.warmup_steps >= total_steps > 0:
            raise InputError(
                f"warmup_steps={self.warmup_steps} does not fit into {total_steps} optimizer steps;"
                f" use at most {total_steps - 1}, or warmup_ratio"
            )
        return self.warmup_steps

    def factor(self, total_steps: int) -> Callable[[int], float]:
        """The factor of the base learning rate at step t = 0, 1, ..., for ``LambdaLR``."""
        warmup = self.num_warmup_steps(total_steps)
        decay = _DECAYS[self.kind]

        def at(step: int) -> float:
            if step < warmup:
                return step / warmup
            return decay(min(1.0, (step - warmup) / max(1, total_steps - warmup)))

        return at
