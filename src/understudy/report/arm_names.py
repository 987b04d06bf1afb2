"""What the arms of a report are called: by what they differ in, within their sweep.

Arms of several sweeps that differ in more than arms within a sweep do (an experiment) have the
names that their own sweep's report gives them, after the sweep's name. Arms of equal overrides are
told apart by what else they are of: a stage, another evaluation, another file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from understudy.records import teacher_names
from understudy.report.names import (
    display_names,
    made_unique,
    override_suffixes,
    shared_overrides,
    split_overrides,
    varying_keys,
)
from understudy.report.read.runs import RunRecord

_Runs = Sequence[RunRecord]
_COLLECTED = ("collected", "lab_collected")
"""Choices of data whose path is a run's folder, which says less than the teacher's name."""


def arm_names(groups: Sequence[_Runs]) -> list[str]:
    """A name for each group of runs, all of them different."""
    sweeps = _sweep_names(groups)
    short = _names_by_sweep(_with_teachers([runs[0] for runs in groups]), sweeps)
    arms = [(sweep, runs[0].arm, runs[0].stage) for sweep, runs in zip(sweeps, groups, strict=True)]
    suffixes = [""] * len(groups)
    for one in set(arms):
        places = [place for place, other in enumerate(arms) if other == one]
        told = _suffixes([groups[place] for place in places])
        for place, suffix in zip(places, told, strict=True):
            suffixes[place] = suffix
    num_stages = Counter((sweep, arm) for sweep, arm, _ in set(arms))
    return made_unique(
        [
            (f"{sweep}: " if sweep else "")
            + f"{name}{suffix}"
            + (f" ({stage})" if num_stages[sweep, arm] > 1 else "")
            for name, suffix, (sweep, arm, stage) in zip(short, suffixes, arms, strict=True)
        ]
    )


def _with_teachers(runs: _Runs) -> list[str]:
    """The arms, those of collected answers with the teacher in place of the run's folder.

    As they are where two runs' teachers are called the same.
    """
    arms = [run.arm for run in runs]
    named = [_with_teacher(run) for run in runs]
    return named if len(set(named)) == len(set(arms)) else arms


def _with_teacher(run: RunRecord) -> str:
    overrides = split_overrides(run.arm)
    path, teacher = overrides.get("data.path"), run.manifest.get("teacher")
    if path is None or not teacher or overrides.get("data") not in _COLLECTED:
        return run.arm
    return run.arm.replace(f"data.path={path}", f"data.path={teacher}")


def short_names(arms: Iterable[str]) -> dict[str, str]:
    """The short name of each of ``arms``, by its overrides."""
    distinct = list(dict.fromkeys(arms))
    return dict(zip(distinct, display_names(distinct), strict=True))


def _names_by_sweep(arms: Sequence[str], sweeps: Sequence[str]) -> list[str]:
    names = {
        sweep: short_names(arm for arm, of in zip(arms, sweeps, strict=True) if of == sweep)
        for sweep in set(sweeps)
    }
    return [names[sweep][arm] for arm, sweep in zip(arms, sweeps, strict=True)]


def _sweep_names(groups: Sequence[_Runs]) -> list[str]:
    """The name of each group's sweep; "" where all arms can be named together."""
    sweeps = _sweeps(groups)
    arms = [runs[0].arm for runs in groups]
    within = {
        key
        for sweep in set(sweeps)
        for key in varying_keys([arm for arm, of in zip(arms, sweeps, strict=True) if of == sweep])
    }
    if set(varying_keys(arms)) <= within or not within or len(set(sweeps)) == 1:
        return [""] * len(groups)
    members = {
        sweep: [run for runs, of in zip(groups, sweeps, strict=True) if of == sweep for run in runs]
        for sweep in dict.fromkeys(sweeps)
        if sweep
    }
    return [_called(members).get(sweep, "") for sweep in sweeps]


def _sweeps(groups: Sequence[_Runs]) -> list[str]:
    """The sweep of each group, "" for none; sweeps that share an arm count as one."""
    same: dict[str, str] = {}
    for runs in groups:
        own = sorted({same.get(each, each) for each in map(_sweep_id, runs)})
        joined = {each for each, of in same.items() if of in own} | set(own)
        same |= dict.fromkeys(joined, own[0])
    return [same[_sweep_id(runs[0])] for runs in groups]


def _sweep_id(run: RunRecord) -> str:
    return str(run.manifest.get("sweep_id") or "")


def _called(sweeps: Mapping[str, _Runs]) -> dict[str, str]:
    """What to call each sweep: its experiment, else its runs' name, else its folder."""
    ways: Sequence[Callable[[RunRecord], str]] = (
        lambda run: split_overrides(run.arm).get("experiment", ""),
        lambda run: str(run.manifest.get("name") or ""),
        lambda run: PurePosixPath(run.path).parent.as_posix(),
    )
    for way in ways:
        names = [" and ".join(sorted(set(map(way, runs)))) for runs in sweeps.values()]
        if all(names) and len(set(names)) == len(names):
            return dict(zip(sweeps, names, strict=True))
    return {sweep: f"sweep {number}" for number, sweep in enumerate(sweeps, start=1)}


def _suffixes(groups: Sequence[_Runs]) -> list[str]:
    """What tells arms of one name apart: own overrides, the checkpoint, files, prompts."""
    own = override_suffixes([shared_overrides([run.own_overrides for run in g]) for g in groups])
    checkpoints = [runs[0].checkpoint for runs in groups]
    if len(set(checkpoints)) > 1:
        own = [f"{suffix}, {name}" for suffix, name in zip(own, checkpoints, strict=True)]
    if len(set(own)) == len(own):
        return own
    found = list(own)
    for suffix in set(own):
        places = [place for place, other in enumerate(own) if other == suffix]
        if len(places) > 1:
            told = _facts([groups[place][0] for place in places])
            for place, fact in zip(places, told, strict=True):
                found[place] = suffix + fact
    return found


def _facts(runs: Sequence[RunRecord]) -> list[str]:
    """The first file in which the runs differ, else the first 8 digits of their prompts."""
    inputs = [[(one["path"], one["sha256"]) for one in run.inputs] for run in runs]
    for files in zip(*inputs, strict=False):
        if len({digest for _, digest in files}) > 1:
            names = teacher_names([path for path, _ in files])
            told = [names[path] for path, _ in files]
            is_told = len(set(told)) == len(set(files))
            return [
                f", {name}" if is_told else f", {name} {digest[:8]}"
                for name, (_, digest) in zip(told, files, strict=True)
            ]
    prompts = [str(run.comparable.get("prompts"))[:8] for run in runs]
    return [f", prompts {each}" for each in prompts] if len(set(prompts)) > 1 else [""] * len(runs)
