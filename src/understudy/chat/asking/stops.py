"""A signal that comes while requests are in flight: they are paid, so they are awaited first.

Raising out of a signal's handler would end whatever the event loop happens to do, and lose replies.
So the handlers only take note within the block. At its end they are as before, and the signal is
raised anew for those who really stop the run.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ALWAYS = (signal.SIGINT, signal.SIGTERM)
_WHERE_HANDLED = (signal.SIGUSR1, signal.SIGUSR2)
_ECHO_SECONDS = 1.0  # a scheduler may signal a process and its parent, who passes it on


@contextmanager
def stops_noted(first: Callable[[str], object], again: Callable[[], object]) -> Iterator[None]:
    """Within the block a signal to stop calls ``first`` with its name, another one ``again``.

    Another one is a second Ctrl-C, or any signal more than a moment after the first. Signals that
    are ignored (nohup) stay so; outside the main thread nothing is done, for nothing can be.

    Raises:
        KeyboardInterrupt: Or whatever the handlers that were there make of the signal, at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, float]] = []

    def note(number: int, _frame: object) -> None:
        at = time.monotonic()
        came.append((number, at))
        if len(came) == 1:
            first(signal.Signals(number).name)
        elif number == signal.SIGINT == came[0][0] or at - came[0][1] > _ECHO_SECONDS:
            again()

    caught = [
        each
        for each in (*_ALWAYS, *_WHERE_HANDLED)
        if callable(signal.getsignal(each))
        or (each in _ALWAYS and signal.getsignal(each) is signal.SIG_DFL)
    ]
    before = {each: signal.signal(each, note) for each in caught}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0][0])
