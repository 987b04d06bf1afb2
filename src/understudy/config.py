"""The typed schema of the value nodes, and the checks across fields.

A value node is typed by a dataclass here, so a wrong key or type fails while the config composes.
An object node carries ``_target_``; the constructor's signature is its schema. Only this file and
``app`` know Hydra and OmegaConf.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
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

from understudy.records import InputError
from understudy.tracking.manifest import run_folder_of


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
    OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)
    OmegaConf.register_new_resolver("of_run", _of_run, replace=True)


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


def _run_folder(path: str) -> str:
    """The run folder of a checkpoint: the path itself, or two folders up from ``checkpoints/X``."""
    return str(run_folder_of(path) or path)


def _of_run(path: str, key: str) -> Any:  # noqa: ANN401 - whatever the run's config holds
    """A node of the config of the run that made a checkpoint.

    Raises:
        InputError: The path belongs to no run of ours.
    """
    folder = run_folder_of(path)
    if folder is None or not (folder / "config.yaml").is_file():
        raise InputError(
            f"model.path={path} is no run folder of ours, so it has no {key} to take over; "
            "choose them: eval=rouge questions=file questions.path=FILE name=NAME"
        )
    return OmegaConf.select(OmegaConf.load(folder / "config.yaml"), key)


def arm_of(overrides: Iterable[str]) -> str:
    """An arm's name: every override except the seed, each once, in a fixed order and spelling."""
    chosen: dict[str, str] = {}
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        chosen[key] = value.lower() if value.lower() in ("true", "false", "null") else value
    chosen.pop("seed", None)
    return ",".join(f"{key}={value}" for key, value in sorted(chosen.items()))


def check(config: DictConfig) -> None:
    """Refuses combinations that cannot work, naming the override to type.

    Raises:
        ConfigCompositionException: Its text is the one line for the user.
    """
    missing = [key for key in _missing(config) if not key.startswith("hydra.")]
    if config.data.source and "path" in config.data.source and config.data.path is None:
        missing.append("data.path")
    if missing:
        raise ConfigCompositionException(f"{missing[0]} is needed; type {missing[0]}=VALUE")
    for reason in (_wrong_number(config), _wrong_budget(config)):
        if reason is not None:
            raise ConfigCompositionException(reason)


def _missing(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """The keys of values that must be given and were not; interpolations are not resolved."""
    for key in map(str, node):
        if OmegaConf.is_missing(node, key):
            yield prefix + key
        elif not OmegaConf.is_interpolation(node, key) and isinstance(node[key], DictConfig):
            yield from _missing(node[key], f"{prefix}{key}.")


def _wrong_number(config: DictConfig) -> str | None:
    trainer = config.trainer
    if config.seed < 0:
        return f"seed={config.seed} must be 0 or more; type seed=1"
    for key in ("batch_size", "micro_batch_tokens", "log_every", "val_every"):
        if trainer[key] <= 0:
            return f"trainer.{key}={trainer[key]} must be above 0; type trainer.{key}=N"
    if trainer.devices != "1" or trainer.num_nodes != 1:
        return (
            f"trainer.devices={trainer.devices} with trainer.num_nodes={trainer.num_nodes}: runs "
            "on several devices are not supported yet; type trainer.devices=1 trainer.num_nodes=1"
        )
    return None


def _wrong_budget(config: DictConfig) -> str | None:
    trainer, data = config.trainer, config.data
    holds_tokens = data.budget is Budget.supervised_tokens
    if data.budget is Budget.steps and trainer.max_steps < 0:
        return "data.budget=steps holds optimizer steps equal and needs trainer.max_steps=N"
    if data.num_supervised_tokens is not None and not holds_tokens:
        return (
            "data.num_supervised_tokens needs data.budget=supervised_tokens, "
            f"not data.budget={data.budget.value}"
        )
    if holds_tokens and trainer.max_steps >= 0:
        return (
            "data.budget=supervised_tokens holds tokens equal, but trainer.max_steps="
            f"{trainer.max_steps} ends training by steps; "
            "type trainer.max_steps=-1 trainer.max_epochs=3"
        )
    return None


def explain(error: BaseException, groups: Sequence[str]) -> str | None:
    """One line that names the cause of a config error and the override to type.

    Null when the error is none of the config's. ``groups`` are the config groups, for suggestions.
    """
    for cause in _chain(error):
        if isinstance(cause, InputError):
            return " ".join(str(cause).split())
        if isinstance(cause, OmegaConfBaseException):
            return _explain_omegaconf(cause)
    if isinstance(error, OverrideParseException):
        reason = " ".join(str(error).splitlines()[1:2])
        return f"override {error.override!r}: {reason}; type key=value"
    if isinstance(error, ConfigCompositionException):
        return _explain_choice(str(error), groups)
    return _explain_instantiation(error) if isinstance(error, InstantiationException) else None


def _explain_instantiation(error: InstantiationException) -> str:
    """What the constructor said, and for which node."""
    cause = error.__cause__
    while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, InputError):
        return " ".join(str(cause).split())
    node = re.search(r"full_key: (\S+)", str(error))
    said = " ".join(str(cause or error).split())
    return f"{node.group(1)}: {said}" if node else said


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
    if text.startswith("Ambiguous value"):
        return f"{' '.join(text.splitlines()[0].split())}; add -m to run one job for each"
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        close = difflib.get_close_matches(unknown.group(1), groups, n=1)
        hint = f"did you mean {close[0]}=...?" if close else f"groups are {', '.join(groups)}"
        return f"{unknown.group(1)}: there is no such key or group; {hint}"
    return " ".join(line.strip() for line in text.splitlines()[:1])


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
