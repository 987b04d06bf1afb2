"""What no single key can tell: combinations that cannot work are refused before anything starts."""

from __future__ import annotations

from collections.abc import Iterator

from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from understudy.config.nodes import Budget

STRATEGIES = ("auto", "ddp", "fsdp", "deepspeed")


def check(config: DictConfig) -> None:
    """Refuses combinations that cannot work, naming the override to type.

    Raises:
        ConfigCompositionException: Its text is the one line for the user.
    """
    missing = [key for key in _missing(config) if not key.startswith("hydra.")]
    if _is_file(config.data.source) and config.data.path is None:
        missing.append("data.path")
    if _is_reward_run(config.model) and config.reward.path is None:
        missing.append("reward.path")
    if missing:
        raise ConfigCompositionException(f"{missing[0]} is needed; type {missing[0]}=VALUE")
    for reason in (_wrong_data(config), _wrong_number(config), _wrong_budget(config)):
        if reason is not None:
            raise ConfigCompositionException(reason)


def _is_file(source: DictConfig) -> bool:
    """Whether the rows are in a file that only the user can name."""
    return bool(source) and "path" in source and "url" not in source


def _is_reward_run(model: DictConfig) -> bool:
    """Whether the model is the one that ``reward.path`` names."""
    return "path" in model and OmegaConf.is_interpolation(model, "path")


def _missing(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """The keys of values that must be given and were not; interpolations are not resolved."""
    for key in map(str, node):
        if OmegaConf.is_missing(node, key):
            yield prefix + key
        elif not OmegaConf.is_interpolation(node, key) and isinstance(node[key], DictConfig):
            yield from _missing(node[key], f"{prefix}{key}.")


def _wrong_data(config: DictConfig) -> str | None:
    """Answers where a stage needs comparisons of answers, or the other way round.

    A source of comparisons is told by the name of its class.
    """
    source, stage = config.data.source or {}, config.stage or {}
    compares = "Comparison" in str(source.get("_target_", "")).rpartition(".")[2]
    if "comparisons" in stage and not compares:
        return (
            "this stage learns from comparisons, and data holds one teacher's answers; type "
            "data=comparison_json data.path=FILE, or data=lab_comparisons"
        )
    if "arm" in stage and compares:
        return (
            "data holds comparisons of answers, and this stage learns from one teacher's; type "
            "stage=reward"
        )
    return None


def _wrong_number(config: DictConfig) -> str | None:
    trainer = config.trainer
    if config.seed < 0:
        return f"seed={config.seed} must be 0 or more; type seed=1"
    for key in ("batch_size", "micro_batch_tokens", "log_every", "val_every", "save_every"):
        if trainer[key] <= 0:
            return f"trainer.{key}={trainer[key]} must be above 0; type trainer.{key}=N"
    if trainer.num_nodes < 1:
        return f"trainer.num_nodes={trainer.num_nodes} must be above 0; type trainer.num_nodes=N"
    return _wrong_devices(config)


def _wrong_devices(config: DictConfig) -> str | None:
    strategy, devices = config.trainer.strategy, config.trainer.devices
    if strategy not in STRATEGIES:
        return f"trainer.strategy={strategy} is unknown; use {', '.join(STRATEGIES)}"
    if devices != "auto" and not (devices.isdecimal() and int(devices) > 0):
        return f"trainer.devices={devices} is no count; type trainer.devices=8, or auto for all"
    if strategy == "deepspeed" and config.recorded and not config.plan:
        return (
            "trainer=deepspeed is for plan=true: its engine accumulates and clips by itself, "
            "and its steps, of several micro-batches above all, have not been shown to be exact; "
            "type trainer=fsdp, which shards as ZeRO-3 does (trainer.cpu_offload=true offloads)"
        )
    if strategy == "auto" and (devices != "1" or config.trainer.num_nodes != 1):
        return (
            f"trainer.devices={devices} with trainer.num_nodes={config.trainer.num_nodes} needs a "
            "way to share the work; type trainer=ddp or trainer=fsdp, or trainer.devices=1"
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
