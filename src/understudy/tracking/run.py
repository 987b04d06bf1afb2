"""A run: the folder, the manifest and the W&B run of one job, opened and closed in one place."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.records import InputError, InputFile, write_jsonl
from understudy.tracking.manifest import (
    MANIFEST,
    Manifest,
    file_sha256,
    git_state,
    installed_versions,
    now,
    text_sha256,
)
from understudy.tracking.wandb_run import Tracking, WandbLabels, open_wandb

if TYPE_CHECKING:
    from wandb import Run as WandbRun


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is before it starts; ``config`` is the resolved config as plain values."""

    stage: str
    name: str
    arm: str
    seed: int
    folder: Path
    config: Mapping[str, Any]
    overrides: Sequence[str] = ()
    teacher: str | None = None
    sweep_id: str | None = None
    experiment: str | None = None


class Run:
    """What a stage records. Made by :func:`open_run`, which also closes it."""

    def __init__(self, spec: RunSpec, manifest: Manifest, wandb_run: WandbRun) -> None:
        """Wraps an open manifest and W&B run; use :func:`open_run`."""
        self.folder = spec.folder
        self.seed = spec.seed
        self.manifest = manifest
        self.wandb = wandb_run

    def add_inputs(self, files: Iterable[InputFile]) -> None:
        """Records files that were read."""
        self.manifest.inputs.extend(asdict(file) for file in files)

    def add_output(self, path: Path, *, rows: int | None = None) -> None:
        """Records a file of the run folder with its sha256; ``rows`` is null where it has none."""
        self.manifest.outputs.append(
            {
                "path": path.relative_to(self.folder).as_posix(),
                "sha256": file_sha256(path),
                "rows": rows,
            }
        )

    def write_rows(self, filename: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Writes a JSONL file into the run folder and records it."""
        path = self.folder / filename
        num_rows = write_jsonl(path, rows)
        self.add_output(path, rows=num_rows)
        return path

    def add_dropped(self, counts: Mapping[str, int]) -> None:
        """Adds to the counters of rows left out, by reason."""
        for reason, count in counts.items():
            self.manifest.dropped[reason] = self.manifest.dropped.get(reason, 0) + count

    def add_metrics(
        self, metrics: Mapping[str, float | None], reasons: Mapping[str, str] | None = None
    ) -> None:
        """Records final metrics; a null wants its reason in ``reasons``."""
        self.manifest.metrics.update(metrics)
        self.manifest.reasons.update(reasons or {})

    def inherit(self, parent: Mapping[str, Any]) -> None:
        """Takes arm, teacher, base model, seed and training facts over from a parent's manifest."""
        self.manifest.parents.append(parent["id"])
        self.manifest.arm = parent["arm"]
        self.manifest.teacher = parent["teacher"]
        self.manifest.base_model = parent["base_model"]
        self.manifest.seed = parent["seed"]
        self.manifest.budget = dict(parent["budget"])
        own = {key: value for key, value in self.manifest.comparable.items() if value is not None}
        self.manifest.comparable = {**parent["comparable"], **own}
        inherited = {key: parent[key] for key in ("arm", "teacher", "seed", "base_model")}
        self.wandb.config.update(inherited, allow_val_change=True)  # type: ignore[no-untyped-call]

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the seconds of the block to ``timings[part]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.manifest.timings[part] = round(self.manifest.timings.get(part, 0.0) + seconds, 3)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Logs rows of equal keys as a W&B table."""
        import wandb  # noqa: PLC0415 - loaded by now; a ground module does not load it for others

        if rows:
            columns: list[str | int] = list(rows[0])
            table = wandb.Table(
                columns=columns, data=[[row[str(key)] for key in columns] for row in rows]
            )
            self.wandb.log({name: table})

    def _close(self, status: str, error: str | None) -> None:
        self.manifest.status = status
        self.manifest.error = error
        self.manifest.finished = now()
        self.manifest.write(self.folder)
        for name, value in self.manifest.metrics.items():
            self.wandb.summary[name] = value
        self.wandb.summary["dropped"] = dict(self.manifest.dropped)
        self.wandb.finish(exit_code=0 if status == "finished" else 1)


@contextmanager
def open_run(spec: RunSpec, tracking: Tracking) -> Iterator[Run]:
    """Opens the run's folder, manifest and W&B run, and closes them whatever happens.

    The manifest is on disk with status "running" before the block starts. An exception, an
    interrupt included, closes the run as "failed" with its text and goes on to the caller.

    Raises:
        InputError: The folder holds a run already.
    """
    if (spec.folder / MANIFEST).exists():
        raise InputError(f"{spec.folder} holds a run already; choose another hydra.run.dir")
    spec.folder.mkdir(parents=True, exist_ok=True)
    run_id = f"{spec.stage}-{secrets.token_hex(4)}"
    manifest = _new_manifest(spec, run_id)
    manifest.write(spec.folder)
    try:
        wandb_run = _start_wandb(spec, tracking, manifest)
    except BaseException as error:
        manifest.status, manifest.error, manifest.finished = "failed", _one_line(error), now()
        manifest.write(spec.folder)
        raise
    run = Run(spec, manifest, wandb_run)
    try:
        yield run
    except BaseException as error:
        run._close("failed", _one_line(error))
        raise
    run._close("finished", None)


def _new_manifest(spec: RunSpec, run_id: str) -> Manifest:
    return Manifest(
        id=run_id,
        stage=spec.stage,
        name=spec.name,
        arm=spec.arm,
        seed=spec.seed,
        teacher=spec.teacher,
        sweep_id=spec.sweep_id,
        overrides=list(spec.overrides),
        config_sha256=text_sha256(spec.config),
        git=git_state(Path(__file__).parent),
        started=now(),
        versions=installed_versions(),
    )


def _start_wandb(spec: RunSpec, tracking: Tracking, manifest: Manifest) -> WandbRun:
    labels = WandbLabels(
        name=f"{spec.arm or spec.name} seed={spec.seed}",
        job_type=spec.stage,
        group=spec.sweep_id or spec.experiment,
        tags=_tags(spec.arm),
    )
    config = {
        **spec.config,
        "stage": spec.stage,
        "arm": spec.arm,
        "teacher": spec.teacher,
        "seed": spec.seed,
        "git": manifest.git,
    }
    run = open_wandb(tracking, run_id=manifest.id, folder=spec.folder, config=config, labels=labels)
    manifest.wandb = {"id": run.id, "url": None if run.offline else run.url}
    return run


def _tags(arm: str) -> list[str]:
    """The overrides of an arm as W&B tags, which are at most 64 characters."""
    return [part[:64] for part in arm.split(",") if part]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
