"""How far a sweep is: which job of how many, and about how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Counts the jobs of a sweep as they start."""

    def __init__(self, num_jobs: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts the clock; ``clock`` gives seconds."""
        self._num_jobs = num_jobs
        self._clock = clock
        self._started = clock()
        self._num_begun = 0

    def next_job(self) -> str:
        """Says that the next job starts, with the time left as the jobs before it took theirs."""
        num_done = self._num_begun
        self._num_begun += 1
        said = f"job {self._num_begun} of {self._num_jobs}"
        if num_done == 0:
            return said
        seconds = (self._clock() - self._started) / num_done * (self._num_jobs - num_done)
        return f"{said}, about {_in_words(seconds)} left"


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
