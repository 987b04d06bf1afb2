"""Attention by segments equals separate sequences, and nothing passes from one into the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import Lfm2Config, Lfm2ForCausalLM, PreTrainedModel

from understudy.models.segments import (
    SegmentPlan,
    plan_segments,
    require_isolation,
    segment_attention,
)
from understudy.records import InputError

MakePolicy = Callable[..., PreTrainedModel]
ARCHITECTURES = ("llama", "qwen2", "qwen3", "opt", "gpt_neox", "gpt2")
SHARED = (5, 9, 1, 9, 12, 7)  # all in one padded call
ALONE = (50, 60, 55)  # each in a call of its own
MIXED = (40, 33, 48, 30, 49)


def row_of(lengths: Sequence[int], vocab_size: int = 100, seed: int = 0) -> Tensor:
    """Random tokens [1, sum of lengths]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, vocab_size, (1, sum(lengths)), generator=generator)


def packed_logits(policy: PreTrainedModel, row: Tensor, plan: SegmentPlan) -> Tensor:
    """Logits [tokens, vocab] of a row of segments."""
    output = policy(input_ids=row, position_ids=plan.position_ids, segments=plan, use_cache=False)
    logits: Tensor = output.logits[0]
    return logits


def separate_logits(policy: PreTrainedModel, row: Tensor, lengths: Sequence[int]) -> Tensor:
    """Logits [tokens, vocab] of each segment alone, by transformers' own attention."""
    policy.set_attn_implementation("sdpa")
    pieces = torch.split(row, list(lengths), dim=1)
    logits = torch.cat([policy(input_ids=piece, use_cache=False).logits[0] for piece in pieces])
    policy.set_attn_implementation("segments")
    return logits


