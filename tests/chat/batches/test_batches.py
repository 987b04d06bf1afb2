"""The Batch API against the lab's server: half price, whatever dies, and nothing paid twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat import batch_client
from chat.batch_client import PRICES, asker_of, requests_of
from understudy.chat.batches.files import FETCHED, BatchRules, batch_folder
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.wire.errors import CannotAskError
from understudy.lab.server.app import lab_app
from understudy.lab.server.serving import running
from understudy.lab.server.settings import BatchTimes, ServerConfig
from understudy.lab.world import World
from understudy.records import InputError, RunError

QUICK = BatchTimes(validating_seconds=0.0, seconds=0.05)


class Door:
    """Stands before the server: ``at`` is called with a request's line, before or after it.

    What it returns decides whether the request goes in, and whether its answer comes out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.before: Callable[[str], bool] = lambda _: True
        self.after: Callable[[str], bool] = lambda _: True
        self.lines: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        line = f"{scope['method']} {scope['path']}"
        self.lines.append(line)
        if not self.before(line):
            raise ConnectionError("nobody is there any more")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not self.after(line):
                raise ConnectionError("nobody is there any more")
            await send(message)

        await self._app(scope, receive, answer)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[str, Door]]]:
    """``serve(failed_rate=0.1)``: a server whose batches take a moment, and its door."""
    with ExitStack() as servers:

        def start(times: BatchTimes = QUICK, **settings: Any) -> tuple[str, Door]:  # noqa: ANN401 - the settings'
            config = ServerConfig(World(), prices=PRICES, batches=times, **settings)
            door = Door(lab_app(config))
            return servers.enter_context(running(door)), door  # type: ignore[arg-type]  # an ASGI application

        yield start


