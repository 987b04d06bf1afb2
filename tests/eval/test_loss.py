"""The loss on references: Hugging Face's own on each alone is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from understudy.encoding import Encoder
from understudy.eval.loss import reference_losses
from understudy.prompts import ALPACA_COMPACT
from understudy.records import Instruction, Question

MakePolicy = Callable[..., PreTrainedModel]


def question(asked: str, *references: str) -> Question:
    """A question with authors "0", "1", ...; all have the same id, which must not matter."""
    return Question(Instruction("same", asked), dict(zip("0123", references, strict=False)))


QUESTIONS = [
    question("Name a color.", "Red."),
    question("Say it.", "The capital of France is Paris.", "法国"),
    question("What is the capital of France?", "Paris"),
    question("add a and b", "return a + b", "", "no"),
]


@pytest.fixture(scope="module")
def encoder(tiny_tokenizer: PreTrainedTokenizerBase) -> Encoder:
    return Encoder(tiny_tokenizer, ALPACA_COMPACT, max_length=64)


def loss_alone(
    policy: PreTrainedModel, encoder: Encoder, prompt: Instruction, reference: str
) -> float:
    """The model's own loss on one unpadded example whose prompt is masked."""
    tokenizer = encoder.tokenizer
    prompt_ids = encoder.prompt_ids([prompt])[0]
    target = [*tokenizer(reference, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    input_ids = torch.tensor([prompt_ids + target])
    labels = torch.tensor([[-100] * len(prompt_ids) + target])
    with torch.no_grad():
        return float(policy(input_ids=input_ids, labels=labels).loss)


@pytest.mark.parametrize("batch_tokens", [1, 60, 100_000])
@pytest.mark.parametrize("architecture", ["llama", "opt", "gpt2"])
def test_it_is_hugging_faces_loss_on_each_example_alone(
    make_policy: MakePolicy, encoder: Encoder, architecture: str, batch_tokens: int
) -> None:
    own = make_policy(architecture, attention="sdpa").train(False)
    expected = []
    for each in QUESTIONS:
        expected.append(
            {
                author: loss_alone(own, encoder, each.prompt, text) if text else None
                for author, text in each.references.items()
            }
        )
    policy = make_policy(architecture)
    found = reference_losses(policy, encoder, QUESTIONS, batch_tokens=batch_tokens)
    assert [each.keys() for each in found] == [each.keys() for each in expected]
    for losses, alone in zip(found, expected, strict=True):
        assert losses == pytest.approx(alone, abs=1e-5)
    assert found[3]["1"] is None
    all_losses = [loss for each in found for loss in each.values() if loss]
    assert len(set(all_losses)) == len(all_losses) == 6


def test_the_model_comes_back_as_it_was_and_dropout_is_off(
    make_policy: MakePolicy, encoder: Encoder
) -> None:
    policy = make_policy("llama", attention_dropout=0.9).train()
    first = reference_losses(policy, encoder, QUESTIONS)
    assert first == reference_losses(policy, encoder, QUESTIONS)
    assert policy.training
    assert policy.config._attn_implementation == "segments"


def test_labels_are_the_answers_alone_whatever_training_does(
    make_policy: MakePolicy, encoder: Encoder
) -> None:
    policy = make_policy("llama")
    on_inputs = replace(encoder, train_on_inputs=True, overlength="error", max_dropped_fraction=0)
    assert reference_losses(policy, on_inputs, QUESTIONS) == reference_losses(
        policy, encoder, QUESTIONS
    )


def test_a_reference_that_is_blank_or_does_not_fit_has_no_loss(
    make_policy: MakePolicy, encoder: Encoder
) -> None:
    policy = make_policy("llama")
    known = reference_losses(policy, encoder, [question("Say it.", "Red.")])[0]["0"]
    asked = [
        question("Say it."),
        question("Say it.", " \n"),
        question("Say it.", "color " * 100),
        question("Say it.", "Red.", "color " * 100, ""),
    ]
    wide = replace(encoder, max_length=4096)  # the model itself has 64 positions
    for each in (encoder, wide):
        found = reference_losses(policy, each, asked)
        assert found[:3] == [{}, {"0": None}, {"0": None}]
        assert found[3] == {"0": pytest.approx(known), "1": None, "2": None}
        assert reference_losses(policy, each, asked[:3]) == found[:3]
    assert reference_losses(policy, encoder, []) == []


def test_a_model_that_is_broken_has_no_loss(make_policy: MakePolicy, encoder: Encoder) -> None:
    policy = make_policy("llama")
    with torch.no_grad():
        next(policy.parameters()).fill_(nan)
    assert reference_losses(policy, encoder, QUESTIONS[:1]) == [{"0": None}]
