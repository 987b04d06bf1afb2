"""Asking: once, within the budget, kept before it counts, and ended well however it ends."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chat.server import Answer, Body, Server, error, message
from understudy.chat.asking.asker import Asker
from understudy.chat.asking.prices import PriceList
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.requests import ChatRequest
from understudy.chat.wire.errors import CannotAskError
from understudy.records import InputError, RunError

PRICES = PriceList("2026-01-01", "-", {"m": {"input": 1000.0, "output": 10_000.0}})
COST = (10 * 1000 + 5 * 10_000) / 1e6  # of an answer of the server: 10 tokens in, 5 out


def answer(_: int, body: Body) -> Answer:
    """Answers what it was asked, and counts tokens."""
    code, said = message(f"to {body['messages'][0]['content']}")
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return code, {**said, "usage": usage}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.reply = answer
    yield server
    server.close()


@pytest.fixture
def asker(server: Server, tmp_path: Path) -> Asker:
    model = ChatModel(
        "t",
        "m",
        base_url=server.url,
        key_env=None,
        params={"max_tokens": 6},
        max_concurrent=8,
        max_attempts=1,
        retry_seconds=0.0,
    )
    return Asker(model, str(tmp_path / "ledgers" / "l.sqlite"), PRICES)


def asked(*numbers: int) -> list[ChatRequest]:
    return [ChatRequest.of_user(f"q{number}", id=str(number)) for number in numbers]


def test_each_request_is_asked_once_and_its_reply_kept_with_its_cost(
    server: Server, asker: Asker
) -> None:
    requests = asked(*range(40), *range(10))
    answers = asker.ask(iter(requests), title="t", total=50)
    assert len(server.asked) == 40
    tally = answers.tally
    assert (tally.asked, tally.replied, tally.cached, tally.duplicates) == (40, 40, 0, 10)
    assert tally.spent_usd == pytest.approx(40 * COST)
    assert tally.ledger_usd == pytest.approx(40 * COST)
    assert (tally.prompt_tokens, tally.completion_tokens) == (400, 200)
    for request in requests:
        reply = answers.reply(request)
        assert reply is not None
        assert reply.text == f"to {request.messages[0].content}"
        assert reply.cost_usd == pytest.approx(COST)
    again = asker.ask(asked(*range(41)), title="t", total=41)
    assert len(server.asked) == 41
    assert (again.tally.cached, again.tally.replied) == (40, 1)
    assert again.tally.spent_usd == pytest.approx(COST)
    assert again.tally.ledger_usd == pytest.approx(41 * COST)


def test_another_sample_and_another_parameter_are_other_requests(
    server: Server, asker: Asker
) -> None:
    first = ChatRequest.of_user("q")
    asker.ask([first, replace(first, sample=1)], title="t")
    asker.with_params(temperature=0.0).ask([first], title="t")
    assert len(server.asked) == 3


def test_a_failed_request_is_counted_kept_and_asked_again_by_the_next_run(
    server: Server, asker: Asker
) -> None:
    server.reply = lambda n, body: (
        message("", "content_filter") if body["messages"][0]["content"] == "q1" else answer(n, body)
    )
    answers = asker.ask(asked(0, 1, 2), title="t")
    assert dict(answers.tally.failed) == {"content_filter": 1}
    failure = answers.failure(asked(1)[0])
    assert failure is not None
    assert failure.kind == "content_filter"
    assert answers.reply(asked(1)[0]) is None
    assert answers.failure(asked(0)[0]) is None
    server.reply = answer
    again = asker.ask(asked(0, 1, 2), title="t")
    assert (again.tally.cached, again.tally.replied) == (2, 1)
    assert again.failure(asked(1)[0]) is None


def test_a_truncated_or_empty_answer_is_kept_counted_and_not_bought_again(
    server: Server, asker: Asker
) -> None:
    texts = {"q0": ("cut", "length"), "q1": ("  ", "stop"), "q2": ("whole", "stop")}
    server.reply = lambda _, body: message(*texts[body["messages"][0]["content"]])
    answers = asker.ask(asked(0, 1, 2), title="t")
    assert (answers.tally.truncated, answers.tally.empty, answers.tally.replied) == (1, 1, 3)
    assert answers.tally.spent_usd is None  # this server counts no tokens
    assert asker.ask(asked(0, 1, 2), title="t").tally.asked == 0


def test_the_budget_is_never_passed_and_used_up_as_far_as_answers_are_cheap(
    server: Server, asker: Asker
) -> None:
    budget = 7.5 * COST
    bounded = replace(asker, budget_usd=budget)
    with pytest.raises(RunError) as stopped:
        bounded.ask(asked(*range(100)), title="t", total=100)
    said = str(stopped.value)
    spent = len(server.asked) * COST
    bound = (len(b"q100") + 8 + 6) * 1000 / 1e6 + 6 * 10_000 / 1e6
    assert budget - bound < spent <= budget
    assert len(server.asked) == 7
    assert "7 of 100 answered" in said
    assert f"${spent:.4f}" in said
    assert f"budget_usd={2 * budget:g}" in said
    with Ledger.open(asker.ledger) as ledger:
        assert ledger.spent_usd() == pytest.approx(spent)
    with pytest.raises(RunError, match="budget_usd"):  # the ledger's spending counts
        bounded.ask(asked(*range(100)), title="t")
    assert len(server.asked) == 7
    more = replace(asker, budget_usd=3 * budget).ask(asked(*range(12)), title="t")
    assert more.tally.cached == 7


def test_what_may_have_been_billed_without_an_answer_counts_for_the_budget(
    server: Server, asker: Asker
) -> None:
    """A filter that withholds what was written; a refusal of the prompt is free."""
    bounded = replace(asker, budget_usd=10 * COST, max_failed=1.0)
    server.reply = lambda *_: message("", "content_filter")
    with pytest.raises(RunError, match="may be for answers that never came"):
        bounded.ask(asked(*range(100)), title="t")
    assert 6 <= len(server.asked) <= 10
    num_asked = len(server.asked)
    with pytest.raises(RunError, match="is reached"):
        bounded.ask(asked(*range(100)), title="t")  # what was withheld may have been billed
    assert len(server.asked) == num_asked
    server.reply = lambda *_: error(400, "not this")
    more = replace(bounded, budget_usd=20 * COST)
    assert more.ask(asked(*range(100)), title="t").tally.failed == {"bad_request": 100}


def test_what_is_answered_already_needs_no_budget(server: Server, asker: Asker) -> None:
    asker.ask(asked(0, 1), title="t")
    answers = replace(asker, budget_usd=0.0).ask(asked(0, 1), title="t")
    assert answers.tally.cached == 2
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("prices", "params", "said"),
    [
        (replace(PRICES, usd_per_million={}), {"max_tokens": 6}, "have none for m"),
        (replace(PRICES, usd_per_million={"m": None}), {"max_tokens": 6}, "have none for m"),
        (PRICES, {"max_tokens": None}, "teacher.params.max_tokens=512"),
    ],
)
def test_a_budget_that_nothing_could_keep_is_refused(
    server: Server, asker: Asker, prices: PriceList, params: dict[str, Any], said: str
) -> None:
    bounded = replace(asker, prices=prices, budget_usd=1.0).with_params(**params)
    with pytest.raises(InputError, match=said):
        bounded.ask(asked(0), title="t")
    assert server.asked == []
    assert not Path(asker.ledger).parent.exists()


def test_replies_without_a_price_cannot_count_for_a_budget(server: Server, asker: Asker) -> None:
    unpriced = replace(asker, prices=replace(PRICES, usd_per_million={}))
    assert unpriced.ask(asked(0), title="t").tally.spent_usd is None
    with pytest.raises(InputError, match=r"1 replies .* no price"):
        replace(asker, budget_usd=1.0).ask(asked(0, 1), title="t")


def test_too_many_failures_end_it_in_one_line_with_what_is_kept(
    server: Server, asker: Asker
) -> None:
    server.reply = lambda n, body: error(400, "no, not this") if n % 10 == 0 else answer(n, body)
    with pytest.raises(RunError) as stopped:
        asker.ask(asked(*range(500)), title="t", total=500)
    said = str(stopped.value)
    assert "more than max_failed=0.05" in said
    assert "no, not this" in said
    assert "\n" not in said
    assert 100 <= len(server.asked) <= 120
    answers = replace(asker, max_failed=0.5).ask(asked(*range(120)), title="t", total=120)
    assert answers.tally.cached >= 89


def test_a_server_that_fails_without_end_is_left_soon(server: Server, asker: Asker) -> None:
    server.reply = lambda *_: error(500, "I am ill")
    with pytest.raises(RunError, match=r"20 requests in a row got no answer \(server: .*I am ill"):
        asker.ask(asked(*range(500)), title="t", total=500)
    assert len(server.asked) < 60


def test_an_error_in_what_is_to_be_asked_keeps_what_is_under_way(
    server: Server, asker: Asker
) -> None:
    def requests() -> Iterator[ChatRequest]:
        yield from asked(*range(20))
        raise InputError("row 21 has no instruction")

    with pytest.raises(InputError, match="row 21"):
        asker.ask(requests(), title="t")
    assert asker.plan(asked(*range(20))).cached == 20


def test_what_waits_for_its_turn_is_not_sent_any_more_when_asking_ends(
    server: Server, asker: Asker
) -> None:
    def requests() -> Iterator[ChatRequest]:
        yield from asked(*range(7))
        raise InputError("row 8 has no instruction")

    slow = replace(asker, model=replace(asker.model, requests_per_minute=6))
    with pytest.raises(InputError, match="row 8"):
        slow.ask(requests(), title="t")
    assert len(server.asked) <= 1


def test_a_wrong_key_writes_nothing(server: Server, asker: Asker) -> None:
    server.reply = lambda *_: error(401, "no such key")
    for act in (lambda: asker.check(asked(0)[0]), lambda: asker.ask(asked(0, 1), title="t")):
        with pytest.raises(CannotAskError):
            act()
    assert not Path(asker.ledger).parent.exists()


def test_quota_spent_in_the_middle_says_how_far_it_came(server: Server, asker: Asker) -> None:
    asker = replace(asker, model=replace(asker.model, max_concurrent=1))
    server.reply = lambda n, body: answer(n, body) if n <= 3 else error(401, "no such key")
    with pytest.raises(CannotAskError, match=r"3 of 9 answered, all kept in .*l\.sqlite"):
        asker.ask(asked(*range(9)), title="t", total=9)


def test_a_check_asks_the_first_once_and_keeps_its_reply(server: Server, asker: Asker) -> None:
    asker.check(asked(0)[0])
    asker.check(asked(0)[0])
    assert len(server.asked) == 1
    tally = asker.ask(asked(0, 1), title="t").tally
    assert (tally.asked, tally.replied, tally.cached, len(server.asked)) == (2, 2, 0, 2)
    assert tally.spent_usd == pytest.approx(tally.ledger_usd)
    again = asker.ask(asked(0, 1), title="t").tally
    assert (again.asked, again.cached, again.spent_usd) == (0, 2, 0.0)


def test_a_check_of_a_server_that_is_not_there_writes_nothing(asker: Asker, tmp_path: Path) -> None:
    gone = Server()
    gone.close()
    nowhere = replace(asker, model=replace(asker.model, base_url=gone.url))
    with pytest.raises(RunError, match=gone.url):
        nowhere.check(asked(0)[0])
    assert not (tmp_path / "ledgers").exists()


def test_a_ledger_in_use_is_refused_before_anything_is_asked(server: Server, asker: Asker) -> None:
    with Ledger.open(asker.ledger) as ledger:
        ledger.hold()
        with pytest.raises(RunError, match=f"process {os.getpid()}"):
            asker.ask(asked(0), title="t")
    assert server.asked == []


def test_a_reply_counts_only_once_it_is_on_disk(server: Server, asker: Asker) -> None:
    seen: list[int] = []

    def requests() -> Iterator[ChatRequest]:
        for request in asked(*range(30)):
            yield request
            with Ledger.open(asker.ledger) as ledger:
                seen.append(ledger.counts().replies)

    alone = replace(asker, model=replace(asker.model, max_concurrent=1))
    alone.ask(requests(), title="t")
    assert seen == list(range(1, 31))


def test_requests_are_read_as_they_are_asked(server: Server, asker: Asker) -> None:
    most_ahead = 0

    def requests() -> Iterator[ChatRequest]:
        nonlocal most_ahead
        for number in range(60):
            most_ahead = max(most_ahead, number - len(server.asked))
            yield from asked(number)

    asker.ask(requests(), title="t")
    assert most_ahead <= asker.model.max_concurrent
    gc.collect()
    left = [each for each in gc.get_objects() if type(each) is ChatRequest]
    assert not [each for each in left if each.messages[0].content in {f"q{n}" for n in range(60)}]


STOPPED = """
    import logging, sys, time
    sys.path.insert(0, {tests!r})
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from understudy.app.signals import stopping_on_signals
    from understudy.chat.asking.asker import Asker
    from understudy.chat.chat_model import ChatModel
    from understudy.chat.asking.prices import PriceList
    from understudy.chat.requests import ChatRequest
    from understudy.records import Stopped
    model = ChatModel("t", "m", base_url={url!r}, key_env=None, max_concurrent=4)
    asker = Asker(model, {ledger!r}, PriceList("d", "s", {{"m": {{"input": 1.0, "output": 1.0}}}}))
    requests = (ChatRequest.of_user(f"q{{n}}") for n in range(10_000))
    try:
        with stopping_on_signals():
            asker.ask(requests, title="t", total=10_000)
    except Stopped as stop:
        print("stopped by", stop.signal_name, flush=True)
        sys.exit(7)
