"""A run: the folder, the manifest and the W&B run of one job, opened and closed in one place."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.durable import replacing, saying_what
from understudy.records import InputError, InputFile, Stopped, read_jsonl, write_jsonl
from understudy.tracking.artifacts import (
    RunArtifact,
    checkpoint_of,
    checkpoints_of,
    data_of,
    log_input,
    log_output,
    predictions_of,
    without_text,
)
from understudy.tracking.manifest import (
    MANIFEST,
    Manifest,
    file_sha256,
    git_state,
    installed_versions,
    now,
    read_manifest,
    run_folder_of,
    text_sha256,
)
from understudy.tracking.wandb_run import Tracking, WandbLabels, open_wandb

if TYPE_CHECKING:
    from wandb import Run as WandbRun

_log = logging.getLogger(__name__)
_SHOWN_FACTS = ("stage", "arm", "teacher", "seed", "base_model")
_SUMMARY_GROUPS = ("budget", "dropped", "truncated", "timings", "comparable")
_FACTS = (*_SHOWN_FACTS, "id", "name", "sweep_id", "overrides", "parents", "num_parameters")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is before it starts; ``config`` is the resolved config as plain values.

    ``resumes``: whether the folder's run, which did not finish, is taken up again.
    """

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
    resumes: bool = False


class Run:
    """What a stage records. Made by :func:`open_run`, which also closes it."""

    def __init__(
        self, spec: RunSpec, manifest: Manifest, wandb_run: WandbRun, tracking: Tracking
    ) -> None:
        """Wraps an open manifest and W&B run; use :func:`open_run`."""
        self.folder = spec.folder
        self.seed = spec.seed
        self.resumes = spec.resumes
        self.manifest = manifest
        self.wandb = wandb_run
        self._tracking = tracking
        self._spec = spec

    def resumed_from(self, step: int | None) -> None:
        """Records the optimizer step from which training goes on; null: there is no state of it."""
        self.manifest.resumed[-1]["from_step"] = step
        self.manifest.write(self.folder)

    def add_inputs(self, files: Iterable[InputFile]) -> None:
        """Records files that were read, at once: a killed run is held to them, too."""
        self.manifest.inputs.extend(asdict(file) for file in files)
        self.manifest.write(self.folder)

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
        """Writes a JSONL file into the run folder, whole or not at all, and records it.

        Raises:
            RunError: It cannot be written.
        """
        path = self.folder / filename
        with saying_what(str(path)), replacing(path) as partial:
            num_rows = write_jsonl(partial, rows)
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
        self._tell_facts()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the seconds of the block to ``timings[part]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.manifest.timings[part] = round(self.manifest.timings.get(part, 0.0) + seconds, 3)

    def log_table(
        self, name: str, rows: Sequence[Mapping[str, Any]], *, text: Sequence[str] = ()
    ) -> None:
        """Logs rows of equal keys as a W&B table.

        ``text`` names the columns that hold what was asked or answered; without
        ``tracking.log_text`` they stay here.
        """
        import wandb  # noqa: PLC0415 - loaded by now; a ground module does not load it for others

        if rows:
            kept = [key for key in rows[0] if self._tracking.log_text or key not in text]
            columns: list[str | int] = list(kept)
            table = wandb.Table(
                columns=columns, data=[[row[str(key)] for key in columns] for row in rows]
            )
            self.wandb.log({name: table})

    def use_data(self, teacher: str, files: Iterable[InputFile]) -> None:
        """Records the data set that the run reads: the arm's own files, not its peers'."""
        source = self._spec.config.get("data", {}).get("source")
        self._take(data_of(teacher, files, source, self.folder))

    def log_data(self, teacher: str, filename: str) -> None:
        """Records a teacher's answers, which are written by now, as a data set of this run's."""
        made = next(each for each in self.manifest.outputs if each["path"] == filename)
        file = InputFile(str(self.folder / filename), made["sha256"], made["rows"])
        self._leave(data_of(teacher, [file], {"run": self.manifest.id}, self.folder))

    def use_checkpoint(self, folder: Path) -> None:
        """Records the checkpoint that the run starts from, if it belongs to a run of ours."""
        parent = run_folder_of(str(folder))
        if parent is not None:
            inside = folder.absolute().relative_to(parent.absolute()).as_posix()
            manifest = read_manifest(parent)
            self._take(checkpoint_of(manifest, parent, inside, is_sent=self._uploads))

    def log_checkpoints(self) -> None:
        """Records every checkpoint of the run; its files must be among the outputs by now."""
        found = checkpoints_of(asdict(self.manifest), self.folder, is_sent=self._uploads)
        for checkpoint in found:
            self._leave(checkpoint)

    def log_predictions(self, filename: str = "predictions.jsonl") -> None:
        """Records the predictions, which are written by now; without texts if texts stay here."""
        if not self._tracking.log_text:
            scores = without_text(read_jsonl(self.folder / filename))
            filename = self.write_rows("scores.jsonl", scores).name
        self._leave(predictions_of(asdict(self.manifest), self.folder, filename))

    @property
    def _uploads(self) -> bool:
        return self._tracking.checkpoints == "upload"

    def _take(self, artifact: RunArtifact) -> None:
        self.manifest.artifacts.append(artifact.entry("input"))
        if self._shows(artifact):
            log_input(self.wandb, artifact)

    def _leave(self, artifact: RunArtifact) -> None:
        self.manifest.artifacts.append(artifact.entry("output"))
        if self._shows(artifact):
            log_output(self.wandb, artifact)

    def _shows(self, artifact: RunArtifact) -> bool:
        return artifact.type != "model" or self._tracking.checkpoints != "off"

    def _tell_facts(self) -> None:
        """Puts into W&B's config who this run is, as far as it is known by now."""
        facts = _facts(self.manifest, self._spec)
        self.wandb.config.update(facts, allow_val_change=True)  # type: ignore[no-untyped-call]

    def _close(self, status: str, error: str | None) -> None:
        self.manifest.status = status
        self.manifest.error = error
        self.manifest.finished = now()
        if status == "finished":
            self.manifest.write(self.folder)
            self._end_wandb(exit_code=0)
            return
        for end in (lambda: self.manifest.write(self.folder), lambda: self._end_wandb(exit_code=1)):
            try:
                end()
            except Exception as second:  # a full disk, say: what made the run fail is what counts
                _log.error("the run's record could not be closed: %s", second)

    def _end_wandb(self, *, exit_code: int) -> None:
        self._tell_facts()
        self.wandb.summary.update(_summary(self.manifest, log_text=self._tracking.log_text))
        self.wandb.finish(exit_code=exit_code)


