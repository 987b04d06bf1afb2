"""The lab's server as a process of its own, as ``stage=serve`` starts it, for one benchmark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN = str(Path(__file__).resolve().parents[1] / "run.py")
_START_SECONDS = 120.0


@dataclass(frozen=True)
class LabServer:
    """A server that answers.

    Attributes:
        folder: Of its run.
        url: The API's, ``/v1`` included.
        pid: Of its process.
    """

    folder: Path
    url: str
    pid: int

    def bill(self, number: int | None = None) -> dict[str, Any]:
        """What it counts and bills: in all, or one request."""
        path = "/lab/bill?all=1" if number is None else f"/lab/bill/{number}"
        with urllib.request.urlopen(self.url.removesuffix("/v1") + path, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def lab_server(folder: Path, *overrides: str) -> Iterator[LabServer]:
    """``python run.py stage=serve`` on a free port, for the block.

    Raises:
        RuntimeError: It does not start.
    """
    log = folder.parent / f"{folder.name}.log"
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = ["stage=serve", "server.port=0", f"hydra.run.dir={folder}", *overrides]
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [sys.executable, RUN, *words],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        try:
            yield LabServer(folder, _address(folder, process, log), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def environment() -> dict[str, str]:
    """One thread, W&B offline, and a W&B service of the process's own."""
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return {**own, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}


def _address(folder: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            said = json.loads((folder / "endpoint.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            time.sleep(0.05)
            continue
        return str(said["base_url"])
    raise RuntimeError(f"the lab's server did not start: {log.read_text(encoding='utf-8')[-500:]}")
