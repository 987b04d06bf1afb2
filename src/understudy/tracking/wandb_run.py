"""The one W&B run of a job: online where a login is at hand, offline elsewhere, never a wait.

``WANDB_MODE`` wins over everything. Without it a run is online only when an API key is found and
the server answers within two seconds; a prompt or a timeout would stop a sweep.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.records import InputError
from understudy.tracking.server import answers, has_login, server_url

if TYPE_CHECKING:
    from wandb import Run as WandbRun

_log = logging.getLogger(__name__)
_MODES = ("online", "offline", "disabled")
_CHECKPOINTS = ("reference", "upload", "off")
AXES = ("step", "supervised_tokens")
"""What every logged row carries to be drawn over; the first is the default."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where runs are logged. ``mode``: auto, online, offline or disabled.

    ``log_text``: whether instructions and answers go to W&B. ``checkpoints``: ``reference`` records
    where they lie, ``upload`` sends them, ``off`` does neither.

    Raises:
        InputError: ``checkpoints`` is none of its choices.
    """

    project: str = "understudy"
    entity: str | None = None
    mode: str = "auto"
    log_text: bool = True
    checkpoints: str = "reference"

    def __post_init__(self) -> None:
        """Refuses what would be logged otherwise than it was meant."""
        if self.checkpoints not in _CHECKPOINTS:
            raise InputError(
                f"tracking.checkpoints={self.checkpoints} is unknown; use {', '.join(_CHECKPOINTS)}"
            )

    def resolved_mode(self) -> str:
        """The mode this run will use; see the module's docstring."""
        wanted = os.environ.get("WANDB_MODE") or self.mode
        if wanted == "dryrun":
            return "offline"
        if wanted not in ("auto", *_MODES):
            raise InputError(
                f"tracking.mode or WANDB_MODE is {wanted!r}; use auto, {', '.join(_MODES)}"
            )
        if wanted in _MODES and wanted != "online":
            return wanted
        url = server_url()
        if not has_login(url):
            if wanted == "online":
                raise InputError("tracking.mode=online needs a login; run `wandb login` first")
            return "offline"
        if wanted == "online":
            return wanted
        if not answers(url):
            _log.warning("W&B does not answer at %s: this run is logged offline", url)
            return "offline"
        return "online"


def open_wandb(
    tracking: Tracking,
    *,
    run_id: str,
    folder: Path,
    config: Mapping[str, Any],
    labels: WandbLabels,
    resumes: bool = False,
) -> WandbRun:
    """Starts the W&B run ``run_id`` in ``folder``; the caller finishes it.

    With ``resumes`` an earlier one of that id goes on. Offline, a second folder of the same id lies
    beside the first, and ``wandb sync`` makes one run of both.
    """
    import wandb  # noqa: PLC0415 - costs a second, and only a recorded run needs it

    mode = tracking.resolved_mode()
    # would send what is asked and answered to W&B, whatever log_text says, and advertises itself
    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # wandb refuses an empty one
    run = wandb.init(
        project=tracking.project,
        entity=tracking.entity,
        mode=mode,  # type: ignore[arg-type]  # one of the three literals, checked above
        id=run_id,
        resume="allow" if resumes and mode == "online" else None,
        dir=str(folder),
        name=labels.name,
        group=labels.group,
        job_type=labels.job_type,
        tags=list(labels.tags),
        config=dict(config),
        reinit="create_new",
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=15,
            x_disable_stats=mode == "offline",
            disable_git=not tracking.log_text,  # else a diff is sent, perhaps of data
        ),
    )
    for axis in AXES:
        run.define_metric(axis, hidden=True)
    for metrics in ("train/*", "val/*"):
        run.define_metric(metrics, step_metric=AXES[0])
    return run


@dataclass(frozen=True, slots=True)
class WandbLabels:
    """How a run is found on the dashboard."""

    name: str
    job_type: str
    group: str | None
    tags: Sequence[str] = ()
