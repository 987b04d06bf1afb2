"""The typed schema of the value nodes, and the checks across fields.

A value node is typed by a dataclass here, so a wrong key or type fails while the config composes.
An object node carries ``_target_``; the constructor's signature is its schema. Only this file and
``app`` know Hydra and OmegaConf.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException, InstantiationException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)


class Overlength(Enum):
    """What happens to a row longer than ``prompt.max_length`` tokens."""

    drop = "drop"
    truncate_response = "truncate_response"
    truncate_prompt_left = "truncate_prompt_left"
    error = "error"


class Budget(Enum):
    """What is held equal between the arms of a comparison."""

    examples = "examples"
    supervised_tokens = "supervised_tokens"
    steps = "steps"


class StepsPerEpoch(Enum):
    """``ceil`` trains an epoch's last, partial window; ``hf_floor`` counts as HF's Trainer did."""

    ceil = "ceil"
    hf_floor = "hf_floor"


class Duplicates(Enum):
    """What happens to a row whose instruction and input stood before."""

    keep_first = "keep_first"
    error = "error"


class EmptyOutput(Enum):
    """What happens to a row whose output is empty."""

    error = "error"
    drop = "drop"


class SplitBy(Enum):
    """What stays together when rows are held out."""

    instruction = "instruction"
    row = "row"


@dataclass
class DataConfig:
    """An arm's answers: where they come from (``source``) and how many of them train.

    ``peers``: the files of the other arms of a comparison. An instruction that one of them lacks
    leaves every arm. Under ``-m`` null means every ``data.path`` of the sweep.
    """

    source: dict[str, Any] = MISSING
    teacher: str | None = None
    path: str | None = None
    peers: list[str] | None = None
    empty_output: EmptyOutput = EmptyOutput.error
    duplicates: Duplicates = Duplicates.keep_first
    max_field_chars: int = 100_000
    lang: str = "auto"
    fields: dict[str, str] = field(default_factory=dict)
    num_examples: int | None = None
    num_val: int = 200
    max_val_fraction: float = 0.1
    split_by: SplitBy = SplitBy.instruction
    split_seed: int = 0
    budget: Budget = Budget.examples
    num_supervised_tokens: int | None = None
    min_common_fraction: float = 0.5
    cache_dir: str = "${output_dir}/cache"


@dataclass
class PromptConfig:
    """The template and how a row becomes tokens; a null template is the checkpoint's own."""

    template: str | None = "alpaca"
    response_sep: str = ""
    max_length: int = 512
    overlength: Overlength = Overlength.truncate_response
    train_on_inputs: bool = False
    max_dropped_fraction: float = 0.01


@dataclass
class TrainerConfig:
    """How long, in what batches and on which devices a model trains.

    ``max_steps`` of -1 and ``max_epochs`` of null leave it to the other; with both given, the
    lesser ends training. ``val_every`` is a fraction of the run below 1, else optimizer steps.
    """

    max_steps: int = -1
    max_epochs: int | None = None
    batch_size: int = 128
    micro_batch_tokens: int = 8192
    micro_batch_size: int | None = None
    gradient_clip_norm: float = 1.0
    steps_per_epoch: StepsPerEpoch = StepsPerEpoch.ceil
    val_every: float = 0.25
    log_every: int = 1
    accelerator: str = "auto"
    devices: str = "1"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    progress: bool = True


@dataclass
class TrackingConfig:
    """Where runs are logged; ``mode``: auto, online, offline, disabled. WANDB_MODE wins."""

    _target_: str = "understudy.tracking.wandb_run.Tracking"
    project: str = "understudy"
    entity: str | None = None
    mode: str = "auto"


@dataclass
class Root:
    """What every run has; a stage's own schema adds to it."""

    stage: Any = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    model: Any = MISSING
    lab: Any = MISSING
    questions: Any = MISSING
    prompt: PromptConfig = field(default_factory=PromptConfig)
    optimizer: Any = MISSING
    schedule: Any = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval: Any = MISSING
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    arm: Any = MISSING
    encoding: Any = MISSING
    recipe: Any = MISSING
    seed: int = 0
    threads: int | None = None
    name: str = "${first:${hydra:runtime.choices.experiment},${hydra:runtime.choices.data}}"
    plan: bool = False
    recorded: bool = True
    output_dir: str = "outputs"


@dataclass
class ReportConfig(Root):
    """``stage=report``: the folder whose runs are compared, and what may differ between them."""

    runs: str = MISSING
    ask: list[str] = field(default_factory=list)


@dataclass
class ScoreConfig(Root):
    """``stage=score``: a file of answers and the names of its fields."""

    answers: str = MISSING
    fields: dict[str, str | None] = field(default_factory=dict)


@dataclass
class InspectConfig(Root):
    """``stage=inspect``: how many encoded rows to print."""

    rows: int = 3