@contextmanager
def open_run(spec: RunSpec, tracking: Tracking) -> Iterator[Run]:
    """Opens the run's folder, manifest and W&B run, and closes them whatever happens.

    The manifest is on disk with status "running" before the block starts. An exception, an
    interrupt included, closes the run as "failed" with its text and goes on to the caller.

    Raises:
        InputError: The folder holds a run already; or there is none there that could be resumed.
    """
    manifest = _reopened(spec) if spec.resumes else _opened(spec)
    manifest.write(spec.folder)
    try:
        wandb_run = _start_wandb(spec, tracking, manifest)
    except BaseException as error:
        manifest.status, manifest.error, manifest.finished = "failed", _reason(error, spec), now()
        manifest.write(spec.folder)
        raise
    run = Run(spec, manifest, wandb_run, tracking)
    try:
        yield run
    except BaseException as error:
        run._close("failed", _reason(error, spec))
        raise
    run._close("finished", None)


def _opened(spec: RunSpec) -> Manifest:
    if (spec.folder / MANIFEST).exists():
        raise InputError(f"{spec.folder} holds a run already; choose another hydra.run.dir")
    spec.folder.mkdir(parents=True, exist_ok=True)
    return _new_manifest(spec, f"{spec.stage}-{secrets.token_hex(4)}")


def _reopened(spec: RunSpec) -> Manifest:
    """The manifest anew, as all that is recorded in it will be; who the run is stays."""
    try:
        earlier = read_manifest(spec.folder)
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            f"{spec.folder} holds no run to resume ({error}); start it anew without resume"
        ) from error
    if earlier["status"] == "finished":
        raise InputError(f"{spec.folder}: this run is finished; start another without resume")
    manifest = _new_manifest(spec, earlier["id"])
    if earlier["config_sha256"] != manifest.config_sha256:
        raise InputError(
            f"{spec.folder} was started with another config than this one; resume it with its own "
            "(config.yaml), or start anew without resume"
        )
    manifest.started = earlier["started"]
    manifest.timings = earlier["timings"]
    manifest.resumed = [*earlier.get("resumed", []), {"at": now(), "from_step": None}]
    return manifest


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
    config = {**spec.config, **_facts(manifest, spec), "git": manifest.git}
    run = open_wandb(
        tracking,
        run_id=manifest.id,
        folder=spec.folder,
        config=config,
        labels=labels,
        resumes=spec.resumes,
    )
    manifest.wandb = {"id": run.id, "url": None if run.offline else run.url}
    return run


def _facts(manifest: Manifest, spec: RunSpec) -> dict[str, Any]:
    """Who a run is, for W&B's config: all under ``understudy``, the most asked for at the top."""
    facts = {name: getattr(manifest, name) for name in _FACTS}
    shown = {name: facts[name] for name in _SHOWN_FACTS}
    more = {"experiment": spec.experiment, "resumed": list(manifest.resumed)}
    return {"understudy": {**facts, **more}, **shown}


def _summary(manifest: Manifest, *, log_text: bool) -> dict[str, Any]:
    """A run's record as flat values for W&B; a null metric has its reason under ``reasons``."""
    groups = {name: getattr(manifest, name) for name in _SUMMARY_GROUPS}
    flat = {
        f"{name}/{key}": value for name, group in groups.items() for key, value in group.items()
    }
    started, finished = (
        datetime.fromisoformat(t or now()) for t in (manifest.started, manifest.finished)
    )
    return {
        **manifest.metrics,
        **flat,
        "reasons": dict(manifest.reasons),
        "status": manifest.status,
        "error": manifest.error if log_text else (manifest.error or "").partition(":")[0] or None,
        "started": manifest.started,
        "resumed": len(manifest.resumed),
        "seconds": round((finished - started).total_seconds(), 3),
    }


def _tags(arm: str) -> list[str]:
    """The overrides of an arm as W&B tags, which are at most 64 characters."""
    return [part[:64] for part in arm.split(",") if part]


def _reason(error: BaseException, spec: RunSpec) -> str:
    """Why a run ended early; where it was stopped, also how it goes on."""
    way_on = f"; resume with: python run.py resume={spec.folder}"
    return _one_line(error) + (way_on if isinstance(error, Stopped) else "")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
