"""An event loop whose clock jumps: what takes minutes of waiting takes none."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: the time that it would have waited has passed, and a microsecond more."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self.now += (0.0 if ready else timeout or 0.0) + 1e-6
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtually(main: Coroutine[Any, Any, _T]) -> _T:
    """What the coroutine returns, without waiting for any of its sleeps."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(main)
