"""``manifest.json``: what a run read, did and left, sufficient without W&B.

Written atomically when the run opens and again when it closes, also on failure, so that a reader
never sees half of one. The key names are fixed: other tools rely on them.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from understudy.durable import replacing, saying_what

MANIFEST = "manifest.json"
_YAML_CONSTANTS = ("true", "false", "null")
BUDGET_KEYS = ("kind", "examples", "supervised_tokens", "steps")
COMPARABLE_KEYS = (
    "prompts",
    "template",
    "base_model",
    "tokenizer",
    "questions",
    "judge",
    "decoding",
    "recipe",
    "encoding",
    "held_out",
)
_PACKAGES = (
    "understudy",
    "torch",
    "transformers",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "wandb",
    "tokenizers",
    "torchmetrics",
    "rapidfuzz",
    "scipy",
)


@dataclass(slots=True)
class Manifest:
    """The record of one run; ``status`` is "running", "finished" or "failed".

    ``resumed`` has a row for each time that the run was taken up again: "at", and "from_step", the
    optimizer step from which training went on (null: none was saved).
    ``weights`` holds the sha256 of each file of the folder that the model was read from, by its
    path; ``comparable`` what must be equal for two arms to be compared, ``budget`` what the run
    was given to learn from (nulls: it did not learn), ``reasons`` why a metric is null, ``timings``
    seconds by part, ``asking`` who was asked through an API, how, and what it cost (empty: nobody),
    ``artifacts`` what it took from other runs (role "input") and left for them.
    """

    id: str
    stage: str
    name: str
    arm: str
    seed: int
    teacher: str | None = None
    base_model: str | None = None
    num_parameters: int | None = None
    num_trainable_parameters: int | None = None
    parents: list[str] = field(default_factory=list)
    sweep_id: str | None = None
    overrides: list[str] = field(default_factory=list)
    status: str = "running"
    error: str | None = None
    config_sha256: str = ""
    git: dict[str, Any] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, str]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)
    contamination: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(BUDGET_KEYS))
    comparable: dict[str, str | None] = field(
        default_factory=lambda: dict.fromkeys(COMPARABLE_KEYS)
    )
    timings: dict[str, float] = field(default_factory=dict)
    asking: dict[str, Any] = field(default_factory=dict)
    wandb: dict[str, str | None] = field(default_factory=lambda: {"id": None, "url": None})
    started: str = ""
    resumed: list[dict[str, Any]] = field(default_factory=list)
    finished: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Writes the manifest into ``folder``, whole or not at all."""
        path = folder / MANIFEST
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        with saying_what(str(path)), replacing(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
        return path


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder as plain JSON.

    Raises:
        FileNotFoundError: The folder holds none.
        ValueError: It is not valid JSON.
    """
    loaded: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return loaded


def normalised_arm(overrides: Iterable[str]) -> str:
    """An arm's name: every override except the seed, the same however they were spelled.

    Later duplicates win, as they do in a config.

    >>> normalised_arm(["model=s", "+data.x=False", "seed=1", "model=l"])
    'data.x=false,model=l'
    """
    chosen = {}
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        chosen[key] = value.lower() if value.lower() in _YAML_CONSTANTS else value
    chosen.pop("seed", None)
    return ",".join(f"{key}={value}" for key, value in sorted(chosen.items()))


def run_folder_of(path: str) -> Path | None:
    """The run folder that ``path`` is, or that a checkpoint in it belongs to; else None."""
    folder = Path(path).expanduser()
    for each in (folder, *folder.parents[:2]):
        if (each / MANIFEST).is_file():
            return each
    return None


def now() -> str:
    """The time in UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def text_sha256(value: Mapping[str, Any]) -> str:
    """The sha256 of a mapping's canonical JSON, as hex."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def installed_versions() -> dict[str, str]:
    """Python's version and those of the packages that decide results."""
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, Any]:
    """Commit and dirty flag of the checkout that holds ``folder``; both null outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
