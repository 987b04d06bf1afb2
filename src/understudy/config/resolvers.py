"""The resolvers that the configs use, such as ``${of_run:PATH,KEY}``."""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from understudy.config.search import direction_of
from understudy.records import InputError
from understudy.tracking.manifest import run_folder_of

_LAB_PORT = 8321


def register_resolvers() -> None:
    """Puts the resolvers where OmegaConf finds them by name."""
    OmegaConf.register_new_resolver("joined", _joined, replace=True)
    OmegaConf.register_new_resolver("first", _first_given, replace=True)
    OmegaConf.register_new_resolver("stem", lambda path: Path(str(path)).stem, replace=True)
    OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)
    OmegaConf.register_new_resolver("of_run", _of_run, replace=True)
    OmegaConf.register_new_resolver("of_run_or", _of_run_or, replace=True)
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)
    OmegaConf.register_new_resolver("collected_by", _collected_by, replace=True)
    OmegaConf.register_new_resolver("direction_of", direction_of, replace=True)
    OmegaConf.register_new_resolver("served", _served, replace=True)


def _joined(*names: str | None) -> str:
    """The names that are given, with a low line between them."""
    return "_".join(str(name) for name in names if name not in (None, "null"))


def _first_given(*values: str | None) -> str | None:
    return next((value for value in values if value not in (None, "null")), None)


def _run_folder(path: str) -> str:
    """The run folder of a checkpoint: the path itself, or two folders up from ``checkpoints/X``."""
    return str(_folder_of(path) or path)


def _folder_of(path: str | None) -> Path | None:
    """The run folder of a checkpoint; none where an endpoint serves one that nobody named."""
    return None if path is None else run_folder_of(path)


def _run_name(path: str | None) -> str:
    """The name of the run that made a checkpoint, else the checkpoint's own."""
    folder = _folder_of(path)
    if path is None:
        return "endpoint"
    if folder is None or not (folder / "config.yaml").is_file():
        return Path(path).name
    return str(OmegaConf.select(_config_of(folder), "name"))


def _collected_by(path: str) -> str:
    """Who answered in a run of ``stage=collect``."""
    from understudy.data.collected import collected_by  # noqa: PLC0415 - loads pyarrow

    return collected_by(path)


def _config_of(folder: Path) -> Any:  # noqa: ANN401 - a config, or a list
    file = folder / "config.yaml"
    return _loaded(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _loaded(file: Path, changed: int) -> Any:  # noqa: ANN401 - as above
    """Read once: a stage takes many keys over from one run."""
    del changed
    return OmegaConf.load(file)


def _of_run(path: str | None, key: str) -> Any:  # noqa: ANN401 - whatever the run's config holds
    """A node of the config of the run that made a checkpoint.

    Raises:
        InputError: The path belongs to no run of ours.
    """
    folder = _folder_of(path)
    if folder is None or not (folder / "config.yaml").is_file():
        raise InputError(
            f"model.path={path} is no run folder of ours, so there is no {key} to take over; "
            "type eval=rouge questions=file questions.path=FILE, or give a run folder"
        )
    return copy.deepcopy(OmegaConf.select(_config_of(folder), key))


def _of_run_or(path: str | None, key: str, default: Any) -> Any:  # noqa: ANN401 - as above
    """The same, or a default where the path belongs to no run of ours or the run lacks the key."""
    if _folder_of(path) is None:
        return default
    value = _of_run(path, key)
    return default if value is None else value


def _served(server: str | int | None) -> str:
    """The address of the lab's server: at its usual port, another one, or that of a serve run.

    Raises:
        InputError: The folder is not that of a server which is up.
    """
    if server is None or str(server).isdigit():
        return f"http://127.0.0.1:{_LAB_PORT if server is None else server}/v1"
    if str(server).startswith(("http://", "https://")):
        return str(server)
    file = Path(str(server)).expanduser() / "endpoint.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["base_url"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"teacher.server={server}: {file} names no server; start one by stage=serve and type "
            "teacher.server=ITS_RUN_FOLDER, or teacher.server=PORT"
        ) from None