def register() -> None:
    """Puts the schemas and resolvers where Hydra finds them by name."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Root)
    for name, node in _STAGE_SCHEMAS.items():
        store.store(name=name, node=_only_own_keys(node))
    OmegaConf.register_new_resolver("first", _first_given, replace=True)
    OmegaConf.register_new_resolver("stem", lambda path: Path(str(path)).stem, replace=True)
    OmegaConf.register_new_resolver("teacher_of", _teacher_of, replace=True)


_STAGE_SCHEMAS = {
    "report_schema": ReportConfig,
    "score_schema": ScoreConfig,
    "inspect_schema": InspectConfig,
}


def _only_own_keys(schema: type[Root]) -> DictConfig:
    """The schema with every key of the root unset, so that merging it changes no choice."""
    config: DictConfig = OmegaConf.structured(schema)
    for key in fields(Root):
        config[key.name] = MISSING
    return config


def _first_given(*values: str | None) -> str | None:
    return next((value for value in values if value not in (None, "null")), None)


def _teacher_of(path: str) -> str | None:
    """The teacher in the manifest of a run folder; null for any other checkpoint."""
    manifest = Path(path) / "manifest.json"
    if not manifest.is_file():
        return None
    teacher = json.loads(manifest.read_text(encoding="utf-8")).get("teacher")
    return None if teacher is None else str(teacher)


def arm_of(overrides: Iterable[str]) -> str:
    """An arm's name: every override except the seed, in a fixed order."""
    return ",".join(sorted(text for text in overrides if not text.startswith("seed=")))


def check(config: DictConfig) -> None:
    """Refuses combinations that cannot work, naming the override to type.

    Raises:
        ConfigCompositionException: Its text is the one line for the user.
    """
    trainer, data = config.trainer, config.data
    if data.budget is Budget.steps and trainer.max_steps < 0:
        raise ConfigCompositionException(
            "data.budget=steps holds optimizer steps equal and needs trainer.max_steps=N"
        )
    if data.num_supervised_tokens is not None and data.budget is not Budget.supervised_tokens:
        raise ConfigCompositionException(
            "data.num_supervised_tokens needs data.budget=supervised_tokens, "
            f"not data.budget={data.budget.value}"
        )
    for key in ("batch_size", "micro_batch_tokens", "log_every", "val_every"):
        if trainer[key] <= 0:
            raise ConfigCompositionException(
                f"trainer.{key}={trainer[key]} must be above 0; type trainer.{key}=N"
            )


def explain(error: BaseException, groups: Sequence[str]) -> str | None:
    """One line that names the cause of a config error and the override to type.

    Null when the error is none of the config's. ``groups`` are the config groups, for suggestions.
    """
    for cause in _chain(error):
        if isinstance(cause, OmegaConfBaseException):
            return _explain_omegaconf(cause)
    if isinstance(error, OverrideParseException):
        reason = " ".join(str(error).splitlines()[1:2])
        return f"override {error.override!r}: {reason}; type key=value"
    if isinstance(error, ConfigCompositionException):
        return _explain_choice(str(error), groups)
    return _first_line(error) if isinstance(error, InstantiationException) else None


def _explain_omegaconf(error: OmegaConfBaseException) -> str:
    key = error.full_key
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        return _explain_key(error)
    missing = re.search(r"Missing mandatory value: (\S+)", str(error))
    if missing:
        return f"{missing.group(1)} is needed; type {missing.group(1)}=VALUE"
    if isinstance(error, ValidationError):
        return f"{key}: {_first_line(error)}; type {key}=VALUE of that kind"
    return f"{key}: {_first_line(error)}" if key else _first_line(error)


def _chain(error: BaseException) -> Iterable[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _explain_key(error: ConfigKeyError | ConfigAttributeError) -> str:
    key = str(error.full_key)
    parent, _, last = key.rpartition(".")
    known = [str(name) for name in error.parent_node] if error.parent_node is not None else []
    close = difflib.get_close_matches(last, known, n=1)
    if close:
        return (
            f"{key}: there is no such key; did you mean {parent + '.' if parent else ''}{close[0]}?"
        )
    return f"{key}: there is no such key; {parent or 'the root'} has {', '.join(sorted(known))}"


def _explain_choice(text: str, groups: Sequence[str]) -> str:
    missing = re.search(r"(?:Could not find|In '[^']+': Could not find) '([^']+)/([^'/]+)'", text)
    if missing:
        group, choice = missing.groups()
        options = [line.strip() for line in text.splitlines() if line.startswith("\t")]
        options = [option for option in options if "=" not in option]
        close = difflib.get_close_matches(choice, options, n=1)
        hint = f"did you mean {group}={close[0]}? " if close else ""
        return (
            f"{group}={choice}: there is no such choice; {hint}choose one of: {', '.join(options)}"
        )
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        close = difflib.get_close_matches(unknown.group(1), groups, n=1)
        hint = f"did you mean {close[0]}=...?" if close else f"groups are {', '.join(groups)}"
        return f"{unknown.group(1)}: there is no such key or group; {hint}"
    return " ".join(line.strip() for line in text.splitlines()[:1])


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
