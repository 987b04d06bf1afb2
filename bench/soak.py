"""Collects tens of thousands of answers from a server that fails, killed three times on the way.

Usage: python bench/soak.py [--requests 52002] [--kills 3] [--seed 1] [--folder DIR] [--out FILE]

``stage=serve`` refuses 1 % of requests with 429 (half of them without a word on when to come back),
fails .5 % with 500 and drops .5 % of connections. ``stage=collect`` is started against it, killed
by SIGKILL at random moments and started again by the same line. Then every row, reply and micro-
dollar is compared with the server's own list of bills. Memory is sampled all the time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab_server import RUN, LabServer, environment, lab_server
from measure import setting, write

MAX_CONCURRENT = 32
FAULTS = {
    "rate_429": 0.005,
    "rate_429_bare": 0.005,
    "rate_500": 0.005,
    "rate_dropped": 0.005,
    "retry_after_seconds": 0.05,
}
"""A refusal asks to come back soon: the soak is about what is lost, not about waiting."""
_SAMPLE_SECONDS = 0.5
_WARM_SECONDS = 3.0  # of asking, left out of the slope of a process
PICODOLLARS = 10**12


@dataclass
class Memory:
    """The resident memory of a process, in MiB.

    Attributes:
        asking: Seconds since its start and memory, while replies come.
        most: Ever.
        seconds: Of its life.
    """

    asking: list[tuple[float, float]] = field(default_factory=list)
    most: float = 0.0
    seconds: float = 0.0
    _replied: int | None = None

    def sample(self, pid: int, since: float, replied: int) -> None:
        """Takes one, while the process is there; ``replied`` tells whether replies come."""
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            return
        size = pages * os.sysconf("SC_PAGESIZE") / 2**20
        self.seconds, self.most = time.monotonic() - since, max(self.most, size)
        if self._replied is not None and replied > self._replied:
            self.asking.append((self.seconds, size))
        self._replied = replied

    def facts(self) -> dict[str, float | None]:
        """The most, what it grew by while it asked, and the slope of that; null where too short."""
        began = self.asking[0][0] if self.asking else 0.0
        late = [each for each in self.asking if each[0] >= began + _WARM_SECONDS]
        facts: dict[str, float | None] = {"seconds": self.seconds, "most_mib": self.most}
        if len(late) < 10:
            return {**facts, "asking_seconds": None, "grown_mib": None, "mib_a_minute": None}
        times, sizes = [at for at, _ in late], [size for _, size in late]
        return {
            **facts,
            "asking_seconds": times[-1] - times[0],
            "grown_mib": sizes[-1] - sizes[0],
            "mib_a_minute": statistics.linear_regression(times, sizes).slope * 60,
        }


@dataclass
class Part:
    """One process of the soak, from its start to its end.

    Attributes:
        ended: "killed", or its exit code.
        kept: Replies in the ledger after it.
        answered: Replies that the server had sent by then.
        memory: Of the process.
    """

    ended: str
    kept: int
    answered: int
    memory: Memory


class Soak:
    """The instructions, the line and its ledger."""

    def __init__(self, folder: Path, num_requests: int, server: LabServer) -> None:
        """Writes the instructions."""
        self.folder, self.num_requests, self.server = folder, num_requests, server
        self.ledger = folder / "ledger.sqlite"
        self.instructions = [f"Name {n} things that are not {n + 1}." for n in range(num_requests)]
        rows = [{"instruction": each, "input": ""} for each in self.instructions]
        path = folder / "instructions.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        self.line = [
            sys.executable, RUN, "stage=collect", "teacher=lab_strong",
            f"teacher.server={server.folder}", f"teacher.max_concurrent={MAX_CONCURRENT}",
            "data=instructions", f"data.path={path}", f"ledger={self.ledger}",
            f"output_dir={folder / 'outputs'}", "tracking.mode=offline",
        ]  # fmt: skip
        self.log = folder / "collect.log"
        self.server_memory = Memory()

    def run(self, kill_at: Sequence[int], rng: random.Random) -> list[Part]:
        """Runs the line until it ends well; kills it when the server has answered so many."""
        since = time.monotonic()
        is_over = threading.Event()
        watcher = threading.Thread(target=self._watch_server, args=(since, is_over))
        watcher.start()
        try:
            parts = [self._part(at, rng) for at in kill_at]
            return [*parts, self._part(None, rng)]
        finally:
            is_over.set()
            watcher.join()

    def _watch_server(self, since: float, is_over: threading.Event) -> None:
        while not is_over.wait(_SAMPLE_SECONDS):
            self.server_memory.sample(self.server.pid, since, self.server.bill()["replied"])

    def _part(self, kill_at: int | None, rng: random.Random) -> Part:
        memory, started = Memory(), time.monotonic()
        with self.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                self.line, stdout=log, stderr=subprocess.STDOUT, env=environment(),
                start_new_session=True,
            )  # fmt: skip
        while process.poll() is None:
            time.sleep(0.2)
            replied = self.server.bill()["replied"]
            memory.sample(process.pid, started, replied)
            if kill_at is not None and replied >= kill_at:
                time.sleep(rng.uniform(0, 0.3))
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
        ended = "killed" if process.returncode == -signal.SIGKILL else str(process.returncode)
        part = Part(ended, len(self.kept()), self.server.bill()["replied"], memory)
        print(f"{ended} with {part.kept:,} replies kept", file=sys.stderr, flush=True)
        if ended not in ("killed", "0"):
            raise RuntimeError(self.log.read_text(encoding="utf-8")[-1500:])
        return part

    def kept(self) -> dict[int, tuple[str, float]]:
        """The replies in the ledger: the server's number of each to its prompt and cost."""
        if not self.ledger.exists():
            return {}
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as connection:
            rows = connection.execute("select request_id, key, cost_usd from replies").fetchall()
        return {int(id.rpartition("-")[2]): (key, cost) for id, key, cost in rows}

    def rows(self) -> list[dict[str, Any]]:
        """What the finished run left."""
        finished = [
            path.parent
            for path in (self.folder / "outputs").rglob("manifest.json")
            if json.loads(path.read_text(encoding="utf-8"))["status"] == "finished"
        ]
        (run,) = finished
        with (run / "answers.jsonl").open(encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]


