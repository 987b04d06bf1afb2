"""The client against llama.cpp's server, an implementation of the wire that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest, Reply
from understudy.chat.wire.client import CannotAskError, ChatClient, RequestFailedError
from understudy.records import Turn

pytest.importorskip("xllamacpp", reason="llama.cpp has no wheel for this machine")
pytest.importorskip("gguf", reason="no model can be written for llama.cpp")
other_server = pytest.importorskip("chat.other_server")

PROMPT = "say a word or two about it"


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(other_server.write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf"))


@pytest.fixture(scope="module")
def tiny(gguf_file: Path) -> Iterator[ChatModel]:
    with other_server.serving(gguf_file) as url:
        yield ChatModel(
            "tiny", "tiny", url, key_env=None, retry_seconds=0.01,
            params={"temperature": 1.0, "top_p": 1.0, "max_tokens": 12, "seed": 1},
        )  # fmt: skip


def answers(model: ChatModel, requests: Sequence[ChatRequest]) -> list[Reply]:
    async def ask() -> list[Reply]:
        async with ChatClient(model) as client:
            return list(await asyncio.gather(*map(client.answer, requests)))

    return asyncio.run(ask())


def answer(model: ChatModel, request: ChatRequest | None = None) -> Reply:
    return answers(model, [request or ChatRequest.of_user(PROMPT)])[0]


def test_a_chat_is_answered_in_the_model_s_words(tiny: ChatModel) -> None:
    asked = tiny.with_params(max_tokens=400)
    reply = answer(asked)
    assert reply.finish_reason == "stop"
    assert set(reply.text.split()) <= set(other_server.WORDS)
    assert reply.model == "tiny"
    assert reply.key == asked.key_of(ChatRequest.of_user(PROMPT))
    assert reply.request_id.startswith("chatcmpl")
    assert reply.prompt_tokens is not None
    assert reply.prompt_tokens > len(PROMPT.split())
    assert reply.completion_tokens == len(reply.text.split()) + 1  # and the end


def test_an_answer_that_is_cut_is_kept_and_says_so(tiny: ChatModel) -> None:
    reply = answer(tiny.with_params(max_tokens=3, logit_bias=[[2, False]]))
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 3)
    assert len(reply.text.split()) == 3


def test_samples_differ_and_come_again_with_the_same_seed(tiny: ChatModel) -> None:
    requests = [ChatRequest.of_user(PROMPT, sample=number) for number in range(8)]
    first = [reply.text for reply in answers(tiny, requests)]
    again = [answer(tiny, request).text for request in requests]
    assert first == again
    assert len(set(first)) > 4
    other = [reply.text for reply in answers(tiny.with_params(seed=100), requests)]
    assert other != first


def test_turns_of_a_conversation_reach_the_model(tiny: ChatModel) -> None:
    turns = (Turn("system", "say it"), Turn("user", "a word"), Turn("assistant", "it"))
    long = answer(tiny, ChatRequest((*turns, Turn("user", PROMPT))))
    assert long.prompt_tokens is not None
    short = answer(tiny, ChatRequest((Turn("user", PROMPT),)))
    assert short.prompt_tokens is not None
    assert long.prompt_tokens > short.prompt_tokens + 10


def test_the_first_token_s_likeliest_come_with_their_logprobs(tiny: ChatModel) -> None:
    reply = answer(tiny.with_params(temperature=0.0, logprobs=True, top_logprobs=4))
    assert len(reply.first_token) == 4
    logprobs = [logprob for _, logprob in reply.first_token]
    assert logprobs == sorted(logprobs, reverse=True)
    assert logprobs[0] < 0
    assert reply.text.startswith(reply.first_token[0][0])
    assert answer(tiny).first_token == ()


def test_a_stop_word_ends_the_answer_before_it(tiny: ChatModel) -> None:
    whole = answer(tiny.with_params(max_tokens=40, logit_bias=[[2, False]])).text
    stop = whole.split()[5]
    cut = answer(tiny.with_params(max_tokens=40, logit_bias=[[2, False]], stop=[f" {stop}"]))
    assert cut.finish_reason == "stop"
    assert cut.text == whole.partition(f" {stop}")[0]


def test_its_refusals_are_told_apart(tiny: ChatModel, gguf_file: Path) -> None:
    with pytest.raises(RequestFailedError) as failed:
        answer(tiny, ChatRequest.of_user("a " * 3000))
    assert failed.value.failure.kind == "bad_request"
    assert failed.value.failure.status == 400
    assert failed.value.failure.attempts == 1
    with pytest.raises(CannotAskError, match="/v2"):
        answer(replace(tiny, base_url=str(tiny.base_url).replace("/v1", "/v2")))
    with (
        other_server.serving(gguf_file, key="sk-of-the-server") as url,
        pytest.raises(CannotAskError) as error,
    ):
        answer(replace(tiny, base_url=url))
    assert "key" in str(error.value)


def test_it_is_given_the_key_that_it_wants(
    tiny: ChatModel, gguf_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_KEY", "sk-of-the-server")
    with other_server.serving(gguf_file, key="sk-of-the-server") as url:
        there = replace(tiny, base_url=url, key_env="TINY_KEY")
        assert answer(there).text == answer(tiny).text
