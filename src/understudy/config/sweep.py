"""What the jobs of a sweep know of each other: the other arms' teachers become a job's peers.

Hydra runs each job as if it were alone, and a fair comparison needs every arm to keep the
instructions that all arms have. So the sources of all jobs are composed when a sweep starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from understudy.records import InputError, teacher_names

_NOT_THE_SOURCE = frozenset(
    ("seed", "model", "trainer", "optimizer", "schedule", "eval", "tracking", "threads", "name",
     "teacher", "asker", "ledger", "prices", "budget_usd", "batch", "limit", "max_failed")
)  # fmt: skip
"""Groups and keys that cannot change where an arm's answers come from."""

_COLLECTED = "understudy.data.collected.CollectedAnswers"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the answers of some jobs come from: ``node`` builds it, ``overrides`` chose it."""

    overrides: list[str]
    teacher: str
    path: str | None
    node: dict[str, Any]


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a sweep, in the order in which Hydra numbers them."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    of_the_jobs = [override for override in parsed if not override.is_hydra_override()]
    return BasicSweeper.split_arguments(of_the_jobs, None)[0]


def is_choice(override: str) -> bool:
    """Whether an override has one value or a list of them, and may tell where answers come from.

    >>> is_choice("data=a,b"), is_choice("data.num_val=interval(1,9)"), is_choice("seed=1,2")
    (True, False, False)
    """
    (parsed,) = OverridesParser.create().parse_overrides([override])
    is_listed = not parsed.is_sweep_override() or parsed.is_choice_sweep()
    return is_listed and _top_key(override) not in _NOT_THE_SOURCE


def sources(config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[Source]:
    """The different sources of the jobs, teachers of files named apart.

    A job that does not compose has none here; it says so itself when its turn comes.

    Raises:
        InputError: Two files are answers of one teacher, by name.
    """
    chosen = list(dict.fromkeys(tuple(_choosing_source(job)) for job in jobs))
    if len(chosen) < 2:
        return []
    found = [each for each in (_source(config, list(overrides)) for overrides in chosen) if each]
    names = {
        **teacher_names([each.path for each in found if each.path and _is_named_after(each)]),
        **_names_of_runs([each.path for each in found if each.path and _is_of_a_run(each)]),
    }
    renamed = [_renamed(each, names) for each in found]
    _refuse_one_name_for_two_files(renamed)
    return renamed


def add_peers(config: DictConfig, job: Sequence[str], of_the_sweep: Sequence[Source]) -> None:
    """Makes the other teachers of a sweep the peers of a job's arm, unless peers were given.

    Of several sources of another teacher, the one whose overrides are most like the job's own.
    """
    mine = _choosing_source(job)
    own = next((each for each in of_the_sweep if each.overrides == mine), None)
    if own is None or config.data.peers is not None:
        return
    peers: dict[str, Source] = {}
    for each in sorted(of_the_sweep, key=lambda one: _num_differing(one.overrides, mine)):
        if each.teacher != own.teacher:
            peers.setdefault(each.teacher, each)
    with open_dict(config):
        config.data.teacher = own.teacher
        config.data.peers = [each.node for each in of_the_sweep if each in peers.values()]


def to_json(found: Sequence[Source]) -> list[dict[str, Any]]:
    """Plain values, to be read back by :func:`from_json` in another process."""
    return [asdict(each) for each in found]


def from_json(rows: Sequence[dict[str, Any]]) -> list[Source]:
    """The sources of :func:`to_json`."""
    return [Source(**row) for row in rows]


def _choosing_source(job: Sequence[str]) -> list[str]:
    """Those overrides of a job that may decide where its answers come from."""
    return sorted(text for text in job if _top_key(text) not in _NOT_THE_SOURCE)


def _top_key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].partition(".")[0].partition("@")[0]


def _source(config: DictConfig, overrides: list[str]) -> Source | None:
    loader = GlobalHydra.instance().config_loader()
    try:
        composed = loader.load_sweep_config(config, overrides)
        node = OmegaConf.to_container(composed.data.source, resolve=True, enum_to_str=True)
        teacher, path = composed.data.teacher, composed.data.path
    except (HydraException, OmegaConfBaseException, InputError):
        return None
    if not isinstance(node, dict) or teacher is None:
        return None
    return Source(overrides, str(teacher), path, {str(key): each for key, each in node.items()})


def _refuse_one_name_for_two_files(found: Sequence[Source]) -> None:
    paths: dict[str, set[str]] = {}
    for each in found:
        if each.path is not None:
            paths.setdefault(each.teacher, set()).add(each.path)
    for teacher, files in paths.items():
        if len(files) > 1:
            raise InputError(
                f"data.teacher={teacher} names the answers of {' and of '.join(sorted(files))}, so "
                "their arms could not be told apart; leave data.teacher out, and files are named "
                "by their paths"
            )


def _is_named_after(source: Source) -> bool:
    """Whether the teacher has the file's name because nobody named it."""
    return source.path is not None and source.teacher == Path(source.path).stem


def _is_of_a_run(source: Source) -> bool:
    """Whether the teacher has the name that the run gives it which collected the answers."""
    if source.path is None or source.node.get("_target_") != _COLLECTED:
        return False
    from understudy.data.collected import collected_by  # noqa: PLC0415 - loads pyarrow

    return source.teacher == collected_by(source.path)


def _names_of_runs(paths: list[str]) -> dict[str, str]:
    if not paths:
        return {}
    from understudy.data.collected import collected_names  # noqa: PLC0415 - loads pyarrow

    return collected_names(paths)


def _renamed(source: Source, names: dict[str, str]) -> Source:
    if source.path is None or not (_is_named_after(source) or _is_of_a_run(source)):
        return source
    name = names[source.path]
    return Source(source.overrides, name, source.path, {**source.node, "teacher": name})


def _num_differing(one: Sequence[str], other: Sequence[str]) -> int:
    return len(set(one) ^ set(other))
