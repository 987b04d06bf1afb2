"""Checkpoints for others: an adapter becomes part of weights that transformers alone loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from understudy.models.adapters import Adapter
from understudy.models.checkpoint import Checkpoint
from understudy.models.folders import read_template, save_checkpoint
from understudy.models.heads import RewardHead
from understudy.models.learner import Learner
from understudy.models.standalone import standalone_bytes, write_standalone
from understudy.prompts import ALPACA

IDS = torch.arange(12)[None] * 7 % 300


def _saved(learner: Learner, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A policy whose adapter has learned something, saved alone in the learner's folder."""
    policy = learner.load(tokenizer, seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    save_checkpoint(
        policy, tokenizer, learner.folder / "last", template=ALPACA,
        extra={"base_model": "tiny"}, base=learner.base_reference(tokenizer),
    )  # fmt: skip
    return policy


def _learner(
    folder: Path, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, is_reward: bool
) -> Learner:
    save_checkpoint(policy, tokenizer, folder / "base", template=ALPACA, extra={})
    head = RewardHead() if is_reward else None
    source = Checkpoint(str(folder / "base"), attention="sdpa", reward=head)
    return Learner(source, Adapter(rank=4, dropout=0.0), folder / "run/checkpoints")


@torch.no_grad()
def test_an_adapter_is_merged_into_whole_weights(
    tmp_path: Path,
    make_policy: Callable[..., PreTrainedModel],
    tiny_tokenizer: PreTrainedTokenizerBase,
) -> None:
    learner = _learner(tmp_path, make_policy("llama"), tiny_tokenizer, is_reward=False)
    with torch.enable_grad():
        policy = _saved(learner, tiny_tokenizer)
    target = tmp_path / "target"
    target.mkdir()
    write_standalone(learner.folder / "last", target)
    loaded = AutoModelForCausalLM.from_pretrained(target)
    torch.testing.assert_close(loaded(IDS).logits, policy(IDS).logits, atol=1e-5, rtol=1e-5)
    template = read_template(target)
    assert template is not None
    assert template.sha256 == ALPACA.sha256
    for file in target.iterdir():
        assert not file.name.startswith("adapter")
        assert str(tmp_path).encode() not in file.read_bytes()
    num_parameters = sum(each.numel() for each in loaded.parameters())
    size = sum(each.stat().st_size for each in target.iterdir())
    assert size / 2 < standalone_bytes(learner.folder / "last", num_parameters) < size * 2


@torch.no_grad()
def test_a_reward_models_adapter_is_merged_with_its_head(
    tmp_path: Path,
    make_policy: Callable[..., PreTrainedModel],
    tiny_tokenizer: PreTrainedTokenizerBase,
) -> None:
    learner = _learner(tmp_path, make_policy("llama"), tiny_tokenizer, is_reward=True)
    with torch.enable_grad():
        reward = _saved(learner, tiny_tokenizer)
    target = tmp_path / "target"
    target.mkdir()
    write_standalone(learner.folder / "last", target)
    loaded = AutoModelForSequenceClassification.from_pretrained(target)
    torch.testing.assert_close(loaded(IDS).logits, reward(IDS).logits, atol=1e-5, rtol=1e-5)
