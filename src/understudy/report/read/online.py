"""Reads the runs of a W&B project back: the manifest that each run left in config and summary.

``config["understudy"]`` holds who the run is; the summary holds its metrics by their own names and
the rest of the manifest as ``budget/..``, ``comparable/..``, ``dropped/..``, ``timings/..``,
``reasons``, ``status`` and ``seconds`` (tracking.run writes them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from understudy.records import InputError
from understudy.report.names import overrides_of
from understudy.report.read.manifests import check_manifest
from understudy.report.read.runs import FailedJob, RunRecord
from understudy.tracking.manifest import normalised_arm
from understudy.tracking.server import answers, has_login, server_url

if TYPE_CHECKING:
    from wandb.apis.public.runs import Run as RemoteRun

_PARTS = ("budget", "comparable", "dropped", "timings", "truncated")
_OF_A_LOG = ("system", "trainer")
_OF_A_STEP = frozenset(
    f"train/{name}"
    for name in ("loss", "example_loss", "grad_norm", "learning_rate", "supervised_tokens")
)
_TIMEOUT_SECONDS = 30
_SAMPLES = 500


def read_project(
    project: str, *, with_history: bool = False
) -> Iterator[tuple[RunRecord | FailedJob, Mapping[str, Any]]]:
    """Every run of ``entity/project`` from the oldest, with its manifest.

    Runs of stage ``report`` are no part of a comparison. A run that another program wrote is a
    failed job that says so.

    Raises:
        InputError: Nobody is logged in, W&B does not answer, or there is no such project.
    """
    for remote in _runs_of(project):
        manifest = _manifest(remote)
        if manifest.get("stage") != "report":
            yield _record(remote, manifest, with_history=with_history), manifest


def _runs_of(project: str) -> list[RemoteRun]:
    import wandb  # noqa: PLC0415 - costs a second, and run folders do not need it

    base_url = server_url()
    _check_access(project, base_url)
    try:
        return list(wandb.Api(timeout=_TIMEOUT_SECONDS).runs(project, lazy=False))
    except ValueError as error:
        raise InputError(
            f"{project}: no such folder here, and no such project that you may read on {base_url}"
        ) from error
    except Exception as error:  # what the client raises has no common base
        reason = " ".join(str(error).split())
        raise InputError(f"{project}: {base_url} could not be read: {reason}") from error


def _check_access(project: str, base_url: str) -> None:
    """Refuses at once what wandb would ask for at a prompt or try for minutes."""
    if not has_login(base_url):
        raise InputError(
            f"{project}: no such folder here, and reading it from {base_url} needs a login; "
            "run `wandb login`"
        )
    if not answers(base_url):
        raise InputError(
            f"{project}: no such folder here, and {base_url} does not answer; "
            "check the network, or give a folder of runs"
        )


def _manifest(remote: RemoteRun) -> dict[str, Any]:
    """What the run's manifest says, as far as W&B was told."""
    summary: Mapping[str, Any] = remote.summary_metrics
    facts = {**remote.config.get("understudy", {}), "git": remote.config.get("git")}
    reasons = summary.get("reasons") or {}
    metrics = {key: value for key, value in summary.items() if _is_metric(key, value)}
    parts = {
        part: {
            key.removeprefix(f"{part}/"): value
            for key, value in summary.items()
            if key.startswith(f"{part}/")
        }
        for part in _PARTS
    }
    return {
        "id": remote.id,
        **facts,
        "started": summary.get("started") or remote.created_at,
        "seconds": summary.get("seconds"),
        "status": str(summary.get("status") or remote.state),
        "error": summary.get("error"),
        "metrics": dict.fromkeys(reasons) | metrics,  # W&B keeps no null
        "reasons": reasons,
        **parts,
    }


def _is_metric(key: str, value: object) -> bool:
    """True for what a run records at its end; its last step's values are no metrics of the run."""
    is_ours = "/" in key and key.partition("/")[0] not in (*_PARTS, *_OF_A_LOG)
    return is_ours and key not in _OF_A_STEP and isinstance(value, int | float | None)


def _record(
    remote: RemoteRun, manifest: dict[str, Any], *, with_history: bool
) -> RunRecord | FailedJob:
    if "stage" not in manifest:
        return _failed(remote, manifest, "unreadable", "its config has no record of Understudy")
    if manifest["status"] != "finished":
        reason = manifest.get("error") or f"W&B has it as {remote.state}"
        return _failed(remote, manifest, manifest["status"], str(reason))
    try:
        check_manifest(manifest)
    except InputError as error:
        return _failed(remote, manifest, "unreadable", str(error))
    history = _history(remote) if with_history else pd.DataFrame()
    return RunRecord(Path(remote.id), remote.url, manifest, manifest["metrics"], {}, {}, history)


def _failed(remote: RemoteRun, manifest: Mapping[str, Any], status: str, error: str) -> FailedJob:
    seed = manifest.get("seed")
    arm = normalised_arm(overrides_of(str(manifest.get("arm") or "")))
    return FailedJob(remote.url, arm, seed if isinstance(seed, int) else None, status, error)


def _history(remote: RemoteRun) -> pd.DataFrame:
    """The logged steps, sampled by W&B, in the columns of a run folder's own."""
    return pd.DataFrame(remote.history(samples=_SAMPLES, pandas=False))
