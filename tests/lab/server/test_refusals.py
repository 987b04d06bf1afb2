"""Calls that no model can answer are refused in OpenAI's words, and never break the server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.server.asking import Lab
from understudy.lab.server.settings import ServerConfig
from understudy.lab.world import World
from understudy.records import InputError

USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [USER, {"content": "hi"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"seed": "x"}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"logprobs": 2}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_a_wrong_parameter_is_named(body: dict[str, Any], param: str, lab: Lab) -> None:
    said = lab.chat(body)
    assert (said.status, said.error["param"]) == (400, param)
    assert said.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("prompt", [None, [], 5, [[1, 2]]])
def test_a_text_completion_wants_texts(prompt: object, lab: Lab) -> None:
    said = lab.post("/v1/completions", {"model": "lab-strong", "prompt": prompt})
    assert (said.status, said.error["param"]) == (400, "prompt")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 10_000, b'{"a": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes, lab: Lab) -> None:
    assert lab.post("/v1/chat/completions", body).status == 400


def test_a_client_that_asks_whether_to_go_on_is_told_at_once(lab: Lab) -> None:
    body = b'{"model": "lab-weak", "messages": [{"role": "user", "content": "hi"}]}'
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: lab\r\nexpect: 100-continue\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with _connected(lab) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_is_no_http_is_refused_and_a_head_alone_is_answered(lab: Lab) -> None:
    for sent, status in (
        (b"hello\r\n\r\n", b"400"),
        (b"HEAD /v1/models HTTP/1.1\r\nhost: lab\r\n\r\n", b"200"),
    ):
        with _connected(lab) as connection:
            connection.sendall(sent)
            assert connection.recv(1000).startswith(b"HTTP/1.1 " + status)


def _connected(lab: Lab) -> socket.socket:
    address = urlsplit(lab.url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def test_unknown_models_and_paths_are_not_found(lab: Lab) -> None:
    said = lab.chat({"model": "gpt-4"})
    assert (said.status, said.error["code"]) == (404, "model_not_found")
    assert "lab-strong" in said.error["message"]
    said = lab.post("/chat/completions", {})
    assert said.status == 404
    assert said.error["message"] == "Invalid URL (POST /chat/completions)"
    assert lab.get("/v1/chat/completions").status == 405


def test_text_parts_and_earlier_turns_are_read_and_the_last_user_turn_is_answered(
    lab: Lab,
) -> None:
    parts = [{"type": "text", "text": "give the first item\n\n"}, {"type": "text", "text": "c a b"}]
    earlier = [{"role": "system", "content": "Be brief."}, USER]
    turns = [*earlier, {"role": "assistant", "content": None}, {"role": "user", "content": parts}]
    reply = lab.chat({"messages": turns}).json
    assert reply["choices"][0]["message"]["content"] == "c a b answer : c"
    assert reply["usage"]["prompt_tokens"] == 10


def test_odd_texts_are_answered_all_the_same(lab: Lab) -> None:
    for text in ("", " \n", "\x00", "a" * 100_000, "给"):
        said = lab.chat({"messages": [{"role": "user", "content": text}]})
        assert said.status == 200, text[:9]


def test_parameters_can_be_refused_as_some_models_do(serve: Callable[..., Lab]) -> None:
    lab = serve(refuses=("temperature", "max_tokens"))
    said = lab.chat({"temperature": 1.0})
    assert (said.status, said.error["param"]) == (400, "temperature")
    assert said.error["code"] == "unsupported_parameter"
    assert lab.chat({"max_completion_tokens": 5, "temperature": None}).status == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": 70_000}, "server.port=70000 is no port"),
        ({"requests_per_minute": 0}, "server.requests_per_minute=0"),
        ({"latency_seconds": -1}, "server.latency_seconds=-1 is below 0"),
        ({"loses_numbers": 2}, "server.loses_numbers=2 is no share"),
    ],
)
def test_settings_of_no_server_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ServerConfig(World(), **settings)


def test_a_key_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_KEY", raising=False)
    with pytest.raises(InputError, match="export LAB_KEY=KEY"):
        ServerConfig(World(), key_env="LAB_KEY").key()
