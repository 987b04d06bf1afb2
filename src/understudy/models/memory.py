"""How many parameters a model has and how much memory its training takes, without allocating it.

The model is laid out on torch's meta device and one forward pass over a few tokens is recorded, so
activations are counted for any architecture as autograd would keep them; they grow with the tokens
because attention by segments keeps no matrix. What is not counted: the process itself (about 0.5 GB
of libraries on a CPU, the CUDA context on a GPU). On a CPU glibc's allocator holds more than the
tensors, which ``peak_on_cpu`` allows for.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from understudy.models.segments import SEGMENTS, plan_segments
from understudy.models.source import DTYPES

_PROBE_TOKENS = 32
# Resident memory to tensors: 1.3 to 1.45 in four shapes of 10M parameters, 1.9 with recomputation.
_ALLOCATOR_SHARE = 1.4
_HEAD_COPIES = 2  # the head's gradient in float32, formed with the loss and then scaled
_LOGIT_COPIES = 2  # the logits of a chunk in float32, and their gradient


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes that training needs, by what they are for.

    Attributes:
        weights: The model, and its half-precision copy under autocast.
        gradients: One for each weight.
        optimizer: AdamW's two moments.
        activations: What the backward pass of one micro-batch needs from the forward pass.
        working: The chunk of logits, the head's gradient, and those that pass through a layer.
        accumulates: Whether gradients of earlier micro-batches wait while the next one runs.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    working: int
    accumulates: bool

    @property
    def peak(self) -> int:
        """Bytes at the worst moment of a step after the first.

        Without accumulation gradients fill up only as activations are used up.
        """
        moving = self.activations + self.working
        both = moving + self.gradients if self.accumulates else max(moving, self.gradients)
        return self.weights + self.optimizer + both

    @property
    def peak_on_cpu(self) -> int:
        """The peak with the holes that glibc's allocator keeps between tensors."""
        return round(_ALLOCATOR_SHARE * self.peak)


def num_parameters(config: PreTrainedConfig) -> int:
    """Parameters of a causal LM of this architecture; tied ones count once."""
    return sum(weight.numel() for weight in _on_meta(config).parameters())


def training_memory(
    config: PreTrainedConfig,
    *,
    tokens: int,
    chunk_logits: int,
    dtype: str = "float32",
    autocast: bool = False,
    gradient_checkpointing: bool = False,
    accumulates: bool = True,
) -> MemoryEstimate:
    """The memory of full fine-tuning with AdamW, on one device.

    Args:
        config: The architecture.
        tokens: Tokens of the largest micro-batch.
        chunk_logits: Logits alive at once.
        dtype: Of the weights.
        autocast: Whether matrix products are computed in 16 bit from 32-bit weights; activations
            are then an upper bound.
        gradient_checkpointing: Whether layers are recomputed in the backward pass.
        accumulates: Whether a step has more than one micro-batch.
    """
    policy = _on_meta(config)
    size = DTYPES[dtype].itemsize
    weights = sum(weight.numel() for weight in policy.parameters()) * size
    layers = config.get_text_config().num_hidden_layers
    floats = _saved_floats(policy)
    one_layer = floats // layers
    if gradient_checkpointing:
        policy.activation_checkpointing_enable({"use_reentrant": False})
        floats = _saved_floats(policy) + one_layer
    return MemoryEstimate(
        weights=weights + (weights // 2 if autocast else 0),
        gradients=weights,
        optimizer=2 * weights,
        activations=floats * tokens // _PROBE_TOKENS * size,
        working=4 * (_LOGIT_COPIES * chunk_logits + _HEAD_COPIES * _head_size(policy))
        + one_layer * tokens // _PROBE_TOKENS * size // 2,
        accumulates=accumulates,
    )


def _on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        policy: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # transformers
            copy.deepcopy(config), attn_implementation=SEGMENTS
        )
    return policy


def _head_size(policy: PreTrainedModel) -> int:
    head: nn.Module = policy.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers
    return head.get_parameter("weight").numel()


def _saved_floats(policy: PreTrainedModel) -> int:
    """Numbers that autograd keeps of a pass over the probe's tokens, weights not counted.

    Each token is a segment with a call of its own: attention then keeps what it keeps without a
    matrix.
    """
    policy.train()
    alone = tuple(range(_PROBE_TOKENS))
    plan = replace(plan_segments([1] * len(alone), "meta"), shared=(), alone=alone, restore=None)
    own = {weight.untyped_storage()._cdata for weight in policy.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    ones = torch.ones(1, _PROBE_TOKENS, dtype=torch.long, device="meta")
    options: dict[str, Any] = {"segments": plan, "use_cache": False}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.base_model(
            # A mask of ones spares a look at the position ids, which have no values here.
            input_ids=ones,
            attention_mask=ones,
            position_ids=plan.position_ids,
            **options,
        )
    storages = (tensor.untyped_storage() for key, tensor in kept.items() if key not in own)
    return sum(storage.nbytes() for storage in storages) // policy.dtype.itemsize
