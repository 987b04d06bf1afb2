"""The official client against a real server on this machine, which may fail in every way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chat.server import Answer, Body, Server, error, message, text
from understudy.chat.endpoint import Endpoint
from understudy.prompts import ALPACA, ChatTemplate
from understudy.records import InputError, Instruction, RunError, Turn
from understudy.samples import GREEDY, Draw, Drawn


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server = Server()
    yield server
    server.close()


def prompts(count: int) -> list[Instruction]:
    return [Instruction(f"q{number}", f"Say {number}.") for number in range(count)]


def drawn(endpoint: Endpoint, wanted: list[Draw], seed: int = 0) -> dict[tuple[str, int], Drawn]:
    """All answers by question and number, each handed over once."""
    kept: list[Drawn] = []
    endpoint.draw(wanted, seed=seed, keep=kept.extend)
    by_draw = {(each.draw.prompt.id, each.draw.sample): each for each in kept}
    assert len(by_draw) == len(kept) == len(wanted)
    return by_draw


def endpoint(server: Server, **settings: Any) -> Endpoint:  # noqa: ANN401 - any of its fields
    given: dict[str, Any] = {"template": ALPACA, "retry_seconds": 0.0, **settings}
    return Endpoint(server.url, "student", **given)


def test_a_text_template_asks_for_completions_with_a_seed_a_sample(server: Server) -> None:
    wanted = [Draw(prompt, number) for prompt in prompts(3) for number in range(4)]
    found = drawn(endpoint(server, temperature=0.7, top_p=0.9, max_new_tokens=50), wanted)
    assert {path for path, _ in server.asked} == {"/v1/completions"}
    body = next(body for _, body in server.asked if "Say 2." in body["prompt"])
    assert body["prompt"] == ALPACA.render("Say 2.")
    assert (body["model"], body["temperature"], body["top_p"]) == ("student", 0.7, 0.9)
    assert body["max_tokens"] == 50
    assert "top_k" not in body
    assert len({body["seed"] for _, body in server.asked}) == 12
    assert {(each.finish, each.num_tokens) for each in found.values()} == {("stop", 7)}


def test_the_seed_of_a_sample_depends_on_nothing_else(server: Server) -> None:
    """Not on the order, what else is asked, or how many at once; on the run's seed it does."""
    wanted = [Draw(prompt, number) for prompt in prompts(3) for number in range(3)]
    all_at_once = drawn(endpoint(server), wanted)
    one_by_one = drawn(endpoint(server, max_concurrent=1), wanted[::-2])
    for key, answer in one_by_one.items():
        assert all_at_once[key].output == answer.output
    other = drawn(endpoint(server), wanted, seed=1)
    assert not {a.output for a in other.values()} & {a.output for a in all_at_once.values()}


def test_a_chat_template_sends_messages_and_the_conversation(server: Server) -> None:
    server.reply = lambda _, __: message("hi")
    history = (Turn("user", "a"), Turn("assistant", "b"))
    prompt = Instruction("q", "c", history=history)
    found = drawn(endpoint(server, template=ChatTemplate(), top_k=5), [Draw(prompt)])
    ((path, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert [each["content"] for each in body["messages"]] == ["a", "b", "c"]
    assert body["top_k"] == 5
    assert found["q", 0].output == "hi"
    assert found["q", 0].num_tokens is None
    with pytest.raises(InputError, match=r"row q is a conversation.*prompt=chat_template"):
        drawn(endpoint(server), [Draw(prompt)])


def test_a_greedy_answer_is_asked_at_temperature_0(server: Server) -> None:
    drawn(endpoint(server), [Draw(prompts(1)[0], decoding=GREEDY)])
    assert server.asked[0][1]["temperature"] == 0


def test_calls_at_once_are_bounded(server: Server) -> None:
    gate, at_once, most = threading.Lock(), [0], [0]
    full = threading.Event()

    def reply(_: int, body: Body) -> Answer:
        with gate:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            if at_once[0] == 3:
                full.set()
        full.wait(timeout=30)
        with gate:
            at_once[0] -= 1
        return text(str(body["seed"]))

    server.reply = reply
    drawn(endpoint(server, max_concurrent=3), [Draw(each) for each in prompts(12)])
    assert most[0] == 3


@pytest.mark.parametrize(
    "fault",
    [error(500, "overloaded"), error(429, "slow down"), text(None), (200, {"choices": []})],
    ids=["500", "429", "null text", "no choices"],
)
def test_what_fails_for_a_moment_is_asked_again(fault: Answer, server: Server) -> None:
    server.reply = lambda number, _: fault if number <= 2 else text("there")
    found = drawn(endpoint(server, max_retries=2), [Draw(prompts(1)[0])])
    assert found["q0", 0].output == "there"
    assert len(server.asked) == 3


def test_what_keeps_failing_is_one_line_after_so_many_calls(server: Server) -> None:
    server.reply = lambda *_: error(500, "overloaded")
    with pytest.raises(RunError, match=r"sample 1 of question q0 after 3 calls: .*overloaded"):
        drawn(endpoint(server, max_retries=2), [Draw(prompts(1)[0], 1)])
    assert len(server.asked) == 3


def test_a_refused_key_is_one_line_at_once_and_is_not_said(server: Server) -> None:
    server.reply = lambda *_: error(401, "Incorrect API key provided: sk-secret")
    with pytest.raises(RunError) as caught:
        drawn(endpoint(server, max_concurrent=1), [Draw(each) for each in prompts(5)])
    assert "export OPENAI_API_KEY" in str(caught.value)
    assert "sk-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 1
    assert server.keys == ["Bearer sk-secret"]


def test_answers_before_a_failure_are_handed_over(server: Server) -> None:
    server.reply = lambda number, _: text("a") if number < 4 else error(404, "no such model")
    kept: list[Drawn] = []
    with pytest.raises(RunError, match=r"no such model; check sampler\.model"):
        endpoint(server, max_concurrent=1).draw(
            [Draw(each) for each in prompts(9)], seed=0, keep=kept.extend
        )
    assert [each.draw.prompt.id for each in kept] == ["q0", "q1", "q2"]


def test_an_empty_answer_is_one_and_one_cut_before_it_began_is_not(server: Server) -> None:
    server.reply = lambda *_: text("")
    assert drawn(endpoint(server), [Draw(prompts(1)[0])])["q0", 0].output == ""
    server.reply = lambda *_: text("", "length")
    with pytest.raises(RunError, match=r"finish_reason=length.*raise sampler\.max_new_tokens"):
        drawn(endpoint(server, max_retries=0), [Draw(prompts(1)[0])])


def test_a_server_that_is_not_there_is_one_line() -> None:
    nobody = Endpoint("http://127.0.0.1:9/v1", "m", ALPACA, max_retries=9, retry_seconds=99.0)
    with pytest.raises(RunError, match=r"question q0: Cannot connect to host.*is the server up"):
        nobody.draw([Draw(prompts(1)[0])], seed=0, keep=print)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "localhost:8000"}, "is no address"),
        ({"base_url": "http://u:p@host/v1"}, "holds a password"),
        ({"temperature": 0.0}, "draws no samples"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"max_concurrent": 0}, "max_concurrent=0 must be at least 1"),
    ],
)
def test_values_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Endpoint(**{"base_url": "http://host/v1", "model": "m", **settings})


def test_a_template_is_needed() -> None:
    with pytest.raises(InputError, match="type prompt=alpaca"):
        Endpoint("http://host/v1", "m").check()
