"""Batched answers equal those one by one, end where they should, and are the seed's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from understudy.models.generate import Decoding, Generated, generate
from understudy.records import InputError

MakePolicy = Callable[..., PreTrainedModel]
ARCHITECTURES = ("llama", "qwen2", "qwen3", "opt", "gpt_neox", "gpt2")
GREEDY = Decoding(max_new_tokens=12)
SAMPLED = Decoding("t1", temperature=1.0, max_new_tokens=12)


def make_prompts(num_prompts: int = 9) -> list[list[int]]:
    """Prompts of 1 to 20 tokens, in no order of length."""
    generator = torch.Generator().manual_seed(0)
    lengths = [1 + (7 * index) % 20 for index in range(num_prompts)]
    return [torch.randint(3, 250, (n,), generator=generator).tolist() for n in lengths]


def text_of(tokenizer: PreTrainedTokenizerBase, tokens: list[int], finish: str) -> str:
    """What an answer of these tokens reads as."""
    text = str(tokenizer.decode(tokens, skip_special_tokens=True))
    return text if finish == "stop" else text.rstrip("\ufffd")


def favour(policy: PreTrainedModel, token: int, amount: float) -> None:
    """Makes a token likelier, or certain, everywhere: its logit grows with a constant input.

    OPT's last layer norm has a bias; with the weight at 0 every hidden state is that bias.
    """
    norm, head = policy.model.decoder.final_layer_norm, policy.lm_head
    with torch.no_grad():
        norm.weight.mul_(0.1)
        norm.bias.fill_(1.0)
        head.weight[token] = amount


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batches_equal_hugging_face_one_by_one(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase, architecture: str
) -> None:
    """Its own generate on each unpadded prompt is the oracle; left padding changes nothing."""
    policy: Any = make_policy(architecture)
    prompts = make_prompts()
    answers = generate(policy, tiny_tokenizer, prompts, decoding=GREEDY)
    policy.set_attn_implementation("sdpa")
    for prompt, answer in zip(prompts, answers, strict=True):
        row = torch.tensor([prompt])
        alone = policy.generate(
            input_ids=row, attention_mask=torch.ones_like(row), max_new_tokens=12, do_sample=False
        )[0, len(prompt) :]
        assert answer.num_tokens == len(alone)
        assert answer.text == text_of(tiny_tokenizer, alone.tolist(), answer.finish)


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED, Decoding("p", 0.7, 0.9, 12)])
@pytest.mark.parametrize("architecture", ["llama", "opt"])
def test_answers_do_not_depend_on_the_batches(
    make_policy: MakePolicy,
    tiny_tokenizer: PreTrainedTokenizerBase,
    architecture: str,
    decoding: Decoding,
) -> None:
    """One prompt at a time, three, or all at once: the same answers in the same places."""
    policy, prompts = make_policy(architecture), make_prompts()
    one, some, every = (
        generate(policy, tiny_tokenizer, prompts, decoding=decoding, batch_tokens=n, seed=3)
        for n in (1, 100, 10_000)
    )
    assert one == some == every


def test_answers_stop_at_the_end_token(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    """It is counted, not shown; rows that end early do not disturb the others."""
    policy, prompts = make_policy("opt"), make_prompts(40)
    favour(policy, tiny_tokenizer.eos_token_id, 0.25)
    decoding = Decoding("t1", temperature=1.0, max_new_tokens=12)
    answers = generate(policy, tiny_tokenizer, prompts, decoding=decoding)
    ends = Counter(answer.finish for answer in answers)
    assert ends["stop"] > 5
    assert ends["length"] > 5
    assert all(answer.num_tokens == 12 for answer in answers if answer.finish == "length")
    assert min(answer.num_tokens for answer in answers) < 12
    assert all("<|eos|>" not in answer.text for answer in answers)
    alone = generate(policy, tiny_tokenizer, prompts, decoding=decoding, batch_tokens=1)
    assert alone == answers


def test_answers_stop_at_any_of_the_stop_tokens(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    """It is counted and not shown, also when it is no special token; without it they go on."""
    policy, prompts = make_policy("llama"), make_prompts()
    whole = generate(policy, tiny_tokenizer, prompts, decoding=GREEDY)
    assert {answer.finish for answer in whole} == {"length"}
    policy.set_attn_implementation("sdpa")
    with torch.no_grad():
        logits = policy(input_ids=torch.tensor([prompts[0]]), use_cache=False).logits
    first = int(logits[0, -1].argmax())
    stopping = replace(GREEDY, stop_ids=(first, 319))
    stopped = generate(policy, tiny_tokenizer, prompts, decoding=stopping)
    assert stopped[0] == Generated("", "stop", 1)
    for short, long in zip(stopped, whole, strict=True):
        assert long.text.startswith(short.text)
        assert short.finish == "stop" or short == long


def test_an_answer_that_is_only_the_end_is_empty(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    """One token, no text, stopped."""
    policy = make_policy("opt")
    favour(policy, tiny_tokenizer.eos_token_id, 100.0)
    answers = generate(policy, tiny_tokenizer, [[20, 30]], decoding=GREEDY)
    assert answers == [Generated("", "stop", 1)]


def test_the_seed_decides_samples(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    """And nothing else does; equal prompts in different places get different answers."""
    policy, prompts = make_policy("llama"), [[20, 30, 40]] * 6
    before = torch.random.get_rng_state()
    one, same, other = (
        generate(policy, tiny_tokenizer, prompts, decoding=SAMPLED, seed=seed) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len({answer.text for answer in one}) > 1
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_samples_follow_the_distribution(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase, top_p: float
) -> None:
    """First tokens of 4,000 answers, against the probabilities worked out from the logits."""
    policy, prompt, num_samples = make_policy("llama", seed=5), [20, 30, 40], 4000
    policy.set_attn_implementation("sdpa")
    with torch.no_grad():
        logits = policy(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, -1]
    expected, order = (logits / 2.0).softmax(-1).sort(descending=True)
    num_kept = int((expected.cumsum(0) < top_p).sum()) + 1 if top_p < 1 else len(expected)
    expected = expected[:num_kept] / expected[:num_kept].sum()
    decoding = Decoding("t2", temperature=2.0, top_p=top_p, max_new_tokens=1)
    answers = generate(policy, tiny_tokenizer, [prompt] * num_samples, decoding=decoding)
    counts = Counter(answer.text for answer in answers)
    texts = [text_of(tiny_tokenizer, [token], "length") for token in order.tolist()]
    for text, probability in zip(texts[:5], expected[:5].tolist(), strict=True):
        deviation = (num_samples * probability * (1 - probability)) ** 0.5
        if texts.count(text) == 1:
            assert abs(counts[text] - num_samples * probability) < 4.5 * deviation
    assert set(counts) <= set(texts[:num_kept])


def test_chinese_comes_back_whole_and_is_never_cut_in_a_character(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    """Bytes of a character that max_new_tokens cut off are left out."""
    policy, ids = make_policy("opt"), tiny_tokenizer("龘")["input_ids"]
    assert len(ids) == 3
    favour(policy, ids[0], 100.0)
    answers = generate(policy, tiny_tokenizer, [[20, 30]], decoding=Decoding(max_new_tokens=1))
    assert answers == [Generated("", "length", 1)]


@pytest.mark.parametrize("architecture", ["opt", "gpt2", "llama"])
def test_answers_end_where_positions_end(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase, architecture: str
) -> None:
    """64 positions: a prompt of 60 tokens gets 4, and one of 64 is refused by name."""
    policy = make_policy(architecture)
    answers = generate(policy, tiny_tokenizer, [[20] * 60, [20] * 5], decoding=GREEDY)
    assert [answer.num_tokens for answer in answers] == [4, 12]
    with pytest.raises(InputError, match="prompt 1 has 64 tokens and the model 64 positions"):
        generate(policy, tiny_tokenizer, [[20], [20] * 64], decoding=GREEDY)


def test_no_prompts_no_answers(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    """And a prompt without tokens is refused."""
    policy = make_policy("llama")
    assert generate(policy, tiny_tokenizer, [], decoding=GREEDY) == []
    with pytest.raises(InputError, match="prompt 1 has no tokens"):
        generate(policy, tiny_tokenizer, [[20], []], decoding=GREEDY)


@pytest.mark.parametrize("training", [True, False])
def test_the_policy_comes_back_as_it_was(
    make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase, training: bool
) -> None:
    """Mode and attention; progress counts every prompt."""
    policy = make_policy("llama").train(training)
    done: list[int] = []
    generate(
        policy,
        tiny_tokenizer,
        make_prompts(),
        decoding=GREEDY,
        batch_tokens=64,
        progress=done.append,
    )
    assert policy.training == training
    assert policy.config._attn_implementation == "segments"
    assert sum(done) == 9
    assert len(done) > 1


def test_dropout_is_off(make_policy: MakePolicy, tiny_tokenizer: PreTrainedTokenizerBase) -> None:
    """Answers of a model in training are those of evaluation."""
    policy = make_policy("opt", dropout=0.5).train()
    prompts = make_prompts()
    first, second = (generate(policy, tiny_tokenizer, prompts, decoding=GREEDY) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0 is below 0"),
        ({"top_p": 0.0}, "top_p=0.0 is no probability"),
        ({"top_p": 1.1}, "top_p=1.1 is no probability"),
        ({"max_new_tokens": 0}, "max_new_tokens=0 leaves no answer"),
    ],
)
def test_decoding_refuses_numbers_that_mean_nothing(keys: dict[str, Any], message: str) -> None:
    """Each names its key."""
    with pytest.raises(InputError, match=message):
        Decoding(**keys)
