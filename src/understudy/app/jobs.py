"""One job: a stage in its run folder, or its plan."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from understudy import ranks
from understudy.app.endings import ending_where_stopped, failing_in_one_line
from understudy.app.folders import remove_hydras_files
from understudy.app.lock import locked
from understudy.app.objective import value_of
from understudy.app.ranks import RanksFailedError, num_ranks, start
from understudy.app.recording import Job, built, checked, record
from understudy.app.resume import config_of, refuse_differences
from understudy.app.signals import stopping_on_signals, stops_wait
from understudy.app.sweep_folder import SWEEP_FILE, manifest_of, sources_of
from understudy.app.sweeps import SweepRecorder, progress_in, sweep_id
from understudy.config.checks import check
from understudy.config.line import line_of, of_the_run, run_values, with_harmless_of
from understudy.config.schema import register
from understudy.config.sweep import add_peers
from understudy.records import InputError
from understudy.tracking.manifest import normalised_arm

_log = logging.getLogger(__name__)


def job(config: DictConfig) -> float | None:
    """One job: a stage in its run folder. Returns its ``objective``, if there is one."""
    register()  # a launcher may have started this process
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    overrides = of_the_run(hydra_config.overrides.task)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    name = f"job {hydra_config.job.num} ({' '.join(overrides)})" if in_sweep else None
    requeue = config.requeue if _goes_on_later(config, in_sweep=in_sweep) else ()
    resumes = not in_sweep and config.resume not in (None, "auto")
    with (
        stopping_on_signals(),
        ending_where_stopped(folder, name, requeue),
        failing_in_one_line(folder, name),
    ):
        if (in_sweep or resumes) and ranks.is_main():
            add_peers(config, overrides, sources_of(folder.parent) or SweepRecorder.sources)
        check(config)
        if config.plan or not config.recorded:
            _show(config, folder)
        elif in_sweep:
            _record_once(config, folder, overrides)
        else:
            _record(config, folder, overrides, resumes=resumes)
        return _objective(config, folder)
    return None  # it failed, and the sweep goes on


def _goes_on_later(config: DictConfig, *, in_sweep: bool) -> bool:
    """Whether the same line, started again, goes on with what this job leaves unfinished."""
    return bool(config.resume != "never" if in_sweep else config.resume is not None)


def _show(config: DictConfig, folder: Path) -> None:
    """A stage that only prints, or the plan of one that would record: no run folder stays."""
    remove_hydras_files(folder)
    if not ranks.is_main():
        return
    stage = _stage_values(config)
    if config.plan and config.recorded:
        module, _, _ = stage["_target_"].rpartition(".")
        stage["_target_"] = f"{module}.plan"
    built(stage)(seed=config.seed)


def _record_once(config: DictConfig, folder: Path, overrides: list[str]) -> None:
    """A sweep's job: starts, goes on, or is finished already, as its folder tells.

    Raises:
        InputError: The folder holds the run of another job.
    """
    progress = progress_in(folder)
    manifest = manifest_of(folder)
    if manifest is None:
        _log.info("%s", progress.next_job())
        _record(config, folder, overrides, resumes=False)
        return
    if line_of(manifest["overrides"]) != line_of(overrides):
        raise InputError(
            f"{folder} holds another job ({' '.join(manifest['overrides'])}); start the sweep anew "
            "with resume=never"
        )
    if manifest["status"] == "finished":
        _log.info("%s", progress.skip_job())
        return
    _log.info("%s, resumed", progress.next_job())
    _record(config, folder, overrides, resumes=True)


def _record(config: DictConfig, folder: Path, overrides: list[str], *, resumes: bool) -> None:
    """Checks the stage, opens the run, calls the stage and closes the run."""
    if ranks.is_main():
        _check_stage(config, folder)
    with stops_wait():
        from understudy.tracking.run import RunSpec  # noqa: PLC0415 - see the package's docstring

    choices = dict(HydraConfig.get().runtime.choices)
    plain = run_values(config)
    tracking = plain["tracking"]
    if resumes and ranks.is_main():  # the folder of another rank is not the run's
        refuse_differences(folder, plain)
        plain = with_harmless_of(config_of(folder), plain)
        overrides = _overrides_of(folder)
    spec = RunSpec(
        stage=str(choices["stage"]),
        name=config.name,
        arm=normalised_arm(overrides),
        seed=config.seed,
        folder=folder,
        config=plain,
        overrides=overrides,
        teacher=config.data.teacher,
        sweep_id=sweep_id(folder.parent) if (folder.parent / SWEEP_FILE).exists() else None,
        experiment=choices.get("experiment"),
        resumes=resumes,
    )
    prepared = Job(spec, _stage_values(config), tracking, config.threads)
    if not ranks.is_main():
        record(prepared)
        return
    with locked(folder):
        if manifest_of(folder) is None:
            OmegaConf.save(OmegaConf.create(plain), folder / "config.yaml")
        _run_here_or_on_ranks(prepared, num_ranks(config))
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        print(f"run folder: {folder}")  # noqa: T201 - the last line of a run, for the user


def _check_stage(config: DictConfig, folder: Path) -> None:
    """Lets the stage refuse what cannot work before anything is written; see :func:`checked`.

    Where it does, no folder stays that was not there before.
    """
    try:
        checked(_stage_values(config))
    except BaseException:
        if manifest_of(folder) is None:
            remove_hydras_files(folder)
        raise


def _overrides_of(folder: Path) -> list[str]:
    """Those of the run that goes on, whatever harmless ones this line has besides."""
    manifest = manifest_of(folder)
    assert manifest is not None
    return list(manifest["overrides"])


def _run_here_or_on_ranks(prepared: Job, count: int | None) -> None:
    """Records a job in this process, or in ``count`` of its own.

    Raises:
        RanksFailedError: They failed, and have said why.
    """
    if count is None:
        record(prepared)
        return
    log_config = OmegaConf.to_container(HydraConfig.get().job_logging, resolve=True)
    assert isinstance(log_config, dict)
    if code := start(prepared, count, {str(key): value for key, value in log_config.items()}):
        raise RanksFailedError(code)


def _objective(config: DictConfig, folder: Path) -> float | None:
    """What the run made of the metric that names the best job."""
    manifest = manifest_of(folder)
    if config.objective is None or manifest is None or not ranks.is_main():
        return None
    return value_of(manifest, config.objective)


def _stage_values(config: DictConfig) -> dict[str, Any]:
    """The stage's node with every interpolation resolved.

    Raises:
        MissingMandatoryValue: Something the stage needs was not given.
    """
    values = OmegaConf.to_container(
        config.stage, resolve=True, throw_on_missing=True, enum_to_str=True
    )
    if not isinstance(values, dict):
        raise InputError("stage is not a node; choose one with stage=NAME")
    return {str(key): value for key, value in values.items()}
