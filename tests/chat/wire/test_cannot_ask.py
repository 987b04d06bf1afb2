"""What ends the asking: one clear line that says what to type, and holds no key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from chat.raw_server import Said, Wire, answered, refused
from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest
from understudy.chat.wire.client import CannotAskError, ChatClient, RequestFailedError
from understudy.chat.wire.errors import redacted
from understudy.config.resolvers import register_resolvers
from understudy.records import InputError

KEY = "sk-very-secret-0123456789abcdef"
PAGE = {"content-type": "text/html; charset=utf-8"}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setenv("A_KEY", KEY)
    wire = Wire()
    yield wire
    wire.close()


def model(wire: Wire, **settings: Any) -> ChatModel:  # noqa: ANN401 - any of its fields
    given = {"base_url": wire.url, "key_env": "A_KEY", "retry_seconds": 0.01, **settings}
    return ChatModel("gpt4", "gpt-4", **given)


async def _ask(asked: ChatModel) -> None:
    async with ChatClient(asked) as client:
        await client.answer(ChatRequest.of_user("hi"))


def line(asked: ChatModel) -> str:
    """The line for the user."""
    with pytest.raises(CannotAskError) as caught:
        asyncio.run(_ask(asked))
    said = str(caught.value)
    assert "\n" not in said
    assert KEY not in repr(caught.value)
    assert caught.value.__cause__ is None
    return said


def test_no_key_names_the_variable(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", "  "):
        monkeypatch.delenv("A_KEY") if value is None else monkeypatch.setenv("A_KEY", value)
        assert "A_KEY is not set; type export A_KEY=KEY" in line(model(wire))
    assert wire.asked == []


@pytest.mark.parametrize("value", ["two words", "a\nb", "schlüssel", "“sk-quoted”"])
def test_a_key_that_no_header_can_hold_is_refused_without_saying_it(
    value: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", value)
    said = line(model(wire))
    assert "A_KEY holds spaces, line breaks or letters that no key has" in said
    assert value not in said


@pytest.mark.parametrize("echo", [KEY, f"Bearer {KEY}", KEY[:7] + "*" * 8 + KEY[-4:]])
def test_a_refused_key_is_not_said_even_when_the_server_does(echo: str, wire: Wire) -> None:
    wire.reply = lambda *_: refused(401, f"Incorrect API key\nprovided: {echo}.")
    said = line(model(wire))
    assert "401: Incorrect API key provided: ***" in said
    assert "type export A_KEY=KEY" in said
    assert echo not in said
    assert len(wire.asked) == 1


def test_a_server_that_wants_a_key_says_how_to_give_one(wire: Wire) -> None:
    wire.reply = lambda *_: refused(401, "no key")
    assert "type teacher.key_env=NAME_OF_VARIABLE" in line(model(wire, key_env=None))


def test_what_is_not_allowed_ends_the_asking(wire: Wire) -> None:
    wire.reply = lambda *_: refused(403, "Country not supported")
    assert "403: Country not supported" in line(model(wire))
    wire.reply = lambda *_: refused(402, "Insufficient Balance")
    assert "402: Insufficient Balance); the account has nothing left to spend" in line(model(wire))


NO_MODEL = "The model `gpt-4` does not exist or you do not have access to it."


@pytest.mark.parametrize(
    "said",
    [
        refused(404, NO_MODEL, code="model_not_found"),
        refused(403, "Project has no access", code="model_not_found"),
        refused(404, 'model "gpt-4" not found, try pulling it first'),
    ],
    ids=["OpenAI", "no access", "Ollama"],
)
def test_an_unknown_model_names_those_that_are_offered(said: Said, wire: Wire) -> None:
    wire.reply = lambda *_: said
    assert "type teacher.model=NAME; it offers gpt-4.1" in line(model(wire))
    wire.models = None
    assert "it knows no gpt-4: type teacher.model=NAME" in line(model(wire))
    assert len(wire.asked) == 2


def test_many_models_are_not_all_named(wire: Wire) -> None:
    wire.reply = lambda *_: refused(404, NO_MODEL, code="model_not_found")
    wire.models = tuple(f"other-{number}" for number in range(40))
    said = line(model(wire))
    assert "other-0" in said
    assert "and 32 more" in said


@pytest.mark.parametrize(
    "said",
    [
        Said(404, b"<html><head><title>Not Found</title></head></html>", PAGE),
        Said(404, {"detail": "Not Found"}),
        refused(404, "Invalid URL (POST /chat/completions): no model"),
        Said(405, {"detail": "Method Not Allowed"}),
        Said(200, b"<!doctype html><title>Our company</title>", PAGE),
    ],
    ids=["page", "FastAPI", "OpenAI", "405", "page with 200"],
)
def test_a_wrong_address_says_where_the_api_may_be(said: Said, wire: Wire) -> None:
    wire.reply = lambda *_: said
    base = wire.url.removesuffix("/v1")
    assert f"type teacher.base_url={base}/v1" in line(model(wire, base_url=base))
    assert "type teacher.base_url=http://HOST:PORT/v1" in line(model(wire))
    assert len(wire.asked) == 2


def test_a_page_between_replies_is_only_a_fault_that_may_pass(wire: Wire) -> None:
    page = Said(200, b"<html>busy</html>", PAGE)
    wire.reply = lambda number, _: page if number == 2 else answered("ok")

    async def twice() -> None:
        async with ChatClient(model(wire)) as client:
            for text in "ab":
                await client.answer(ChatRequest.of_user(text))

    asyncio.run(twice())
    assert len(wire.asked) == 3


def test_nobody_there_is_said_at_once(wire: Wire) -> None:
    wire.close()
    said = line(model(wire, retry_seconds=30.0))
    assert wire.url in said
    assert "is the server up? Type teacher.base_url=http://HOST:PORT/v1" in said
    assert "start the lab's server by stage=serve" in line(model(wire, identity="lab"))


def test_another_protocol_is_one_line(wire: Wire) -> None:
    said = line(model(wire, base_url=wire.url.replace("http:", "https:")))
    assert "is the server up?" in said


def test_a_redirect_is_not_followed_with_the_key(wire: Wire) -> None:
    target = "https://elsewhere.example/v1"
    wire.reply = lambda *_: Said(301, b"", {"location": f"{target}/chat/completions"})
    assert f"301: Moved Permanently); it is elsewhere: type teacher.base_url={target}" in line(
        model(wire)
    )
    wire.reply = lambda *_: Said(308, b"", {"location": "/v2/chat/completions"})
    base = wire.url.removesuffix("/v1")
    assert line(model(wire)).endswith(f"type teacher.base_url={base}/v2")
    assert len(wire.asked) == 2


INSTEAD = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
VALUE = "Unsupported value: 'temperature' does not support 0.5 with this model."


@pytest.mark.parametrize(
    ("said", "settings", "advice"),
    [
        (refused(400, INSTEAD, code="unsupported_parameter", param="max_tokens"), {},
         "type '+teacher.renamed={max_tokens: max_completion_tokens}'"),
        (refused(400, INSTEAD), {"renamed": {"top_p": "p"}},
         "type '+teacher.renamed={top_p: p, max_tokens: max_completion_tokens}'"),
        (refused(400, VALUE, code="unsupported_value", param="temperature"),
         {"refused": ["seed"]}, "type 'teacher.refused=[seed,temperature]' to leave it out"),
        (refused(400, "Unrecognized request argument supplied: `top_p`"), {},
         "type 'teacher.refused=[top_p]'"),
        (refused(400, "'tokens' is unknown", param="tokens"), {"renamed": {"max_tokens": "tokens"}},
         "type 'teacher.refused=[max_tokens]'"),
        (Said(422, {"detail": [{"loc": ["body", "top_p"], "msg": "Extra inputs"}]}), {},
         "type 'teacher.refused=[top_p]'"),
        (refused(400, "temperature is above the maximum", param="temperature"), {},
         "or teacher.params.temperature=VALUE"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_refused_says_what_to_type(
    said: Said, settings: dict[str, Any], advice: str, wire: Wire
) -> None:
    wire.reply = lambda *_: said
    params = {"temperature": 0.5, "top_p": 1.0, "max_tokens": 9}
    assert advice in line(model(wire, params=params, **settings))
    assert len(wire.asked) == 1


def test_a_400_that_names_no_parameter_of_ours_is_the_request_s_own(wire: Wire) -> None:
    wire.reply = lambda *_: refused(400, "'tools' is not supported", param="tools")
    with pytest.raises(RequestFailedError):
        asyncio.run(_ask(model(wire)))


def test_azure_says_what_to_check(wire: Wire) -> None:
    wire.reply = lambda *_: Said(404, {"error": {"code": "404", "message": "Resource not found"}})
    asked = model(wire, api="azure", api_version="2024-10-21")
    assert "check teacher.base_url=https://NAME.openai.azure.com and teacher.api_version" in line(
        asked
    )
    gone = {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}
    wire.reply = lambda *_: Said(404, {"error": gone})
    assert "it knows no gpt-4" in line(asked)


def test_an_address_of_the_environment_is_not_taken_in_silence(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    async def only_open() -> str:
        async with ChatClient(ChatModel("gpt4", "gpt-4", key_env="A_KEY")) as client:
            return str(client.api.base_url)

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(only_open()) == "https://api.openai.com/v1/"
    assert "OPENAI_BASE_URL is set and not read" in caplog.text


def test_keys_of_any_form_are_redacted() -> None:
    text = f"{KEY} Bearer abc.def api-key: xyz123 sk-proj-abcdefgh and a%2Bb/c"
    assert redacted(text, KEY) == "*** *** *** *** and a%2Bb/c"
    assert redacted("a%2Bb%2Fc", "a+b/c") == "***"
    assert redacted("risk-averse tasks-based", None) == "risk-averse tasks-based"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": " "}, "teacher.name is empty"),
        ({"model": ""}, "teacher.model is empty"),
        ({"base_url": "localhost:8000"}, "is no address; type teacher.base_url=http://HOST:PORT"),
        ({"base_url": "http://127.0.0.1:99999/v1"}, "is no address"),
        ({"base_url": "http://u:pass@host/v1"}, "holds a password"),
        ({"base_url": "http://host/v1?key=1"}, "holds a password, a query"),
        ({"api": "claude"}, "teacher.api=claude is unknown; type teacher.api=openai"),
        ({"api": "azure"}, "needs teacher.base_url=https://NAME.openai.azure.com"),
        ({"params": {"n": 3}}, "teacher.params.n is set by each request itself"),
        ({"params": {"max_tokens": 0}}, "max_tokens=0 leaves no room"),
        ({"params": {"a": 1, "b": 2}, "renamed": {"a": "b"}}, "would send b twice"),
        ({"refused": ["a"], "renamed": {"a": "b"}}, "both name a"),
        ({"requests_per_minute": 0}, "teacher.requests_per_minute=0 must be above 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds=nan must be above 0"),
        ({"max_attempts": 0}, "teacher.max_attempts=0 must be at least 1"),
        ({"max_concurrent": 5000}, "more than the client's 1000 connections"),
    ],
)
def test_values_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        ChatModel(**{"name": "a", "model": "m", **settings})


def test_the_key_of_a_request_depends_on_what_decides_its_answer() -> None:
    request = ChatRequest.of_user("hi")
    asked = ChatModel("a", "m", "http://h/v1", params={"temperature": 1.0})
    key = asked.key_of(request)
    same = [
        ChatModel("b", "m", "http://h/v1/", params={"temperature": 1.0, "top_p": None}),
        ChatModel("a", "m", "http://h/v1", params={"temperature": 1.0}, max_concurrent=1),
        ChatModel("a", "m", "http://x:1/v1", identity="http://h/v1", params={"temperature": 1.0}),
    ]
    assert {each.key_of(request) for each in same} == {key}
    other = [
        asked.with_params(temperature=0.0),
        asked.with_params(seed=1),
        ChatModel("a", "m2", "http://h/v1", params={"temperature": 1.0}),
        ChatModel("a", "m", "http://h2/v1", params={"temperature": 1.0}),
        ChatModel("a", "m", "http://h/v1", params={"temperature": 1.0}, refused=["temperature"]),
    ]
    assert len({key, *(each.key_of(request) for each in other)}) == 6


def test_facts_say_what_was_left_out_and_hold_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    asked = ChatModel("a", "m", key_env="A_KEY", refused=["temperature", "seed"])
    facts = asked.facts()
    assert facts["left_out"] == {"temperature": 1.0}
    assert facts["params"] == {"top_p": 1.0, "max_tokens": 512}
    assert facts["base_url"] == "https://api.openai.com/v1"
    assert KEY not in str(facts)


def test_the_labs_server_is_found_by_port_or_run_folder(tmp_path: Path) -> None:
    register_resolvers()

    def served(server: str | int | None) -> str:
        return str(OmegaConf.create({"s": server, "url": "${served:${s}}"}).url)

    assert served(None) == "http://127.0.0.1:8321/v1"
    assert served(8400) == "http://127.0.0.1:8400/v1"
    assert served("http://10.0.0.1:9/v1") == "http://10.0.0.1:9/v1"
    with pytest.raises(Exception, match=r"teacher\.server=.*names no server; start one by stage"):
        served(str(tmp_path))
    (tmp_path / "endpoint.json").write_text('{"base_url": "http://127.0.0.1:77/v1", "pid": 1}')
    assert served(str(tmp_path)) == "http://127.0.0.1:77/v1"
