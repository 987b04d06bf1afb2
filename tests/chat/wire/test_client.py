"""The client over real HTTP: what is sent, what counts as a reply, and what is asked again."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chat.raw_server import Said, Wire, answered, refused
from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest, Failure, Reply
from understudy.chat.wire.client import CannotAskError, ChatClient, RequestFailedError
from understudy.records import Turn

KEY = "sk-very-secret-0123456789abcdef"


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setenv("A_KEY", KEY)
    wire = Wire()
    yield wire
    wire.close()


def model(wire: Wire, **settings: Any) -> ChatModel:  # noqa: ANN401 - any of its fields
    given = {"key_env": "A_KEY", "retry_seconds": 0.01, "timeout_seconds": 20.0, **settings}
    return ChatModel("strong", "strong", wire.url, **given)


async def _answers(asked: ChatModel, requests: list[ChatRequest]) -> list[Reply]:
    async with ChatClient(asked) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.answer(request)) for request in requests]
    return [task.result() for task in tasks]


def answers(asked: ChatModel, *texts: str) -> list[Reply]:
    """The replies to several requests at once."""
    return asyncio.run(_answers(asked, [ChatRequest.of_user(text) for text in texts]))


async def _answer(asked: ChatModel, request: ChatRequest) -> Reply:
    async with ChatClient(asked) as client:
        return await client.answer(request)


def answer(asked: ChatModel, request: ChatRequest | str = "hello") -> Reply:
    """The reply to one request."""
    made = ChatRequest.of_user(request) if isinstance(request, str) else request
    return asyncio.run(_answer(asked, made))


def failure(asked: ChatModel, request: ChatRequest | str = "hello") -> Failure:
    """What is left of a request that is given up."""
    with pytest.raises(RequestFailedError) as caught:
        answer(asked, request)
    return caught.value.failure


def test_a_reply_has_all_that_the_server_said(wire: Wire) -> None:
    asked = model(wire, params={"temperature": 0.5, "top_p": None, "max_tokens": 7, "stop": ["x"]})
    request = ChatRequest((Turn("system", "Be brief."), Turn("user", "什么?")), sample=3)
    reply = answer(asked, request)
    assert (reply.text, reply.finish_reason, reply.model) == ("to 什么?", "stop", "strong-0613")
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cost_usd) == (9, 5, None)
    assert (reply.request_id, reply.first_token) == ("chatcmpl-1", ())
    assert reply.key == asked.key_of(request)
    assert reply.created.endswith("+00:00")
    (sent,) = wire.asked
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.body == {
        "model": "strong",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "什么?"},
        ],
        "temperature": 0.5,
        "max_tokens": 7,
        "stop": ["x"],
    }


def test_the_seed_of_a_sample_is_the_seed_plus_its_number(wire: Wire) -> None:
    params = {"seed": 40}
    for sample in (0, 2):
        answer(model(wire, params=params), ChatRequest.of_user("hi", sample=sample))
    answer(model(wire, params=params, renamed={"seed": "random_seed"}), ChatRequest.of_user("hi"))
    assert [asked.body.get("seed") for asked in wire.asked] == [40, 42, None]
    assert wire.asked[2].body["random_seed"] == 40


def test_what_a_model_calls_otherwise_or_refuses_is_sent_so(wire: Wire) -> None:
    params = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 9}
    renamed, refused_ = {"max_tokens": "max_completion_tokens"}, ["temperature"]
    answer(model(wire, params=params, renamed=renamed, refused=refused_))
    body = wire.asked[0].body
    assert (body["top_p"], body["max_completion_tokens"]) == (1.0, 9)
    assert not {"temperature", "max_tokens"} & set(body)


def test_the_likeliest_first_tokens_come_with_the_reply(wire: Wire) -> None:
    likeliest = [{"token": "9", "logprob": -0.1}, {"token": "8", "logprob": -2.5}]
    first = {"token": "9", "logprob": -0.1, "top_logprobs": likeliest}
    wire.reply = lambda *_: answered("9", logprobs={"content": [first, {"token": "x"}]})
    assert answer(model(wire)).first_token == (("9", -0.1), ("8", -2.5))
    alone = {"content": [{"token": "7", "logprob": -1, "top_logprobs": []}]}
    wire.reply = lambda *_: answered("7", logprobs=alone)
    assert answer(model(wire)).first_token == (("7", -1.0),)


@pytest.mark.parametrize(
    ("said", "text", "finish"),
    [
        (answered("cut sho", "length"), "cut sho", "length"),
        (answered("", "length"), "", "length"),
        (answered("", "stop"), "", "stop"),
        (answered(None, "stop"), "", "stop"),
        (answered(None, "stop", message={"content": None, "refusal": "I can't."}), "I can't.",
         "stop"),
        (answered("fine", None), "fine", "unknown"),
    ],
    ids=["cut", "cut at once", "empty", "null", "refusal", "no reason"],
)  # fmt: skip
def test_cut_and_empty_answers_are_replies_and_bought_once(
    said: Said, text: str, finish: str, wire: Wire
) -> None:
    wire.reply = lambda *_: said
    reply = answer(model(wire))
    assert (reply.text, reply.finish_reason) == (text, finish)
    assert len(wire.asked) == 1


WHOLE = json.dumps(answered("there").body).encode()
PASSING = {
    "500": refused(500, "oops"),
    "502 page": Said(502, b"<html>Bad gateway</html>", {"content-type": "text/html"}),
    "503": refused(503, "overloaded"),
    "504": refused(504, "late"),
    "409": refused(409, "busy"),
    "dropped": Said(is_dropped=True),
    "cut before the body": Said(body=WHOLE, cut=0),
    "cut in the body": Said(body=WHOLE, cut=40),
    "cut JSON": Said(body=WHOLE[:-30]),
    "empty body": Said(body=b""),
    "not JSON": Said(body=b"hello"),
    "no UTF-8": Said(body=b'{"choices": "\xff\xfe'),
    "too deep": Said(body=b"[" * 100_000),
    "a list": Said(body=[]),
    "no choices": Said(body={"choices": []}),
    "an error with 200": Said(body={"error": {"message": "upstream"}}),
    "no message": Said(body={"choices": [{"finish_reason": "stop"}]}),
    "content of another type": answered({"text": "hi"}),
    "no gzip": Said(body=b"plain", headers={"content-encoding": "gzip"}),
    "cut gzip": Said(body=gzip.compress(WHOLE)[:-20], headers={"content-encoding": "gzip"}),
    "nothing said": answered(None, "tool_calls"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_may_pass_is_asked_again(fault: Said, wire: Wire) -> None:
    wire.reply = lambda number, _: fault if number < 3 else answered("there")
    assert answer(model(wire)).text == "there"
    assert len(wire.asked) == 3


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (refused(500, "oops"), "server", 500),
        (refused(504, "late"), "timeout", 504),
        (Said(is_dropped=True), "connection", None),
        (Said(body=WHOLE, cut=40), "connection", None),
        (Said(body=WHOLE[:-30]), "unreadable", None),
        (answered(None, "tool_calls"), "no_text", None),
    ],
)
def test_attempts_are_counted_and_end(
    fault: Said, kind: str, status: int | None, wire: Wire
) -> None:
    wire.reply = lambda *_: fault
    given_up = failure(model(wire, max_attempts=3))
    assert (given_up.kind, given_up.status, given_up.attempts) == (kind, status, 3)
    assert given_up.message
    assert len(wire.asked) == 3


@pytest.mark.parametrize("said", [Said(hangs=True), Said(body=WHOLE, byte_seconds=0.05)])
def test_a_server_that_hangs_or_trickles_is_left_after_the_timeout(said: Said, wire: Wire) -> None:
    wire.reply = lambda *_: said
    given_up = failure(model(wire, max_attempts=2, timeout_seconds=0.3))
    assert (given_up.kind, given_up.attempts) == ("timeout", 2)


FILTERED = "The response was filtered due to the prompt triggering the content policy."


@pytest.mark.parametrize(
    ("said", "kind", "status"),
    [
        (answered("Half an", "content_filter"), "content_filter", None),
        (refused(400, FILTERED, code="content_filter"), "content_filter", 400),
        (refused(400, FILTERED, innererror={"code": "ResponsibleAIPolicyViolation"}),
         "content_filter", 400),
        (refused(403, "Your input was flagged"), "content_filter", 403),
        (refused(400, "messages: too many", param="messages"), "bad_request", 400),
        (refused(400, "max_tokens and context length", code="context_length_exceeded",
                 param="max_tokens"), "bad_request", 400),
        (refused(413, "too large"), "bad_request", 413),
    ],
)  # fmt: skip
def test_what_no_second_try_will_change_is_asked_once(
    said: Said, kind: str, status: int | None, wire: Wire
) -> None:
    wire.reply = lambda *_: said
    given_up = failure(model(wire))
    assert (given_up.kind, given_up.status, given_up.attempts) == (kind, status, 1)
    assert len(wire.asked) == 1


def test_one_failed_request_leaves_the_others_alone(wire: Wire) -> None:
    wire.reply = lambda _, asked: (
        refused(400, "no") if asked.text == "b" else answered(f"to {asked.text}")
    )

    async def all_three() -> list[Reply | BaseException]:
        async with ChatClient(model(wire)) as client:
            asked = [client.answer(ChatRequest.of_user(text)) for text in "abc"]
            return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(all_three())
    assert isinstance(second, RequestFailedError)
    assert [each.text for each in (first, third) if isinstance(each, Reply)] == ["to a", "to c"]


def test_what_cannot_be_written_in_utf_8_is_refused_or_shown_as_such(wire: Wire) -> None:
    given_up = failure(model(wire), "half an emoji: \ud83d")
    assert (given_up.kind, len(wire.asked)) == ("bad_request", 0)
    wire.reply = lambda *_: Said(body=WHOLE.replace(b"there", b"\\ud83d\\ude00 and \\ud83d"))
    assert answer(model(wire)).text == "\U0001f600 and \ufffd"


def test_compressed_answers_are_read(wire: Wire) -> None:
    body = json.dumps(answered("压缩").body).encode()
    wire.reply = lambda *_: Said(body=gzip.compress(body), headers={"content-encoding": "gzip"})
    assert answer(model(wire)).text == "压缩"


def test_a_key_that_a_server_echoes_is_in_no_reply(wire: Wire) -> None:
    wire.reply = lambda _, asked: answered(f"You said {asked.headers['authorization']}!")
    assert answer(model(wire)).text == "You said Bearer ***!"


def test_a_dummy_key_is_no_secret_that_would_change_an_answer(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "EMPTY")
    wire.reply = lambda *_: answered("The set is EMPTY.")
    assert answer(model(wire)).text == "The set is EMPTY."


def test_without_a_key_none_of_the_environment_is_sent(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, f"own-{name}")
    answer(model(wire, key_env=None))
    assert "own-" not in str(wire.asked[0].headers)


def test_azure_is_asked_at_its_deployment_with_its_own_header(wire: Wire) -> None:
    base = wire.url.removesuffix("/v1")
    asked = ChatModel("azure", "my-gpt4", base, "azure", api_version="2024-10-21", key_env="A_KEY")
    assert answer(asked).text == "to hello"
    (sent,) = wire.asked
    path = "/openai/deployments/my-gpt4/chat/completions?api-version=2024-10-21"
    assert sent.path == path
    assert sent.headers["api-key"] == KEY
    assert sent.body["model"] == "my-gpt4"


def test_a_log_at_its_most_talkative_has_no_key_and_no_line_a_request(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wire.reply = lambda number, _: refused(500, KEY) if number == 1 else answered("hi")
    answer(model(wire))
    assert KEY not in caplog.text
    assert not [record for record in caplog.records if record.name == "httpx2"]
    assert logging.getLogger("httpx2").level == logging.NOTSET


def test_requests_at_once_share_the_connections(wire: Wire) -> None:
    replies = answers(model(wire), *(str(number) for number in range(100)))
    assert [each.text for each in replies] == [f"to {number}" for number in range(100)]


def test_a_limit_holds_over_http(wire: Wire) -> None:
    """6,000 a minute: a second's worth at once, then 99 a second."""
    began = time.monotonic()
    answers(model(wire, requests_per_minute=6000), *(str(number) for number in range(300)))
    assert time.monotonic() - began >= 1.95
    assert len(wire.asked) == 300


def test_a_client_that_is_not_open_says_so(wire: Wire) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(ChatClient(model(wire)).answer(ChatRequest.of_user("hi")))


def test_a_server_that_goes_away_ends_the_asking_after_some_attempts(wire: Wire) -> None:
    wire.reply = lambda *_: answered("first", headers={"connection": "close"})

    async def ask_twice() -> None:
        async with ChatClient(model(wire, max_attempts=2)) as client:
            await client.answer(ChatRequest.of_user("a"))
            wire.close()
            await client.answer(ChatRequest.of_user("b"))

    with pytest.raises(CannotAskError) as caught:
        asyncio.run(ask_twice())
    assert "is the server up?" in str(caught.value)