"""


class Slow:
    """Answers the first few at once, then holds what is asked until told to go on."""

    def __init__(self, server: Server, at_once: int) -> None:
        self.held = threading.Semaphore(0)
        self.go_on = threading.Event()
        self._at_once = at_once
        server.reply = self._reply

    def _reply(self, number: int, body: Body) -> Answer:
        if number > self._at_once:
            self.held.release()
            self.go_on.wait(30)
        return answer(number, body)


def _run(server: Server, ledger: str) -> subprocess.Popen[str]:
    tests = str(Path(__file__).parents[2])
    code = textwrap.dedent(STOPPED.format(tests=tests, url=server.url, ledger=ledger))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_waits_for_what_is_paid_and_then_stops_the_run(
    server: Server, asker: Asker, name: str
) -> None:
    slow = Slow(server, at_once=10)
    with _run(server, asker.ledger) as run:
        for _ in range(4):
            assert slow.held.acquire(timeout=60)
        run.send_signal(signal.Signals[name])
        assert run.stderr is not None
        first = next(line for line in run.stderr if name in line)
        slow.go_on.set()
        out, err = run.communicate(timeout=60)
    assert "no new requests" in first
    assert run.returncode == 7, err
    assert out == f"stopped by {name}\n"
    assert "14 of 10,000 answered" in err
    assert len(server.asked) == 14
    with Ledger.open(asker.ledger) as ledger:
        assert ledger.counts().replies == 14


def test_a_second_ctrl_c_stops_at_once_and_loses_only_what_was_in_flight(
    server: Server, asker: Asker
) -> None:
    slow = Slow(server, at_once=10)
    with _run(server, asker.ledger) as run:
        for _ in range(4):
            assert slow.held.acquire(timeout=60)
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        next(line for line in run.stderr if "SIGINT" in line)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=18)  # less than it would wait
        slow.go_on.set()
    assert (run.returncode, out) == (7, "stopped by SIGINT\n")
    assert "10 of 10,000 answered" in err
    with Ledger.open(asker.ledger) as ledger:
        assert ledger.counts().replies == 10


FULL = """
    import sys
    from understudy.chat.asking.asker import Asker
    from understudy.chat.chat_model import ChatModel
    from understudy.chat.ledger.ledger import Ledger
    from understudy.chat.asking.prices import PriceList
    from understudy.chat.requests import ChatRequest
    from understudy.records import RunError
    model = ChatModel("t", "m", base_url={url!r}, key_env=None, max_concurrent=16)
    asker = Asker(model, {ledger!r}, PriceList("d", "s", {{"m": {{"input": 1.0, "output": 1.0}}}}))
    requests = (ChatRequest.of_user(f"q{{n}} " + "x" * 20_000) for n in range(10_000))
    try:
        asker.ask(requests, title="t", total=10_000)
    except RunError as error:
        print(error)
    with Ledger.open({ledger!r}) as ledger:
        print(ledger.counts().replies)
    try:
        with open({ledger!r} + ".other", "wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
    except OSError:
        pass
    try:
        asker.ask([], title="t")
    except RunError as error:
        print(error)
"""


def test_a_full_disk_ends_it_in_one_line_and_every_answer_that_came_is_kept(
    server: Server, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    code = textwrap.dedent(FULL.format(url=server.url, ledger=str(small / "l.sqlite")))
    mount = f'mount -t tmpfs -o size=8m tmpfs {small} && exec {sys.executable} -c "$0"'
    line = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, code]
    try:
        run = subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("no unshare, so no small disk")
    if "unshare" in run.stderr or "mount" in run.stderr:
        pytest.skip("no right to make a small disk")
    assert run.returncode == 0, run.stderr
    stopped, num_kept, refused = run.stdout.splitlines()
    assert "disk is full" in stopped
    assert f"{len(server.asked)} of 10,000 answered, all kept" in stopped
    assert int(num_kept) == len(server.asked) > 50
    assert "No space left" in refused


def test_the_facts_of_an_asker_hold_no_key_and_can_be_written(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sk-secret-of-mine")
    facts = replace(asker, model=replace(asker.model, key_env="A_KEY")).facts()
    assert "secret" not in json.dumps(facts)
    assert facts["usd_per_million"] == {"input": 1000.0, "output": 10_000.0}


def test_no_bar_but_lines_where_there_is_no_terminal(
    server: Server,
    asker: Asker,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    asker.ask(asked(*range(3)), title="a title of mine", total=3)
    assert capfd.readouterr().err == ""
