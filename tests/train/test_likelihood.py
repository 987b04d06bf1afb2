"""Segments, labelled positions and chunked heads against transformers' own loss on padded rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PreTrainedModel,
)

from understudy.data.arm import PreparedArm
from understudy.data.windows import MicroBatch, micro_batch
from understudy.records import InputError
from understudy.train.likelihood import (
    LinearHeadLikelihood,
    OwnLogitsLikelihood,
    likelihood_of,
)

Rows = list[tuple[list[int], list[int]]]
Padded = Callable[[Rows], dict[str, Tensor]]


def flattened(arm: PreparedArm) -> MicroBatch:
    """All training rows in one micro-batch."""
    return micro_batch([arm.train[i] for i in range(len(arm.train))])


def gradients(policy: PreTrainedModel, loss: Tensor) -> list[Tensor]:
    """Of all weights, in their order."""
    return list(torch.autograd.grad(loss, list(policy.parameters())))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "opt"])
def test_loss_and_gradients_equal_those_of_transformers(
    architecture: str,
    make_policy: Callable[..., PreTrainedModel],
    random_rows: Callable[..., Rows],
    arm_of: Callable[..., PreparedArm],
    padded: Padded,
) -> None:
    """Ours on one flattened row, theirs on padded rows with sdpa and a mask."""
    rows = random_rows(7)
    ours = make_policy(architecture)
    theirs = make_policy(architecture, attention="sdpa")
    likelihood = likelihood_of(ours, chunk_logits=320 * 16)
    assert isinstance(likelihood, LinearHeadLikelihood)
    assert likelihood.chunk_tokens == 16
    nll = likelihood(flattened(arm_of(rows)))
    expected = theirs(**padded(rows)).loss
    loss = nll.total / len(nll.tokens)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        gradients(ours, loss), gradients(theirs, expected), rtol=1e-4, atol=1e-6
    )


def tiny_gemma() -> PreTrainedModel:
    """Caps its logits, so hidden states times head are not its logits."""
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=320,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            final_logit_softcapping=30.0,
            attn_logit_softcapping=None,
        )
    )


def tiny_granite() -> PreTrainedModel:
    """Divides its logits by 8."""
    return GraniteForCausalLM(
        GraniteConfig(
            vocab_size=320,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            logits_scaling=8.0,
        )
    )


@pytest.mark.parametrize("make", [tiny_gemma, tiny_granite])
def test_heads_that_are_not_one_linear_layer_are_found_out(
    make: Callable[[], PreTrainedModel],
    random_rows: Callable[..., Rows],
    arm_of: Callable[..., PreparedArm],
    padded: Padded,
) -> None:
    """Their loss comes from the model's own logits, though a cap hardly bends small ones."""
    torch.manual_seed(0)
    policy, rows = make(), random_rows(5)
    policy.set_attn_implementation("segments")
    likelihood = likelihood_of(policy, chunk_logits=2**20)
    assert isinstance(likelihood, OwnLogitsLikelihood)
    nll = likelihood(flattened(arm_of(rows)))
    policy.set_attn_implementation("eager")
    expected = policy(**padded(rows)).loss
    torch.testing.assert_close(nll.total / len(nll.tokens), expected, rtol=1e-6, atol=1e-6)
    assert nll.total.requires_grad
    assert not nll.tokens.requires_grad


def test_a_changed_example_leaves_the_others_losses_alone(
    make_policy: Callable[..., PreTrainedModel],
    random_rows: Callable[..., Rows],
    arm_of: Callable[..., PreparedArm],
) -> None:
    """The middle one of three segments changes; the losses of the others do not, bit by bit."""
    rows = random_rows(3)
    likelihood = likelihood_of(make_policy("llama"), chunk_logits=2**20)
    before = likelihood(flattened(arm_of(rows))).tokens
    prompt, response = rows[1]
    changed = [rows[0], ([each ^ 1 for each in prompt], response), rows[2]]
    after = likelihood(flattened(arm_of(changed))).tokens
    first, middle, last = torch.split(before - after, [len(response) for _, response in rows])
    assert not first.any()
    assert middle.any()
    assert not last.any()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_that_leaks_between_examples_is_refused(
    attention: str, make_policy: Callable[..., PreTrainedModel]
) -> None:
    """At load, before any step."""
    policy = make_policy("llama", attention=attention)
    with pytest.raises(InputError, match=rf'not "{attention}".*model.attention=segments'):
        likelihood_of(policy, chunk_logits=2**20)


def test_the_check_of_the_head_leaves_the_model_in_its_mode(
    make_policy: Callable[..., PreTrainedModel],
) -> None:
    """It runs without dropout, and dropout is on again afterwards."""
    policy = make_policy("opt", dropout=0.5).train()
    assert isinstance(likelihood_of(policy, chunk_logits=2**20), LinearHeadLikelihood)
    assert policy.training
