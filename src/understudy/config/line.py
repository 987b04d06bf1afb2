"""The line that was typed: what of it belongs to the run, and how two configs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

_NOT_OF_THE_RUN = ("resume", "requeue", "launcher", "sweeper", "objective")
"""Keys that say how jobs are started, not what one of them does."""

_HARMLESS = ("trainer.progress", "trainer.save_every", "tracking.mode")
"""Keys that cannot change a result; a run may be resumed with other values of them."""

_ASSEMBLED = ("stage", "arm", "encoding", "recipe")
"""Nodes made of other keys, which say better what differs."""


def key_of(override: str) -> str:
    """The key or group that an override sets.

    >>> key_of("++data.fields.output=a"), key_of("data=b"), key_of("~trainer.x")
    ('data.fields.output', 'data', 'trainer.x')
    """
    return override.lstrip("+~").partition("=")[0].partition("@")[0].removeprefix("/")


def of_the_run(overrides: Sequence[str]) -> list[str]:
    """The overrides that say what a run does, without those that say how it is started.

    >>> of_the_run(["seed=1", "resume=auto", "launcher=joblib"])
    ['seed=1']
    """
    return [each for each in overrides if key_of(each) not in _NOT_OF_THE_RUN]


def line_of(overrides: Sequence[str]) -> list[str]:
    """What two lines have in common that ask for the same results, however they are started.

    ``overrides`` may hold those of Hydra, of which only the sweeper's count.

    >>> line_of(["seed=1", "resume=auto", "launcher=joblib", "data=a", "hydra.verbose=true"])
    ['data=a', 'seed=1']
    """
    ignored = {"resume", "requeue", "launcher", *_HARMLESS}
    if not any(key_of(each) == "sweeper" for each in overrides):
        ignored.add("objective")  # it only names the best of the same jobs
    return sorted(
        each for each in overrides if _is_asked(key_of(each)) and key_of(each) not in ignored
    )


def _is_asked(key: str) -> bool:
    is_hydras = key.startswith(("hydra.", "hydra/"))
    return not is_hydras or key.startswith(("hydra.sweeper.", "hydra/sweeper"))


def run_values(config: DictConfig) -> dict[str, Any]:
    """The resolved config of a run as plain values; what nobody gave stays "???"."""
    kept = OmegaConf.masked_copy(
        config, [key for key in map(str, config) if key not in (*_NOT_OF_THE_RUN, "hydra")]
    )
    values = OmegaConf.to_container(kept, resolve=True, throw_on_missing=False, enum_to_str=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def differences(of_the_run: Mapping[str, Any], of_the_line: Mapping[str, Any]) -> list[str]:
    """What keeps a run from going on with another line's config: each key with both its values.

    >>> differences({"seed": 1, "trainer": {"progress": True}}, {"seed": 2, "trainer": {}})
    ['seed=1 there, seed=2 here']
    """
    there, here = dict(_leaves(of_the_run)), dict(_leaves(of_the_line))
    differing = [
        key
        for key in dict.fromkeys((*there, *here))
        if there.get(key, _NONE) != here.get(key, _NONE)
        and not _is_harmless(key)
        and not _is_only_the_address(key, there, here)
    ]
    own = [key for key in differing if key.partition(".")[0] not in _ASSEMBLED]
    return [f"{_said(there, key)} there, {_said(here, key)} here" for key in own or differing]


def with_harmless_of(run: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``line``, but those that cannot change a result as ``run`` has them."""
    merged = OmegaConf.create(dict(line))
    stored = OmegaConf.create(dict(run))
    there, here = dict(_leaves(run)), dict(_leaves(line))
    for key in here:
        if _is_harmless(key) or _is_only_the_address(key, there, here):
            OmegaConf.update(merged, key, OmegaConf.select(stored, key), merge=False)
    values = OmegaConf.to_container(merged)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


_NONE = object()


def _is_harmless(key: str) -> bool:
    parts = key.split(".")
    return key in _HARMLESS or (parts[-1] in ("progress", "save_every") and "recipe" in parts)


def _is_only_the_address(key: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether a key says where a server is that is known by another name: it is the same server."""
    node, _, name = key.rpartition(".")
    identity = f"{node}.identity"
    return (
        name == "base_url"
        and here.get(identity) is not None
        and here[identity] == there.get(identity)
    )


def _said(values: Mapping[str, Any], key: str) -> str:
    return f"{key}={values[key]}" if key in values else f"no {key}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
