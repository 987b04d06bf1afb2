"""A step of a tour as a process: it waits for its folder, and it ends with its tour.

A tour that is killed cannot stop its steps. Each sees that it has lost its parent, and stops itself
as it does on SIGTERM; a tour that goes on finds the folder in use until then.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from understudy.app.entry import main
from understudy.app.lock import is_locked

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 120.0


def run_step() -> None:
    """Runs the line in ``sys.argv``, after the tour's process and the step's folder."""
    program, parent, folder, *words = sys.argv
    sys.argv = [program, *words]
    _wait_for(Path(folder))
    if os.getppid() != int(parent):
        sys.exit(128 + signal.SIGTERM)
    threading.Thread(target=_stop_without, args=(int(parent),), daemon=True).start()
    main()


def _wait_for(folder: Path) -> None:
    """Waits until a process that an earlier tour left behind has ended; it is doing so."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while is_locked(folder) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _stop_without(parent: int) -> None:
    """Sends SIGTERM to this process as soon as its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