@pytest.mark.parametrize("lengths", [SHARED, ALONE, MIXED, (7,)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_equal_separate_sequences(
    make_policy: MakePolicy, architecture: str, lengths: tuple[int, ...]
) -> None:
    """To 1e-6 of the largest logit, whichever way the plan groups."""
    policy, row = make_policy(architecture), row_of(lengths)
    with torch.no_grad():
        packed = packed_logits(policy, row, plan_segments(lengths))
        separate = separate_logits(policy, row, lengths)
    torch.testing.assert_close(packed, separate, rtol=0, atol=1e-6 * float(separate.abs().max()))


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_equal_separate_sequences(
    make_policy: MakePolicy, architecture: str, gradient_checkpointing: bool
) -> None:
    """Of every weight, in training mode, with and without recomputation."""
    lengths = (*SHARED, *ALONE)
    policy = make_policy(architecture, gradient_checkpointing=gradient_checkpointing).train()
    row = row_of(lengths)
    expected = make_policy(architecture).train()
    packed = weight_gradients(policy, packed_logits(policy, row, plan_segments(lengths)))
    separate = weight_gradients(expected, separate_logits(expected, row, lengths))
    for name, gradient in separate.items():
        tolerance = 2e-5 * float(gradient.abs().max()) + 1e-9
        torch.testing.assert_close(packed[name], gradient, rtol=0, atol=tolerance, msg=name)


def weight_gradients(policy: PreTrainedModel, logits: Tensor) -> dict[str, Tensor]:
    """Gradients of a fixed random weighting of the log-probabilities, by weight."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(logits.shape, generator=generator)
    loss = (logits.log_softmax(-1) * weights).mean()
    torch.autograd.backward(loss)
    return {
        name: each.grad.clone() for name, each in policy.named_parameters() if each.grad is not None
    }


@pytest.mark.parametrize("lengths", [SHARED, ALONE])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_changed_token_leaves_other_segments_untouched(
    make_policy: MakePolicy, architecture: str, lengths: tuple[int, ...]
) -> None:
    """Bit by bit, also when the change is in the segment before; within its own it shows."""
    policy, row = make_policy(architecture), row_of(lengths)
    plan, start = plan_segments(lengths), lengths[0]
    changed = row.clone()
    changed[0, start] = (row[0, start] + 1) % 100
    with torch.no_grad():
        moved = (packed_logits(policy, row, plan) != packed_logits(policy, changed, plan)).any(-1)
    stop = start + lengths[1]
    assert not moved[:start].any()
    assert not moved[stop:].any()
    assert moved[start:stop].all()


@pytest.mark.parametrize(
    ("architecture", "use_cache"), [("opt", False), ("opt", None), ("llama", None)]
)
def test_restarted_position_ids_alone_leak(
    make_policy: MakePolicy, architecture: str, use_cache: bool | None
) -> None:
    """Why segments exist: plain sdpa over such a row lets examples see each other, in silence."""
    policy = make_policy(architecture, attention="sdpa")
    row, plan = row_of(SHARED), plan_segments(SHARED)
    cache = {} if use_cache is None else {"use_cache": use_cache}
    with torch.no_grad():
        leaking = policy(input_ids=row, position_ids=plan.position_ids, **cache).logits[0]
        separate = separate_logits(policy, row, SHARED)
    assert (leaking - separate).abs().max() > 0.1


def test_segments_must_be_given(make_policy: MakePolicy) -> None:
    """A model on this attention cannot be run by accident as one long row."""
    with pytest.raises(ValueError, match=r"pass segments=plan_segments\(lengths\)"):
        make_policy("llama")(input_ids=row_of((5,)), use_cache=False)


@pytest.mark.parametrize("lengths", [(5, 4), (5, 4, 2)])
def test_segments_must_fill_the_row(make_policy: MakePolicy, lengths: tuple[int, ...]) -> None:
    """Too few and too many tokens are both refused, with both numbers."""
    plan = plan_segments(lengths)
    position_ids = torch.zeros(1, 10, dtype=torch.long)
    with pytest.raises(ValueError, match=f"segments of {sum(lengths)} tokens do not fill 1 .* 10"):
        make_policy("llama")(
            input_ids=row_of((10,)), position_ids=position_ids, segments=plan, use_cache=False
        )


def test_a_batch_of_rows_is_refused(make_policy: MakePolicy) -> None:
    """Rows must be flattened into one."""
    with pytest.raises(ValueError, match=r"do not fill 2 row"):
        make_policy("llama")(
            input_ids=row_of((10,)).view(2, 5), segments=plan_segments([5]), use_cache=False
        )


@pytest.mark.parametrize("lengths", [(), (3, 0), (-1,)])
def test_empty_segments_are_refused(lengths: tuple[int, ...]) -> None:
    """A plan has at least one segment, and each at least one token."""
    with pytest.raises(ValueError, match="at least one token each"):
        plan_segments(lengths)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("softcap", 30.0, "softcap"),
        ("s_aux", torch.zeros(2), "s_aux"),
        ("position_bias", torch.zeros(1), "position_bias"),
        ("attention_mask", torch.zeros(1, 1, 4, 4), "attention_mask"),
        ("output_attentions", True, "no attention weights"),
        ("is_causal", False, "both directions"),
        ("sliding_window", 3, r"4 tokens is longer than the model's 3"),
    ],
)
def test_what_cannot_be_honoured_is_refused(option: str, value: object, message: str) -> None:
    """Nothing that a model asks of its attention is dropped in silence."""
    states = torch.randn(1, 2, 4, 8)
    options: dict[str, Any] = {"attention_mask": None, "segments": plan_segments([4])}
    with pytest.raises(ValueError, match=message):
        segment_attention(nn.Identity(), states, states, states, **{**options, option: value})


def test_a_window_as_long_as_every_segment_is_honoured() -> None:
    """It changes nothing, so Mistral and Qwen run with rows of their window."""
    states = torch.randn(1, 2, 6, 8)
    plan = plan_segments([4, 2])
    plain, _ = segment_attention(nn.Identity(), states, states, states, None, segments=plan)
    windowed, _ = segment_attention(
        nn.Identity(), states, states, states, None, segments=plan, sliding_window=4
    )
    assert torch.equal(plain, windowed)


def test_dropout_and_scaling_reach_the_attention() -> None:
    """Against the formula for scaling; dropout of nearly all weights leaves few outputs."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 4, 8).unbind()
    plan = plan_segments([4])
    attended, _ = segment_attention(
        nn.Identity(), query, key, value, None, segments=plan, scaling=2.0
    )
    scores = 2.0 * query @ key.transpose(-1, -2) + torch.full((4, 4), -torch.inf).triu(1)
    torch.testing.assert_close(attended, (scores.softmax(-1) @ value).transpose(1, 2))
    dropped, _ = segment_attention(nn.Identity(), query, key, value, None, 0.99, segments=plan)
    assert (dropped == 0).float().mean() > 0.5


def test_models_of_one_config_keep_their_own_attention(make_policy: MakePolicy) -> None:
    """A source makes a new config for each model: switching one leaves the other as it was."""
    one, other = make_policy("llama"), make_policy("llama")
    one.set_attn_implementation("sdpa")
    assert other.config._attn_implementation == "segments"


@given(st.lists(st.integers(1, 70), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_every_token_of_a_plan_comes_back_to_its_place(lengths: list[int]) -> None:
    """Calls cover each segment once, padding stays below a quarter and the order is restored."""
    plan = plan_segments(lengths)
    row = torch.arange(sum(lengths))
    pieces = torch.split(row, lengths)
    outputs = torch.cat(
        [*(row[places.flatten()] for places in plan.shared), *(pieces[i] for i in plan.alone)]
    )
    assert torch.equal(outputs if plan.restore is None else outputs[plan.restore], row)
    assert plan.position_ids.tolist() == [[i for length in lengths for i in range(length)]]
    assert len(plan.alone) + sum(len(places) for places in plan.shared) == len(lengths)


def test_recurrent_models_are_refused() -> None:
    """A layer that is no attention would carry one example into the next."""
    config = Lfm2Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        layer_types=["conv", "full_attention"],
        pad_token_id=0,
    )
    policy = Lfm2ForCausalLM(config)
    policy.set_attn_implementation("segments")
    with pytest.raises(InputError, match="mix the examples of a row"):
        require_isolation(policy)