def bill_of(url: str) -> dict[str, Any]:
    """What the server says it has billed."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/lab/bill") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def spent(ledger: Path) -> float:
    with Ledger.open(ledger) as opened:
        return opened.spent_usd()


def test_all_is_answered_in_files_within_the_limits_at_half_price(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve()
    path = tmp_path / "ledgers/l.sqlite"
    requests = requests_of(25)
    asker = asker_of(url, str(path), batches=BatchRules(0.02, most_requests=10))
    asker.check(requests[0])
    assert not path.parent.exists()
    answers = asker.ask([*requests, requests[3]], title="t", total=26)
    tally = answers.tally
    assert (tally.asked, tally.replied, tally.duplicates, tally.at_provider) == (25, 25, 1, 0)
    assert door.lines.count("POST /v1/batches") == 3
    bill = bill_of(url)
    assert bill["replied"] == 25
    assert spent(path) == pytest.approx(bill["billed_usd"])
    assert tally.spent_usd == pytest.approx(bill["billed_usd"])
    for request in requests:
        reply = answers.reply(request)
        assert reply is not None
        full = (30 * (reply.prompt_tokens or 0) + 60 * (reply.completion_tokens or 0)) / 1e6
        assert reply.cost_usd == pytest.approx(full / 2)
    with sqlite3.connect(path) as rows:
        assert {row for (row,) in rows.execute("select row from replies")} == {
            request.id for request in requests
        }
    assert not batch_folder(path).exists()
    again = asker.ask(requests, title="t").tally
    assert (again.asked, again.cached) == (0, 25)
    assert door.lines.count("POST /v1/batches") == 3
    direct = asker_of(url, str(tmp_path / "direct.sqlite"), batch=False)
    texts = direct.ask(requests, title="t")
    for request in requests:
        one, other = texts.reply(request), answers.reply(request)
        assert one is not None
        assert other is not None
        assert (one.text, one.finish_reason, one.model) == (
            other.text, other.finish_reason, other.model,
        )  # fmt: skip


def test_a_file_is_split_by_its_bytes_too_and_none_takes_what_is_larger(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve()
    asker = asker_of(url, str(tmp_path / "l.sqlite"), batches=BatchRules(0.02, most_bytes=700))
    assert asker.ask(requests_of(5), title="t").tally.replied == 5
    assert door.lines.count("POST /v1/batches") == 3
    small = asker_of(url, str(tmp_path / "m.sqlite"), batches=BatchRules(0.02, most_bytes=100))
    with pytest.raises(InputError, match=r"row row0 has 2[0-9]{2} bytes, more than a file"):
        small.ask(requests_of(5), title="t")


KILLS = {
    "before the upload arrives": ("before", "POST /v1/files"),
    "after the upload": ("after", "POST /v1/files"),
    "before the batch is made": ("before", "POST /v1/batches"),
    "after the batch is made": ("after", "POST /v1/batches"),
    "at a look": ("before", "GET /v1/batches/"),
    "while its replies are fetched": ("after", "/content"),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_process_killed_at_any_moment_pays_nothing_twice(
    moment: str, serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve()
    path = tmp_path / "l.sqlite"
    side, part = KILLS[moment]
    process: list[subprocess.Popen[bytes]] = []

    def kill(line: str) -> bool:
        if part not in line or not process:
            return True
        os.kill(process[0].pid, signal.SIGKILL)
        process[0].wait()
        return False

    setattr(door, side, kill)
    command = [sys.executable, str(Path(batch_client.__file__)), url, str(path), "20"]
    process.append(subprocess.Popen(command))
    assert process[0].wait(timeout=60) == -signal.SIGKILL
    process.clear()
    answers = asker_of(url, str(path)).ask(requests_of(20), title="t", total=20)
    bill = bill_of(url)
    assert all(answers.reply(request) for request in requests_of(20))
    assert (bill["replied"], bill["asked_twice"]) == (20, 0)
    assert spent(path) == pytest.approx(bill["billed_usd"])
    assert answers.tally.replied == 20
    assert answers.tally.cached == 0


def test_what_a_batch_is_paid_for_is_not_asked_one_by_one(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve()
    path = tmp_path / "l.sqlite"
    process: list[subprocess.Popen[bytes]] = []

    def kill(line: str) -> bool:
        if "GET /v1/batches/" not in line or not process:
            return True
        os.kill(process[0].pid, signal.SIGKILL)
        process[0].wait()
        return False

    door.before = kill
    command = [sys.executable, str(Path(batch_client.__file__)), url, str(path), "20"]
    process.append(subprocess.Popen(command))
    assert process[0].wait(timeout=60) == -signal.SIGKILL
    process.clear()
    one_by_one = asker_of(url, str(path), batch=False)
    assert one_by_one.plan(requests_of(20)).in_batches == 20
    with pytest.raises(InputError, match="type batch=true"):
        one_by_one.ask(requests_of(20), title="t", total=20)
    asker_of(url, str(path)).ask(requests_of(20), title="t", total=20)
    bill = bill_of(url)
    assert (bill["replied"], bill["asked_twice"]) == (20, 0)
    assert one_by_one.ask(requests_of(20), title="t").tally.cached == 20


def test_a_process_killed_while_it_writes_replies_goes_on_with_the_rest(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, _ = serve()
    path, count = tmp_path / "l.sqlite", 1500
    command = [sys.executable, str(Path(batch_client.__file__)), url, str(path), str(count)]
    with subprocess.Popen(command) as process:
        while not _num_replies(path):
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    kept = _num_replies(path)
    assert 0 < kept < count
    answers = asker_of(url, str(path)).ask(requests_of(count), title="t")
    assert _num_replies(path) == count
    assert (
        0 < answers.tally.replied <= count - kept
    )  # the last commit may show only when it is read
    bill = bill_of(url)
    assert (bill["replied"], bill["asked_twice"]) == (count, 0)
    assert spent(path) == pytest.approx(bill["billed_usd"])


def _num_replies(path: Path) -> int:
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as rows:
        try:
            found: tuple[int] = rows.execute("select count(*) from replies").fetchone()
        except sqlite3.OperationalError:  # it is just being made
            return 0
    return found[0]


def test_a_lost_answer_to_the_making_of_a_batch_makes_no_second_one(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve()
    lost = iter([False])
    door.after = lambda line: line != "POST /v1/batches" or next(lost, True)
    asker_of(url, str(tmp_path / "l.sqlite")).ask(requests_of(5), title="t")
    assert door.lines.count("POST /v1/batches") == 1
    assert bill_of(url)["replied"] == 5


def test_failures_are_failures_and_are_asked_again(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, _ = serve(BatchTimes(0.0, 0.05, failed_rate=0.3))
    asker = asker_of(url, str(tmp_path / "l.sqlite"), max_failed=0.1)
    requests = requests_of(120)
    with pytest.raises(RunError, match=r"of 120 requests failed \([0-9]+ server\), more than"):
        asker.ask(requests, title="t")
    rounds = [asker_of(url, asker.ledger, max_failed=1.0) for _ in range(12)]
    tallies = [each.ask(requests, title="t").tally for each in rounds]
    assert tallies[0].failed["server"] < 60
    assert not tallies[-1].failed
    assert bill_of(url)["asked_twice"] == 0
    assert spent(Path(asker.ledger)) == pytest.approx(bill_of(url)["billed_usd"])


def test_what_a_cancelled_batch_answered_is_kept_and_the_rest_asked_by_the_same_line(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve(BatchTimes(0.0, 1.0))
    client = openai.OpenAI(base_url=url, api_key="none")
    cancelled: list[str] = []

    def cancel(line: str) -> bool:
        if line.startswith("GET /v1/batches/") and len(door.lines) > 12 and not cancelled:
            cancelled.append(line.rpartition("/")[2])
        return True

    door.before = cancel
    path = tmp_path / "l.sqlite"
    command = [sys.executable, str(Path(batch_client.__file__)), url, str(path), "40"]
    with client, subprocess.Popen(command) as process:
        while not cancelled:
            time.sleep(0.01)
        client.batches.cancel(cancelled[0])
        assert process.wait(timeout=60) == 0
    kept = _num_replies(path)
    assert 0 < kept < 40
    door.before = lambda _: True
    tally = asker_of(url, str(path)).ask(requests_of(40), title="t").tally
    assert (tally.cached, tally.replied) == (kept, 40 - kept)
    with sqlite3.connect(path) as rows:
        kinds = rows.execute("select distinct kind from failures").fetchall()
    assert kinds == [("cancelled",)]
    assert bill_of(url)["asked_twice"] == 0


def test_a_budget_that_the_batch_might_pass_is_refused_before_anything_is_sent(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve()
    path = tmp_path / "l.sqlite"
    asker = asker_of(url, str(path), budget_usd=0.01)
    with pytest.raises(RunError, match=r"a batch of 500 requests may cost up to \$[0-9.]+, and of"):
        asker.ask(requests_of(500), title="t")
    assert [line for line in door.lines if "POST" in line] == []
    assert not path.exists()
    assert not batch_folder(path).exists()
    assert asker.ask(requests_of(3), title="t").tally.replied == 3


def test_what_cannot_be_asked_is_one_line_and_writes_nothing(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "sk-right-key-right-key")
    url, _ = serve(key_env="LAB_KEY")
    ledger = tmp_path / "led/l.sqlite"
    with pytest.raises(CannotAskError, match="wants a key"):
        asker_of(url, str(ledger)).check(requests_of(1)[0])
    url, _ = serve()
    asker = asker_of(url, str(ledger))
    unknown = replace(asker, model=replace(asker.model, model="lab-stong"))
    with pytest.raises(CannotAskError, match="it offers lab-strong"):
        unknown.check(requests_of(1)[0])
    assert not ledger.parent.exists()


def test_a_batch_that_the_provider_refuses_is_one_line(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, _ = serve()
    asker = asker_of(url, str(tmp_path / "l.sqlite"))
    unknown = replace(asker, model=replace(asker.model, model="lab-stong"))
    answers = None
    with pytest.raises(RunError):
        answers = unknown.ask(requests_of(120), title="t")
    assert answers is None
    with Ledger.open(asker.ledger) as ledger:
        assert {each.state for each in ledger.batches()} == {FETCHED}
        assert ledger.counts().replies == 0


def test_ctrl_c_says_that_the_batch_goes_on_and_the_same_line_fetches_it(
    serve: Callable[..., tuple[str, Door]], tmp_path: Path
) -> None:
    url, door = serve(BatchTimes(0.0, 0.5))
    path = tmp_path / "l.sqlite"
    command = [sys.executable, str(Path(batch_client.__file__)), url, str(path), "20"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not any(line.startswith("GET /v1/batches/") for line in door.lines):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "SIGINT: 1 batches go on at the provider and are paid for there; the same line" in said
    planned = asker_of(url, str(path)).plan(requests_of(25))
    assert (planned.calls, planned.in_batches) == (5, 20)
    assert "20 in batches that were made earlier" in planned.in_words
    tally = asker_of(url, str(path)).ask(requests_of(20), title="t").tally
    assert tally.replied == 20
    assert door.lines.count("POST /v1/batches") == 1