def checks(soak: Soak, parts: Sequence[Part]) -> dict[str, Any]:
    """What has to hold, with the numbers that say so."""
    rows, kept, bill = soak.rows(), soak.kept(), soak.server.bill()
    with (soak.server.folder / "bills.jsonl").open(encoding="utf-8") as stream:
        bills = {each["number"]: each for each in map(json.loads, stream)}
    answered = {number: each for number, each in bills.items() if each["outcome"] == "answered"}
    lost = [each for number, each in answered.items() if number not in kept]
    kept_again = [
        entry["content"]
        for entry in bill["asked_twice_contents"]
        if kept.keys() & set(entry["numbers"][:-1])
    ]
    own = sum(round(cost * PICODOLLARS) for _, cost in kept.values())
    billed = sum(answered[number]["picodollars"] for number in kept)
    bound = MAX_CONCURRENT * sum(part.ended == "killed" for part in parts)
    lost_usd = sum(each["picodollars"] for each in lost)
    return {
        "rows": len(rows),
        "rows in input order": [row["instruction"] for row in rows] == soak.instructions,
        "rows with text": sum(bool(row["output"].strip()) for row in rows),
        "replies in the ledger": len(kept),
        "requests that the server had": bill["requests"],
        "faults": bill["faults"],
        "replies that the server sent": len(answered),
        "of them lost in flight at a kill": len(lost),
        "bound of these": bound,
        "contents answered twice": bill["asked_twice"],
        "of them kept before": len(kept_again),
        "ledger, picodollars": own,
        "server, the same replies": billed,
        "server, in all": bill["billed_picodollars"],
        "lost in flight, picodollars": lost_usd,
    }


def failed(found: Mapping[str, Any], num_requests: int) -> list[str]:
    """What does not hold."""
    claims = {
        "every row there once": found["rows"] == found["rows with text"] == num_requests,
        "rows in input order": found["rows in input order"],
        "a reply kept of each": found["replies in the ledger"] == num_requests,
        "no kept reply asked again": found["of them kept before"] == 0,
        "lost in flight within the bound": (
            found["of them lost in flight at a kill"] <= found["bound of these"]
        ),
        "answered twice only what was lost": (
            found["contents answered twice"] <= found["of them lost in flight at a kill"]
        ),
        "the ledger's cost is the server's": (
            found["ledger, picodollars"] == found["server, the same replies"]
        ),
        "the rest was lost in flight": (
            found["server, in all"]
            == found["server, the same replies"] + found["lost in flight, picodollars"]
        ),
    }
    return [name for name, holds in claims.items() if not holds]


def main() -> None:
    """Soaks, prints what came of it, and fails where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=52_002)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="an empty one that stays; else a temporary one")
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    options = parser.parse_args()
    options.clock, options.threads = "wall", 1
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        content = soaked(folder, options.requests, options.kills, options.seed)
    write(options.out, {**setting(options), **content})
    if content["failed"]:
        sys.exit("does not hold: " + "; ".join(content["failed"]))


def soaked(folder: Path, num_requests: int, num_kills: int, seed: int) -> dict[str, Any]:
    """Everything from the server's start to the checks."""
    rng = random.Random(seed)
    kill_at = sorted(rng.randrange(num_requests // 20, num_requests) for _ in range(num_kills))
    rates = [f"server.faults.{name}={value}" for name, value in FAULTS.items()]
    started = time.monotonic()
    with lab_server(folder / "server", *rates, "tracking.mode=offline") as server:
        soak = Soak(folder, num_requests, server)
        parts = soak.run(kill_at, rng)
        seconds = time.monotonic() - started
        found = checks(soak, parts)
    memory = {
        "server": soak.server_memory.facts(),
        **{f"collecting {number}": part.memory.facts() for number, part in enumerate(parts, 1)},
    }
    wrong = failed(found, num_requests)
    _print(found, parts, memory)
    print(f"\n{seconds:,.0f} s in all; " + ("all holds" if not wrong else f"not: {wrong}"))
    return {
        "requests": num_requests,
        "max_concurrent": MAX_CONCURRENT,
        "faults": FAULTS,
        "seconds": seconds,
        "parts": [{**asdict(part), "memory": part.memory.facts()} for part in parts],
        "found": found,
        "memory": memory,
        "failed": wrong,
    }


def _print(
    found: Mapping[str, Any],
    parts: Sequence[Part],
    memory: Mapping[str, Mapping[str, float | None]],
) -> None:
    print("\n| part | ended | replies kept | replies sent by then |\n|---:|---|---:|---:|")
    for number, part in enumerate(parts, 1):
        print(f"| {number} | {part.ended} | {part.kept:,} | {part.answered:,} |")
    print("\n| | |\n|---|---:|")
    for name, value in found.items():
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        print(f"| {name} | {shown} |")
    print("\n| memory of | seconds | most, MiB | while asking, s | grown by, MiB | MiB a minute |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, facts in memory.items():
        numbers = " | ".join("-" if one is None else f"{one:,.1f}" for one in facts.values())
        print(f"| {name} | {numbers} |")


if __name__ == "__main__":
    main()
