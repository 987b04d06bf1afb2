"""How fast replies are collected and kept, beside loops that keep nothing, and how limits are held.

Usage: python bench/collect.py [--requests 2000] [--rounds 5] [--no-limits] [--out FILE]

All ask the lab's server, in a process of its own, for answers to the same distinct prompts: ours
with its ledger, whose every reply is on disk before it counts; the official client in a bare loop
of as many workers, on both of its transports; the same with a SQLite commit for each reply; and
one request after the other, as Alpaca's script asks. Seconds of one after the other are those of
fewer requests, scaled. First the server answers at once, so that only the work for a request
counts; then each answer takes a while, as a real one does. Last, two models are asked within limits
that bind, for longer than a minute: the server counts what came in every minute.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lab_server import LabServer, lab_server
from measure import Rounds, Spread, common_arguments, setting, write
from understudy.chat.asking.asker import Asker
from understudy.chat.asking.prices import PriceList
from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World
from understudy.prompts import ALPACA

PRICES = PriceList("2023-03-01", "an example", {"lab-strong": {"input": 30.0, "output": 60.0}})
OURS, BARE, BARE_AIOHTTP = "ours, with its ledger", "bare loop, httpx2", "bare loop, aiohttp"
COMMITS, ONE_BY_ONE = "bare loop, aiohttp, a commit a reply", "one after the other"
ALL, SOME = (OURS, BARE, BARE_AIOHTTP, COMMITS, ONE_BY_ONE), (OURS, BARE_AIOHTTP, ONE_BY_ONE)
VERSIONS = ("openai", "httpx2", "aiohttp", "starlette", "uvicorn")
_SLOWER = 16  # one after the other asks so many times fewer
_LATENCY_SECONDS = 0.2
_MODEL = "lab-strong"
_PARAMS = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 512}
_LIMIT_SECONDS = 80.0


class Work:
    """Distinct prompts, and the loops that have them answered."""

    def __init__(self, url: str, num_requests: int, concurrency: int, folder: Path) -> None:
        """``folder`` is where ledgers go, one for each round."""
        rows = LabTeacher(World(), num_rows=num_requests).read().rows
        self.prompts = [ALPACA.render(row.prompt.instruction, row.prompt.input) for row in rows]
        self.expected = [row.output for row in rows]
        self.url, self.concurrency, self.folder = url, concurrency, folder
        self.cpu: dict[str, list[float]] = {}
        self._numbers = itertools.count()

    def variants(self) -> dict[str, Callable[[], float]]:
        """Each loop by its name."""
        loops = {
            OURS: self.ours,
            BARE: functools.partial(self.bare, is_aiohttp=False),
            BARE_AIOHTTP: functools.partial(self.bare, is_aiohttp=True),
            COMMITS: functools.partial(self.bare, is_aiohttp=True, commits=True),
            ONE_BY_ONE: self.one_by_one,
        }
        return {name: functools.partial(self._timed, name, loop) for name, loop in loops.items()}

    def _timed(self, name: str, loop: Callable[[], list[str]]) -> float:
        """Wall seconds of a loop; its CPU seconds are kept beside."""
        started, cpu = time.perf_counter(), time.process_time()
        texts = loop()
        share = len(self.prompts) / len(texts)
        seconds = (time.perf_counter() - started) * share
        self.cpu.setdefault(name, []).append((time.process_time() - cpu) * share)
        if texts != self.expected[: len(texts)]:
            raise RuntimeError("the answers are not the teacher's")
        return seconds

    def ours(self) -> list[str]:
        """As stages ask: ``Asker.ask`` with a ledger that is not there yet."""
        model = chat_model(self.url, self.concurrency)
        ledger = self.folder / f"ledger_{next(self._numbers)}.sqlite"
        asker = Asker(model, str(ledger), PRICES)
        requests = [ChatRequest.of_user(prompt) for prompt in self.prompts]
        answers = asker.ask(requests, title="bench", total=len(requests))
        started = time.perf_counter()
        texts = [reply.text for each in requests if (reply := answers.reply(each))]
        self.reading_seconds = time.perf_counter() - started
        answers.close()
        return texts

    def bare(self, *, is_aiohttp: bool, commits: bool = False) -> list[str]:
        """The official client, as many at once, and nothing else."""
        return asyncio.run(self._bare(is_aiohttp=is_aiohttp, commits=commits))

    async def _bare(self, *, is_aiohttp: bool, commits: bool) -> list[str]:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        texts = [""] * len(self.prompts)
        left = iter(range(len(texts)))
        own = {"http_client": DefaultAioHttpClient()} if is_aiohttp else {}
        keep = self._committing() if commits else None
        async with AsyncOpenAI(base_url=self.url, api_key="-", max_retries=0, **own) as client:

            async def work() -> None:
                for number in left:
                    reply = await client.chat.completions.create(**asked(self.prompts[number]))
                    texts[number] = reply.choices[0].message.content or ""
                    if keep is not None:
                        keep(reply.model_dump_json())

            await asyncio.gather(*(work() for _ in range(self.concurrency)))
        return texts

    def _committing(self) -> Callable[[str], object]:
        """Adds a row and has it on disk, in the loop's own thread."""
        path = self.folder / f"commits_{next(self._numbers)}.sqlite"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        connection.execute("create table replies (id integer primary key, reply text)")
        return lambda text: connection.execute("insert into replies (reply) values (?)", (text,))

    def one_by_one(self) -> list[str]:
        """The synchronous client in a plain loop."""
        from openai import OpenAI

        some = self.prompts[: max(1, len(self.prompts) // _SLOWER)]
        with OpenAI(base_url=self.url, api_key="-", max_retries=0) as client:
            replies = [client.chat.completions.create(**asked(prompt)) for prompt in some]
        return [reply.choices[0].message.content or "" for reply in replies]


def chat_model(url: str, concurrency: int) -> ChatModel:
    """The model as ours is asked."""
    return ChatModel(
        "strong", _MODEL, url, key_env=None, identity="lab", params=_PARAMS,
        max_concurrent=concurrency,
    )  # fmt: skip


def asked(prompt: str) -> dict[str, Any]:
    """A request as the official client takes it."""
    return {"model": _MODEL, "messages": [{"role": "user", "content": prompt}], **_PARAMS}


def limits(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Both limits at once, each with a server of its own that counts by the minute."""
    kinds = {"requests": 3000, "tokens": 400_000}
    rows: list[dict[str, Any]] = []
    threads = [
        threading.Thread(
            target=lambda each: rows.append(held(folder, *each, seconds)), args=(kind,)
        )
        for kind in kinds.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(rows, key=lambda row: str(row["limit of"]))


def held(folder: Path, kind: str, limit: int, seconds: float) -> dict[str, Any]:
    """What came of asking for so long within a limit, by the count of the server."""
    with lab_server(folder / kind, f"server.{kind}_per_minute={limit}") as server:
        model = replace(chat_model(server.url, 64), **{f"{kind}_per_minute": limit})
        asker = Asker(model, str(folder / f"{kind}.sqlite"), PRICES)
        started = time.perf_counter()
        answers = asker.ask(_for_seconds(seconds), title=kind)
        took = time.perf_counter() - started
        found = server.bill()["limits"]
    tally = answers.tally
    used = tally.replied if kind == "requests" else tally.tokens
    return {
        "limit of": kind,
        "a minute": limit,
        "most in a minute": found[kind]["most_in_a_minute"],
        "share reached": used / took * 60 / limit,
        "refused": found["refused"],
        "seconds": took,
        "replies": tally.replied,
    }


def _for_seconds(seconds: float) -> Iterator[ChatRequest]:
    """Distinct requests until the time is over."""
    end = time.monotonic() + seconds
    rows = LabTeacher(World(), num_rows=8000).read().rows
    for number in itertools.count():
        if time.monotonic() > end:
            return
        row = rows[number % len(rows)].prompt
        prompt = ALPACA.render(row.instruction, row.input)
        yield ChatRequest.of_user(prompt, sample=number // len(rows))


def report(rounds: Rounds, work: Work) -> list[dict[str, Any]]:
    """Prints and returns a row for each loop."""
    print("\n| loop | requests/s | ours beside it | CPU seconds a 1,000 |\n|---|---:|---:|---:|")
    rows = []
    for name, seconds in rounds.seconds.items():
        rate = Spread.of([len(work.prompts) / each for each in seconds])
        cpu = Spread.of([each / len(work.prompts) * 1000 for each in work.cpu[name]])
        ratio = rounds.speedup(OURS, name)
        rows.append({"loop": name, "requests_per_second": rate, "ours": ratio, "cpu": cpu})
        shown = f"{rate.median:,.0f} [{rate.least:,.0f}, {rate.most:,.0f}]"
        print(f"| {name} | {shown} | {ratio} | {cpu} |")
    for name, why in rounds.absent.items():
        print(f"| {name} | failed: {why} | | |")
    return rows


def measured(
    options: argparse.Namespace, server: LabServer, folder: Path, names: Sequence[str]
) -> dict[str, object]:
    """The loops of these names, round by round."""
    folder.mkdir()
    work = Work(server.url, options.requests, options.concurrency, folder)
    loops = {name: loop for name, loop in work.variants().items() if name in names}
    for loop in loops.values():  # imports and the server's first requests
        loop()
    work.cpu.clear()
    rounds = Rounds(loops, options.rounds)
    rows = report(rounds, work)
    print(f"reading all replies back from the ledger: {work.reading_seconds:.2f} s of ours")
    return {
        "loops": rows,
        "seconds": rounds.seconds,
        "cpu_seconds": work.cpu,
        "failed": rounds.absent,
        "reading_seconds": work.reading_seconds,
    }


def main() -> None:
    """Prints the table of loops, and that of limits."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    common_arguments(parser, rounds=5, threads=1)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--no-limits", action="store_true")
    parser.add_argument("--limit-seconds", type=float, default=_LIMIT_SECONDS)
    options = parser.parse_args()
    content: dict[str, object] = {
        **setting(options),
        "requests": options.requests,
        "concurrency": options.concurrency,
        "latency_seconds": _LATENCY_SECONDS,
        "packages": {name: version(name) for name in VERSIONS},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with lab_server(folder / "server") as server:
            content["at once"] = measured(options, server, folder / "at_once", ALL)
        latency = f"server.latency_seconds={_LATENCY_SECONDS}"
        print(f"\nEach answer takes {_LATENCY_SECONDS} s:")
        with lab_server(folder / "slow_server", latency) as server:
            content["after a while"] = measured(options, server, folder / "slow", SOME)
        if not options.no_limits:
            content["limits"] = rows = limits(folder / "limits", options.limit_seconds)
            print("\n| limit of | a minute | most in a minute | share reached | refused |")
            print("|---|---:|---:|---:|---:|")
            for row in rows:
                counts = f"{row['a minute']:,} | {row['most in a minute']:,}"
                share = f"{row['share reached']:.3f} | {row['refused']}"
                print(f"| {row['limit of']} | {counts} | {share} |")
    write(options.out, content)
    if "limits" in content and any(row["refused"] for row in rows):
        sys.exit("the server refused requests for their number")


if __name__ == "__main__":
    main()
