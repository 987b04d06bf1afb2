"""The data module under a real trainer: all windows once, and a resumed run goes on unbroken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from understudy.data.module import SFTData
from understudy.data.tokens import TokenTable
from understudy.data.windows import Batching, Window
from understudy.records import InputError

MakeTable = Callable[[Sequence[int]], TokenTable]
pytestmark = pytest.mark.filterwarnings(
    "ignore:The '(train|val)_dataloader' does not have many workers",
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",  # Lightning's, under torch 2.13
)


class Recorder(pl.LightningModule):
    """Steps once a window and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained: list[tuple[int, tuple[str, ...]]] = []
        self.validated: list[str] = []

    def training_step(self, window: Window, batch_idx: int) -> None:
        optimizer = self.optimizers()
        assert isinstance(optimizer, pl.core.optimizer.LightningOptimizer)
        loss: Tensor = self.weight.sum() * window.num_supervised_tokens
        self.manual_backward(loss)
        optimizer.step()
        assert batch_idx == window.step
        self.trained.append((window.step, example_ids(window)))

    def validation_step(self, window: Window, batch_idx: int) -> None:
        self.validated += example_ids(window)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def example_ids(window: Window) -> tuple[str, ...]:
    return tuple(i for batch in window.micro_batches for i in batch.example_ids)


class SaveAt(pl.Callback):
    """Saves a checkpoint in the middle of a run, as a run that will be killed does."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(
    data: SFTData, *callbacks: pl.Callback, checkpoint: Path | None = None
) -> tuple[Recorder, pl.Trainer]:
    module = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        max_steps=data.total_steps,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data, ckpt_path=checkpoint)
    return module, trainer


def module_of(make_table: MakeTable) -> SFTData:
    train, val = make_table([1, 2, 3, 4, 5, 6, 7]), make_table([1, 1, 1])
    return SFTData(train, val, Batching(2, max_tokens=16), seed=5, num_epochs=2)


def test_one_epoch_of_the_trainer_is_the_whole_run(make_table: MakeTable) -> None:
    data = module_of(make_table)
    recorder, trainer = fit(data)
    assert [step for step, _ in recorder.trained] == list(range(8))
    assert sorted("".join(i for _, ids in recorder.trained for i in ids)) == sorted("0123456" * 2)
    assert recorder.validated == ["0", "1", "2"]
    assert trainer.global_step == data.total_steps == 8


def test_a_resumed_run_sees_what_the_unbroken_one_saw(
    make_table: MakeTable, tmp_path: Path
) -> None:
    path = tmp_path / "at_3.ckpt"
    unbroken, _ = fit(module_of(make_table), SaveAt(3, path))
    resumed, trainer = fit(module_of(make_table), checkpoint=path)
    assert resumed.trained == unbroken.trained[3:]
    assert resumed.validated == unbroken.validated
    assert trainer.global_step == 8


def test_without_held_out_rows_there_is_no_validation(make_table: MakeTable) -> None:
    data = SFTData(make_table([1, 2]), make_table([1]).select([]), Batching(2), seed=0, max_steps=3)
    assert data.val_dataloader() == []
    assert (len(data.train_dataloader()), data.total_steps) == (3, 3)


def test_hf_floor_counts_no_validation_row_out(make_table: MakeTable) -> None:
    batching = Batching(2, hf_forward_batch=1)
    data = SFTData(make_table([1, 2, 3]), make_table([1, 1, 1]), batching, seed=0, num_epochs=1)
    (loader,) = data.val_dataloader()
    assert [i for window in loader for i in example_ids(window)] == ["0", "1", "2"]
    assert data.total_steps == 1


def test_workers_build_the_same_windows(make_table: MakeTable) -> None:
    table, batching = make_table([1, 2, 3, 4]), Batching(2)
    loaders = [
        SFTData(table, table, batching, seed=1, max_steps=4, num_workers=n).train_dataloader()
        for n in (0, 2)
    ]
    alone, shared = ([(each.step, example_ids(each)) for each in loader] for loader in loaders)
    assert alone == shared


def test_a_run_without_an_end_is_refused(make_table: MakeTable) -> None:
    table = make_table([1])
    with pytest.raises(InputError, match="no end or no step"):
        SFTData(table, table, Batching(2), seed=0)
