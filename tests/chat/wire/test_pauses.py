"""A 429 pauses everybody for as long as the provider says, and is no attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest

from chat.raw_server import Asked, Said, Wire, answered, refused
from chat.virtual_time import run_virtually
from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest, Reply
from understudy.chat.wire.client import CannotAskError, ChatClient
from understudy.chat.wire.errors import Fault, Then
from understudy.chat.wire.pauses import Pauses, asked_wait


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def model(wire: Wire, **settings: Any) -> ChatModel:  # noqa: ANN401 - any of its fields
    given = {"key_env": None, "retry_seconds": 0.01, "max_attempts": 1, **settings}
    return ChatModel("strong", "strong", wire.url, **given)


def soon(milliseconds: int = 20) -> Said:
    return refused(429, "slow down", {"retry-after-ms": str(milliseconds)})


async def _ask(asked: ChatModel, texts: list[str], waits: list[tuple[float, str]]) -> list[Reply]:
    def on_wait(seconds: float, why: str) -> None:
        waits.append((seconds, why))

    async with ChatClient(asked, on_wait=on_wait) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.answer(ChatRequest.of_user(text))) for text in texts]
    return [task.result() for task in tasks]


def ask(asked: ChatModel, *texts: str) -> tuple[list[str], list[tuple[float, str]]]:
    """The texts of the replies, and the pauses that were told of."""
    waits: list[tuple[float, str]] = []
    replies = asyncio.run(_ask(asked, list(texts), waits))
    return [reply.text for reply in replies], waits


def test_a_429_is_no_attempt(wire: Wire) -> None:
    wire.reply = lambda number, _: soon() if number < 8 else answered("at last")
    texts, waits = ask(model(wire, max_attempts=1), "a")
    assert texts == ["at last"]
    assert len(wire.asked) == 8
    assert {why for _, why in waits} == {"429: slow down"}


def test_attempts_go_on_counting_across_a_429(wire: Wire) -> None:
    said = {1: refused(500, "x"), 2: soon(), 3: refused(500, "x"), 4: soon()}
    wire.reply = lambda number, _: said.get(number, answered("third attempt"))
    assert ask(model(wire, max_attempts=3), "a")[0] == ["third attempt"]


def test_nobody_asks_while_the_provider_wants_to_be_left_alone(wire: Wire) -> None:
    """The first of two answers refuses; whoever comes later waits too."""
    wire.reply = lambda number, _: soon(600) if number == 1 else answered("ok")

    async def two() -> None:
        async with ChatClient(model(wire)) as client, asyncio.TaskGroup() as group:
            group.create_task(client.answer(ChatRequest.of_user("a")))
            await asyncio.sleep(0.3)
            group.create_task(client.answer(ChatRequest.of_user("b")))

    asyncio.run(two())
    first, *later = (asked.time for asked in wire.asked)
    assert len(later) == 2
    assert min(later) - first >= 0.6


@pytest.mark.parametrize("headers", [{}, {"retry-after": "0"}, {"retry-after": "soon"}])
def test_a_storm_of_refusals_passes(headers: Mapping[str, str], wire: Wire) -> None:
    """Two of three are refused, whoever asks; all come through, none is lost."""
    wire.reply = lambda number, asked: (
        refused(429, "busy", headers) if number % 3 and number < 30 else answered(asked.text)
    )
    texts = [str(number) for number in range(24)]
    assert ask(model(wire), *texts)[0] == texts


def test_headers_that_say_that_nothing_remains_are_heeded_before_a_refusal(wire: Wire) -> None:
    spent = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "30s",
    }
    wire.reply = lambda number, _: answered("ok", headers=spent if number == 1 else {})

    async def two() -> None:
        async with ChatClient(model(wire)) as client:
            for text in "ab":
                await client.answer(ChatRequest.of_user(text))

    asyncio.run(two())
    first, second = (asked.time for asked in wire.asked)
    assert 0.5 <= second - first < 20


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_spent_account_ends_the_asking_at_once(code: str, wire: Wire) -> None:
    wire.reply = lambda *_: refused(429, "You exceeded your current quota", code=code)
    with pytest.raises(CannotAskError, match=r"429: You exceeded.*top it up"):
        asyncio.run(_one(model(wire)))
    assert len(wire.asked) == 1


async def _one(asked: ChatModel) -> Reply:
    async with ChatClient(asked) as client:
        return await client.answer(ChatRequest.of_user("hi"))


def test_a_wait_of_hours_ends_the_asking_with_what_the_provider_says(wire: Wire) -> None:
    wire.reply = lambda *_: refused(429, "daily limit", {"retry-after": "9000"})
    with pytest.raises(
        CannotAskError, match=r"429: it asks to wait for 2\.5 h: daily limit\); the"
    ):
        asyncio.run(_one(model(wire)))
    assert len(wire.asked) == 1


def test_a_provider_that_only_refuses_is_left_after_the_longest_wait(wire: Wire) -> None:
    wire.reply = lambda *_: soon(30)
    with pytest.raises(CannotAskError, match=r"429: it has refused every request for .* s: slow"):
        asyncio.run(_one(model(wire, max_wait_seconds=0.4)))
    assert len(wire.asked) > 3


def test_a_request_that_alone_is_refused_does_not_wait_for_ever(wire: Wire) -> None:
    wire.reply = lambda _, asked: soon(5) if asked.text == "b" else answered(asked.text)

    async def others_and_one() -> tuple[Any, Any]:
        async with ChatClient(model(wire, max_wait_seconds=0.5)) as client:

            async def others() -> str:
                for _ in range(40):
                    await client.answer(ChatRequest.of_user("a"))
                    await asyncio.sleep(0.01)
                return "done"

            unlucky = client.answer(ChatRequest.of_user("b"))
            return await asyncio.gather(others(), unlucky, return_exceptions=True)

    done, error = asyncio.run(others_and_one())
    assert done == "done"
    assert error.failure.kind == "rate_limit"


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "said", "low", "high"),
    [
        ({"retry-after": "7"}, "", 7, 7),
        ({"retry-after": "1.5"}, "", 1.5, 1.5),
        ({"retry-after": "-3"}, "", 0, 0),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25, 0.25),
        ({"retry-after": "2m"}, "", 120, 120),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, "", 360, 360),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12ms"}, "",
         0.012, 0.012),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30"}, "", 30, 30),
        ({}, "Limit 3, used 3. Please try again in 7m12s. Visit", 432, 432),
        ({}, "Please retry after 12 seconds", 12, 12),
    ],
)  # fmt: skip
def test_the_wait_that_a_provider_asks_for(
    headers: Mapping[str, str], said: str, low: float, high: float
) -> None:
    found = asked_wait(headers, said)
    assert found is not None
    assert low - 1e-9 <= found <= high + 1e-9


def test_dates_count_from_now_and_a_past_one_is_now() -> None:
    later = asked_wait({"retry-after": in_seconds(90)})
    assert later is not None
    assert 88 <= later <= 90
    assert asked_wait({"retry-after": in_seconds(-90)}) == 0


@pytest.mark.parametrize("value", ["", "nan", "soon", "5 apples"])
def test_what_is_no_time_is_no_wish(value: str) -> None:
    assert asked_wait({"retry-after": value}) is None


def hintless() -> Fault:
    return Fault(Then.PAUSE, "rate_limit", "busy", 429)


async def _rounds(refuse: Callable[[Pauses, float], None]) -> list[float]:
    """The pauses after each of eight rounds of refusals without a hint."""
    waits: list[float] = []
    pauses = Pauses(3600, lambda seconds, _: waits.append(seconds))
    for _ in range(8):
        refuse(pauses, asyncio.get_running_loop().time())
        await pauses.over()
    return waits


def test_without_a_hint_the_pause_doubles_with_each_round_up_to_a_minute() -> None:
    waits = run_virtually(_rounds(lambda pauses, now: pauses.refused(hintless(), now)))
    assert len(waits) == 8
    for number, wait in enumerate(waits):
        assert 0.125 * 2**number <= wait <= 1.06 * 0.25 * 2**number
    assert all(later > earlier / 2 for earlier, later in pairwise(waits))


def test_refusals_of_what_was_under_way_are_one_round() -> None:
    def all_at_once(pauses: Pauses, now: float) -> None:
        for _ in range(30):
            pauses.refused(hintless(), now - 0.01)

    waits = run_virtually(_rounds(all_at_once))
    assert max(waits) <= 1.06 * 0.25 * 2**6


def test_a_reply_forgets_the_refusals() -> None:
    def refused_and_answered(pauses: Pauses, now: float) -> None:
        pauses.refused(hintless(), now)
        pauses.answered({})

    assert max(run_virtually(_rounds(refused_and_answered))) < 0.3


def test_a_key_is_in_no_pause(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "abcdef-0123456789-secret"
    monkeypatch.setenv("A_KEY", key)

    def reply(number: int, asked: Asked) -> Said:
        said = refused(429, f"{asked.headers['authorization']} is busy", {"retry-after": "0"})
        return said if number == 1 else answered("ok")

    wire.reply = reply
    _, waits = ask(model(wire, key_env="A_KEY"), "a")
    assert "busy" in str(waits)
    assert key not in str(waits)
