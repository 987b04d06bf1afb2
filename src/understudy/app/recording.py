"""A recorded job as plain values, and what a process does with it: records it, or follows rank 0.

The same job runs in the process that composed it or, with several devices, in processes of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from understudy import ranks
from understudy.app.signals import stop_before_errors, stops_wait
from understudy.records import InputError
from understudy.tracking.followed import FollowedRun

if TYPE_CHECKING:
    from understudy.tracking.run import RunSpec


_NOTHING: tuple[Mapping[str, Any], FollowedRun] = ({}, FollowedRun(Path(), 0))
"""What a rank that follows hands in before it is told."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be recorded.

    Attributes:
        spec: The run; its folder is the main rank's.
        stage: The stage's node, resolved.
        tracking: The tracking's node, resolved.
        threads: Threads that torch computes with; null leaves it to torch.
    """

    spec: RunSpec
    stage: Mapping[str, Any]
    tracking: Mapping[str, Any]
    threads: int | None

    def to_json(self) -> str:
        """The job as text, to be read by :meth:`from_json` in another process."""
        values = asdict(self)
        values["spec"]["folder"] = str(self.spec.folder)
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that :meth:`to_json` wrote."""
        from understudy.tracking.run import RunSpec  # noqa: PLC0415 - only a recorded run needs it

        values = json.loads(text)
        spec = values["spec"]
        return cls(**{**values, "spec": RunSpec(**{**spec, "folder": Path(spec["folder"])})})


def record(job: Job) -> None:
    """Opens the run, calls the stage and closes the run; other ranks than the main one follow it.

    Raises:
        InputError: There are several ranks, and the stage does not train.
    """
    if ranks.world_size() > 1 and "recipe" not in job.stage:
        raise InputError(
            f"stage={job.spec.stage} runs on one device; start it without torchrun or srun"
        )
    with ExitStack() as entered:
        with stops_wait():
            from understudy.stages.threads import limited_threads  # noqa: PLC0415 - loads torch

            entered.enter_context(limited_threads(job.threads))
        if ranks.is_main():
            _lead(job)
        else:
            _follow()


def built(stage: Mapping[str, Any]) -> Callable[..., None]:
    """The function of a stage's node, its parts given; a signal takes effect when it is built.

    Raises:
        Stopped: A signal came.
    """
    with stops_wait():
        function: Callable[..., None] = hydra.utils.instantiate(stage)
        return function


def checked(stage: Mapping[str, Any]) -> None:
    """Calls the ``check`` of a stage's module, where it has one, with the stage's parts.

    It raises what the stage would, before there is a run: no folder, no W&B. Stages that train have
    none, because their parts are built in processes of their own.
    """
    if "recipe" in stage:
        return
    module, _, _ = stage["_target_"].rpartition(".")
    with stops_wait():
        has_check = "check" in vars(import_module(module))
    if has_check:
        built({**stage, "_target_": f"{module}.check"})()


def _lead(job: Job) -> None:
    """Opens the run, tells the other ranks what is to be done, and does it."""
    with stops_wait():
        import wandb  # noqa: F401, PLC0415 - opening the run would load it

        from understudy.tracking.run import open_run  # noqa: PLC0415 - only a recorded run needs it

        tracking = hydra.utils.instantiate(job.tracking)
    with open_run(job.spec, tracking) as run, ranks.one_failure(), stop_before_errors():
        ranks.from_main((job.stage, FollowedRun(run.folder, run.seed, job.spec.resumes)))
        built(job.stage)(run=run)


def _follow() -> None:
    """Does the main rank's stage as far as all ranks have a part in it, from its own values."""
    with ranks.one_failure(), stop_before_errors():
        stage, run = ranks.from_main(_NOTHING)
        module, _, _ = stage["_target_"].rpartition(".")
        built({**stage, "_target_": f"{module}.follow"})(run=run)
