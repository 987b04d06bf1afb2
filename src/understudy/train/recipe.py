"""How a model is trained, and the one function that trains it: policy and data in, folders out.

Peng et al. 2023, section 3.1 (Alpaca's recipe). One Lightning epoch is the whole run, so
that validation, checkpoints and the cursor count optimizer steps and nothing else.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from transformers import PreTrainedModel

from understudy.data.arm import PreparedArm
from understudy.data.module import SFTData
from understudy.data.windows import Batching
from understudy.records import InputError
from understudy.train.checkpoints import KeepBestAndLast, SavePolicy
from understudy.train.progress import progress_callback
from understudy.train.schedule import Schedule
from understudy.train.seeding import seed_everything
from understudy.train.sft import OptimizerFactory, SFTModule
from understudy.train.trainer import interrupts_raise, less_chatter

# Examples that the released runs sent through all devices at once: 4 x 4 GPUs, 1 x 16.
_HF_FORWARD_BATCH = 16
_STEPS_PER_EPOCH = ("ceil", "hf_floor")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; the defaults are Alpaca's where Alpaca has one.

    Args:
        optimizer: A factory that takes parameter groups, such as a partial ``torch.optim.AdamW``.
        trainer: A partial ``pytorch_lightning.Trainer`` that says where.
        schedule: The learning rate over the run.
        batch_size: Examples in an optimizer step, over all ranks.
        micro_batch_tokens: Most tokens that go through the model at once.
        micro_batch_size: Examples that go through the model at once instead.
        gradient_clip_norm: Largest norm of the gradient.
        max_steps: Optimizer steps; -1 leaves it to ``max_epochs``.
        max_epochs: Passes over the data; the run ends at the lesser of the two.
        steps_per_epoch: ``ceil`` trains on an epoch's last partial window, ``hf_floor`` counts as
            Hugging Face's Trainer did in the released runs.
        val_every: Below 1 a share of the run, else a number of steps. The end is always validated.
        precision: Lightning's word for it: ``32-true``, ``bf16-mixed`` or ``bf16-true``.
        progress: Whether to show how far training is.

    Raises:
        InputError: A value is out of range.
    """

    optimizer: OptimizerFactory
    trainer: Callable[..., pl.Trainer]
    schedule: Schedule
    batch_size: int = 128
    micro_batch_tokens: int = 8192
    micro_batch_size: int | None = None
    gradient_clip_norm: float = 1.0
    max_steps: int = -1
    max_epochs: int | None = None
    steps_per_epoch: str = "ceil"
    val_every: float = 0.25
    precision: str = "32-true"
    progress: bool = True

    def __post_init__(self) -> None:
        """Refuses what cannot work; :class:`Batching` and the data look at the other values."""
        if self.steps_per_epoch not in _STEPS_PER_EPOCH:
            choices = " or ".join(_STEPS_PER_EPOCH)
            raise InputError(f"steps_per_epoch={self.steps_per_epoch!r} is unknown; use {choices}")
        if self.precision.startswith("16"):
            raise InputError(
                f"precision={self.precision} scales the loss, and a step is clipped in true units; "
                "type trainer.precision=bf16-mixed or trainer.precision=32-true"
            )
        if not self.val_every > 0:
            raise InputError(f"val_every={self.val_every} is no interval; use 0.25 or 100")
        if not self.gradient_clip_norm > 0:
            raise InputError(
                f"gradient_clip_norm={self.gradient_clip_norm} would stop all learning; use 1.0, "
                "or inf not to clip"
            )

    @property
    def in_words(self) -> str:
        """All that decides what a step does to the weights, for people and for the guard."""
        name, settings = "custom", ""
        if isinstance(self.optimizer, partial):
            name = self.optimizer.func.__name__
            given = sorted(self.optimizer.keywords.items())
            settings = ", ".join(f"{key} {value}" for key, value in given if key != "fused")
        return (
            f"{name} ({settings}); {self.schedule.in_words}; {self.batch_size} examples a step; "
            f"clip {self.gradient_clip_norm:g}; {self.precision}"
        )

    @property
    def batching(self) -> Batching:
        """How examples become optimizer steps and micro-batches."""
        return Batching(
            batch_size=self.batch_size,
            max_tokens=self.micro_batch_tokens,
            micro_batch_size=self.micro_batch_size,
            hf_forward_batch=_HF_FORWARD_BATCH if self.steps_per_epoch == "hf_floor" else None,
        )

    def check(self) -> None:
        """Makes an optimizer for a weight of its own, to refuse settings before any work is done.

        Raises:
            InputError: The optimizer does not take its settings.
        """
        try:
            self.optimizer([{"params": [torch.zeros(1, requires_grad=True)]}])
        except (TypeError, ValueError) as error:
            raise InputError(f"optimizer: {error}; type optimizer.KEY=VALUE") from error

    def num_steps(self, num_examples: int) -> int:
        """Optimizer steps of a run on ``num_examples``.

        Raises:
            InputError: Neither steps nor epochs say when to end.
        """
        max_steps = None if self.max_steps < 0 else self.max_steps
        return self.batching.num_steps(
            num_examples, num_epochs=self.max_epochs, max_steps=max_steps
        )

    def validation_interval(self, total_steps: int) -> int:
        """Optimizer steps between validations."""
        if self.val_every >= 1:
            return int(self.val_every)
        return max(1, math.ceil(self.val_every * total_steps))


