"""Taking the steps of a tour: each is a process, and starts as soon as it may.

A service starts when a step first waits for nothing but it, is ready when its run folder has
``endpoint.json`` of its process, and is asked to stop when no step that is left needs it.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from understudy.records import RunError
from understudy.stages.tour_results import FINISHED, status_of
from understudy.stages.tour_steps import Step, quoted
from understudy.tracking.manifest import MANIFEST

ENDPOINT = "endpoint.json"

_log = logging.getLogger(__name__)
_COMMAND = (sys.executable, "-c", "from understudy.app.step import run_step; run_step()")
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 60.0
_LAST_LINES = 5
_OF_THIS_PROCESS = ("WANDB_SERVICE", "HYDRA_FULL_ERROR")
"""What the environment holds for this process alone; a step is a process as a user starts one."""

Process = subprocess.Popen[bytes]


@dataclass(slots=True)
class Taking:
    """The steps of a tour on their way.

    Attributes:
        folder: The tour's; a step's folder and its ``NAME.log`` lie in it.
        side_by_side: How many steps run at a time, services beside them.
        timings: Seconds of each step that ended well.
    """

    folder: Path
    side_by_side: int
    timings: dict[str, float]
    done: set[str] = field(default_factory=set)
    running: dict[str, Process] = field(default_factory=dict)
    services: dict[str, Process] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    said_before: dict[str, int] = field(default_factory=dict)
    """Bytes of each log that were there when its step started."""

    def take(self, planned: Sequence[Step]) -> None:
        """Starts each step that is not finished already, until all have ended well.

        Raises:
            RunError: A step failed, or a service ended while it was needed.
        """
        services = [step for step in planned if step.is_service]
        waiting = [step for step in planned if not step.is_service and not self._is_done(step)]
        with self._ended():
            while waiting or self.running:
                self._start_services(services, waiting)
                for step in [each for each in waiting if self._may_start(each)]:
                    if len(self.running) < self.side_by_side:
                        waiting.remove(step)
                        self.running[step.name] = self._start(step)
                time.sleep(_POLL_SECONDS)
                self._note_ended()
                self._stop_services(planned, waiting)

    def _is_done(self, step: Step) -> bool:
        if status_of(self.folder / step.name) != FINISHED:
            return False
        _log.info("step %s is finished already", step.name)
        self.done.add(step.name)
        return True

    def _start_services(self, services: Sequence[Step], waiting: Iterable[Step]) -> None:
        """Starts what a step waits for that else could start, and what that itself needs."""
        names = {step.name for step in services}
        wanted = {
            name for step in waiting if step.needs - names <= self.done for name in step.needs
        }
        for step in reversed(services):  # one refers only to those before it
            wanted |= step.needs if step.name in wanted else set()
        for step in services:
            if step.name in wanted - self.services.keys() and self._may_start(step):
                self.services[step.name] = self._start(step)

    def _may_start(self, step: Step) -> bool:
        return all(name in self.done or self._is_ready(name) for name in step.needs)

    def _is_ready(self, name: str) -> bool:
        process = self.services.get(name)
        if process is None:
            return False
        try:
            said = json.loads((self.folder / name / ENDPOINT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(said.get("pid") == process.pid)  # and not of the process that was there before

    def _note_ended(self) -> None:
        """Takes in what has ended.

        Raises:
            RunError: Not as it should have.
        """
        for name, process in self.services.items():
            if process.poll() is not None:
                how = f"ended with exit code {process.returncode} while other steps needed it"
                raise self._failure(name, how)
        for name in [name for name, each in self.running.items() if each.poll() is not None]:
            code = self.running.pop(name).returncode
            if code:
                raise self._failure(name, f"failed with exit code {code}")
            self._note_done(name)

    def _note_done(self, name: str) -> None:
        seconds = time.perf_counter() - self.started[name]
        self.timings[name] = round(seconds, 3)
        self.done.add(name)
        _log.info("step %s is done after %.1f s", name, seconds)

    def _stop_services(self, planned: Iterable[Step], waiting: Iterable[Step]) -> None:
        """Asks those to stop that nothing needs any more, and waits for them.

        Raises:
            RunError: One of them did not end well.
        """
        left = {step.name for step in waiting} | self.running.keys()
        for name in reversed(list(self.services)):
            is_needed = any(
                name in step.needs for step in planned if step.name in left | self.services.keys()
            )
            if is_needed:
                continue
            process = self.services.pop(name)
            _stop([process])
            if status_of(self.folder / name) != FINISHED:
                how = f"did not end well when nothing needed it (exit code {process.returncode})"
                raise self._failure(name, how)
            self._note_done(name)

    def _start(self, step: Step) -> Process:
        """A step in a process group of its own: a terminal's Ctrl-C reaches it through us only."""
        self.started[step.name] = time.perf_counter()
        place = self.folder / step.name
        words = _words(step, self.folder)
        _log.info("step %s: %s", step.name, shlex.join(words))
        own = {name: value for name, value in os.environ.items() if name not in _OF_THIS_PROCESS}
        num_threads = max(1, len(os.sched_getaffinity(0)) // self.side_by_side)
        own.setdefault("OMP_NUM_THREADS", str(num_threads))
        with self._log_of(step.name).open("ab") as stream:
            self.said_before[step.name] = stream.tell()
            return subprocess.Popen(
                [*_COMMAND, str(os.getpid()), str(place), *words],
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @contextmanager
    def _ended(self) -> Iterator[None]:
        """After the block nothing runs any more: the steps first, who may need their services."""
        try:
            yield
        finally:
            _stop(self.running.values())
            _stop(self.services.values())

    def _log_of(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _failure(self, name: str, how: str) -> RunError:
        log = self._log_of(name)
        own = log.read_bytes()[self.said_before[name] :]
        lines = own.decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        said = " / ".join(line.strip() for line in (errors[-1:] or lines[-_LAST_LINES:]))
        return RunError(
            f"step {name} {how}: {said.removeprefix('error: ') or 'it said nothing'} (all it said: "
            f"{log}); go on with: python run.py resume={self.folder}"
        )


def _words(step: Step, folder: Path) -> list[str]:
    """What is typed for a step that starts, goes on, or serves once more."""
    place = folder / step.name
    status = status_of(place)
    if status == FINISHED:  # a service, of which an earlier part of the tour had no more need
        _set_aside(place / MANIFEST)
    if status in (None, FINISHED):
        path = quoted(place)
        return [*step.words(folder), f"hydra.run.dir={path}", f"hydra.sweep.dir={path}"]
    return [f"resume={quoted(place)}"]


def _set_aside(path: Path) -> None:
    """Renames a file, ``manifest.json`` to ``manifest_1.json``."""
    number = 1
    while (kept := path.with_stem(f"{path.stem}_{number}")).exists():
        number += 1
    path.rename(kept)


def _stop(processes: Iterable[Process]) -> None:
    """Asks processes to stop, who may save, and ends those that do not."""
    processes = list(processes)
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def shown(timings: Mapping[str, float]) -> dict[str, str]:
    """Timings for people."""
    return {f"{name} took": f"{seconds:.1f} s" for name, seconds in timings.items()}
