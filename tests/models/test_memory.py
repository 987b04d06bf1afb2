"""The memory estimate against a measured process, and its parts against what can be counted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from understudy.models.memory import num_parameters, training_memory
from understudy.models.segments import plan_segments

ARCHITECTURES = ("llama", "qwen2", "qwen3", "opt", "gpt_neox", "gpt2")

# Trains three steps of two micro-batches and prints estimate and measured growth, in bytes.
_MEASURE = """
import psutil, resource, sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
from understudy.models.memory import training_memory
from understudy.models.segments import plan_segments

def train(config, tokens, chunk, steps):
    policy = LlamaForCausalLM._from_config(config, attn_implementation="segments").train()
    if recompute:
        policy.activation_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(policy.parameters())
    plan = plan_segments([256] * (tokens // 256))
    for _ in range(steps):
        for _ in range(2):
            row = torch.randint(0, config.vocab_size, (1, tokens))
            hidden = policy.model(
                input_ids=row, position_ids=plan.position_ids, segments=plan, use_cache=False
            ).last_hidden_state[0]
            logits = policy.lm_head(hidden[:chunk])
            (torch.nn.functional.cross_entropy(logits, row[0, :chunk]) + hidden.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()

def config(width, layers):
    return LlamaConfig(vocab_size=4096, hidden_size=width, intermediate_size=3 * width,
                       num_hidden_layers=layers, num_attention_heads=4)

torch.set_num_threads(1)
recompute = sys.argv[1] == "recompute"
train(config(16, 1), 256, 8, 1)
before = psutil.Process().memory_info().rss
tokens, chunk = 2048, 256
estimate = training_memory(config(256, 6), tokens=tokens, chunk_logits=chunk * 4096,
                           gradient_checkpointing=recompute)
train(config(256, 6), tokens, chunk, 3)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
print(estimate.peak, estimate.peak_on_cpu, peak)
"""


def measured(way: str, **environment: str) -> list[int]:
    """Estimate, estimate with the allocator's holes, and growth of a training process."""
    child = subprocess.run(
        [sys.executable, "-c", _MEASURE, way],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in child.stdout.split()[-3:]]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["keep", "recompute"])
def test_the_peak_is_that_of_the_tensors(way: str) -> None:
    """Within 30 % of a process whose allocator gives every large block back at once."""
    peak, _, growth = measured(way, MALLOC_MMAP_THRESHOLD_="65536")
    assert peak == pytest.approx(growth, rel=0.3)


def test_the_peak_on_a_cpu_is_that_of_the_process() -> None:
    """Within 30 % of a process as users start it."""
    _, peak_on_cpu, growth = measured("keep")
    assert peak_on_cpu == pytest.approx(growth, rel=0.3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_counted_without_allocating(
    make_policy: Callable[..., PreTrainedModel], architecture: str
) -> None:
    """Tied ones once, as the model itself has them."""
    policy = make_policy(architecture)
    assert num_parameters(policy.config) == policy.num_parameters()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_activations_are_those_that_autograd_keeps(
    make_policy: Callable[..., PreTrainedModel], architecture: str
) -> None:
    """Counted on a real pass over a row of longer segments."""
    policy = make_policy(architecture).train()
    lengths = [64] * 4
    plan, row = plan_segments(lengths), torch.ones(1, sum(lengths), dtype=torch.long)
    weights = {weight.untyped_storage().data_ptr() for weight in policy.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = policy.base_model(
            input_ids=row, position_ids=plan.position_ids, segments=plan, use_cache=False
        )
    assert hidden.last_hidden_state.requires_grad
    counted = sum(
        tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in weights
    )
    estimate = training_memory(policy.config, tokens=sum(lengths), chunk_logits=1)
    assert estimate.activations == pytest.approx(counted, rel=0.1)


def test_each_part_follows_its_cause(make_policy: Callable[..., PreTrainedModel]) -> None:
    """Tokens move activations alone; accumulation adds the gradients that wait."""
    config = make_policy("llama").config
    small, large = (training_memory(config, tokens=n, chunk_logits=100) for n in (640, 1280))
    assert large.activations == 2 * small.activations
    assert (large.weights, large.gradients) == (small.weights, small.gradients)
    assert small.optimizer == 2 * small.weights == 2 * 4 * num_parameters(config)
    once = training_memory(config, tokens=640, chunk_logits=100, accumulates=False)
    assert once.peak < small.peak
    mixed = training_memory(config, tokens=640, chunk_logits=100, autocast=True)
    assert mixed.weights == 1.5 * small.weights
    recomputed = training_memory(config, tokens=640, chunk_logits=100, gradient_checkpointing=True)
    assert recomputed.activations < small.activations