@dataclass(frozen=True, slots=True)
class FitResult:
    """What training leaves behind. Nulls: there was no validation, or no step.

    Attributes:
        last: Checkpoint at the end.
        best: Checkpoint with the lowest validation loss.
        best_val_loss: Its NLL per held-out token, in nats.
        val_loss: The same of ``last``.
        num_steps: Optimizer steps done.
        num_supervised_tokens: Tokens with a label that were learned from, repeats included.
        num_skipped_windows: Steps left out because no token had a label.
        tokens_per_second: Supervised tokens/s, the median over steps.
        timings: Seconds by what they went into.
    """

    last: Path
    best: Path | None
    best_val_loss: float | None
    val_loss: float | None
    num_steps: int
    num_supervised_tokens: int
    num_tokens: int
    num_skipped_windows: int
    tokens_per_second: float | None
    timings: Mapping[str, float]


def fit(
    load_policy: Callable[[], PreTrainedModel],
    arm: PreparedArm,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    save: SavePolicy,
    loggers: Sequence[Logger] = (),
) -> FitResult:
    """Trains a policy on an arm; checkpoints go to ``folder/last`` and ``folder/best``.

    ``save`` writes a policy, and whatever using it takes, as a folder, in place of an earlier one.
    The process is left as it was, but for its random state: the global generators are seeded with
    ``seed``.

    Raises:
        InputError: The recipe does not suit the data or the policy.
        NonFiniteLossError: The loss or the gradient became NaN or infinite.
        KeyboardInterrupt: Ctrl-C or SIGTERM; nothing was saved since the last validation.
    """
    seed_everything(seed)
    started = time.perf_counter()
    num_steps = recipe.num_steps(len(arm.train))
    data = SFTData(arm.train, arm.val, recipe.batching, seed=seed, max_steps=num_steps)
    module = SFTModule(
        load_policy,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        total_steps=num_steps,
        gradient_clip_norm=recipe.gradient_clip_norm,
    )
    checkpoints = KeepBestAndLast(folder, save)
    with less_chatter(), interrupts_raise():
        trainer = _make_trainer(recipe, num_steps, checkpoints, loggers, has_val=len(arm.val) > 0)
        trainer.fit(module, datamodule=data)
    result = _result(module, checkpoints, seconds=time.perf_counter() - started)
    del checkpoints, data, module, trainer
    gc.collect()  # Lightning's objects refer to each other, and hold the policy
    return result


def _make_trainer(
    recipe: Recipe,
    num_steps: int,
    checkpoints: KeepBestAndLast,
    loggers: Sequence[Logger],
    *,
    has_val: bool,
) -> pl.Trainer:
    """The recipe's trainer, with all that it must not choose itself."""
    progress = [progress_callback()] if recipe.progress else []
    return _built(
        recipe,
        max_steps=num_steps,
        max_epochs=1,
        precision=recipe.precision,
        logger=list(loggers),
        callbacks=[checkpoints, *progress],
        enable_progress_bar=any(isinstance(each, ProgressBar) for each in progress),
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=None if has_val else 0,
        val_check_interval=recipe.validation_interval(num_steps),
        check_val_every_n_epoch=None,
        use_distributed_sampler=False,  # windows share themselves out over ranks
        inference_mode=False,  # a tensor cached during validation must not break the next backward
        default_root_dir=checkpoints.folder,
    )


def _built(recipe: Recipe, **settings: Any) -> pl.Trainer:  # noqa: ANN401 - Lightning's
    try:
        return recipe.trainer(**settings)
    except (MisconfigurationException, ImportError, ValueError) as error:
        raise InputError(f"trainer: {error}; type trainer=cpu, or other settings") from error


def _result(module: SFTModule, checkpoints: KeepBestAndLast, *, seconds: float) -> FitResult:
    if checkpoints.last is None:
        raise RuntimeError("training ended without a checkpoint")
    return FitResult(
        last=checkpoints.last,
        best=checkpoints.best,
        best_val_loss=checkpoints.best_val_loss,
        val_loss=checkpoints.val_loss,
        num_steps=module.num_steps,
        num_supervised_tokens=module.num_supervised_tokens,
        num_tokens=module.num_tokens,
        num_skipped_windows=module.num_skipped_windows,
        tokens_per_second=module.throughput.median,
        timings={
            "fit": seconds,
            "train": module.throughput.running_seconds,
            "validate_and_save": module.throughput.paused_seconds,
        },
    )
