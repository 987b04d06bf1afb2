"""How many threads torch computes with, for the length of a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited_threads(num_threads: int | None) -> Iterator[None]:
    """Lets torch use ``num_threads`` inside the block; null changes nothing and loads nothing.

    Two threads on two cores are faster for large models. For the lab's small one they gain little,
    and lose tenfold when another process takes a core, because each waits for the other.
    """
    if num_threads is None:
        yield
        return
    import torch  # noqa: PLC0415 - seconds that a stage without a limit may not need

    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
