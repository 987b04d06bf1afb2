"""Checkpoints for others: a folder that transformers alone loads, whatever the run's own needs.

Whole weights are copied as they are. An adapter is merged into its base, because its folder is of
no use to anybody who has not the base's; the base's path stays out of what is written.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from understudy.durable import saying_what
from understudy.models.adapter_folders import is_adapter, read_base
from understudy.models.checkpoint import Checkpoint
from understudy.models.folders import (
    DESCRIPTION,
    checkpoint_folder,
    read_description,
    read_template,
    save_checkpoint,
)
from understudy.models.heads import RewardHead
from understudy.prompts import Template

_OF_THE_FOLDER = ("template", "tokenizer_sha256", "base", "reward")
_POOLING = "reward_pooling"


def write_standalone(path: Path, target: Path) -> None:
    """Writes the checkpoint that ``path`` means into the folder ``target``, which is there.

    Raises:
        InputError: There is none, or the base of an adapter cannot be had.
        RunError: It cannot be written.
    """
    folder = checkpoint_folder(path)
    with saying_what(str(target)):
        if is_adapter(folder):
            _write_merged(folder, target)
            return
        for file in sorted(folder.iterdir()):
            if file.is_file():
                shutil.copyfile(file, target / file.name)


def standalone_bytes(path: Path, num_parameters: int | None) -> int:
    """About how large the folder will be: the files, or the parameters of a merged adapter."""
    folder = checkpoint_folder(path)
    own = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    if not is_adapter(folder):
        return own
    is_half = "16" in (_dtype_of(folder) or "")
    return own + (num_parameters or 0) * (2 if is_half else 4)


def pools_states(folder: Path) -> bool:
    """Whether the reward model in ``folder`` reads several hidden states, in our way."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config.get(_POOLING) not in (None, "last")


def _write_merged(folder: Path, target: Path) -> None:
    """The base with the adapter in its weights, in the precision of the base."""
    saved = read_description(folder)
    head = RewardHead(may_be_new=False) if "reward" in saved else None
    source = Checkpoint(str(folder), dtype=_dtype_of(folder) or "float32", reward=head)
    tokenizer = source.tokenizer()
    template = read_template(folder)
    policy = source.load(tokenizer)
    extra = {key: value for key, value in saved.items() if key not in _OF_THE_FOLDER}
    inside = target / "merged"
    save_checkpoint(policy, tokenizer, inside, template=_known(template, folder), extra=extra)
    for file in inside.iterdir():
        file.rename(target / file.name)
    inside.rmdir()


def _dtype_of(folder: Path) -> str | None:
    return read_base(folder, read_description(folder)).dtype


def _known(template: Template | None, folder: Path) -> Template:
    if template is None:
        raise ValueError(f"{folder / DESCRIPTION} names no template")
    return template
