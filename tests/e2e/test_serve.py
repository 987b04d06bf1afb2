"""``stage=serve`` as a user has it: it says where it is, answers, ends well, and goes on."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.support import Command, manifests, own_environment

RUN = Path(__file__).parents[2] / "run.py"
FIRST = {"role": "user", "content": "give the first item\n\nc a b"}


def _when_ready(folder: Path, former_pid: int | None = None) -> dict[str, Any]:
    """What ``endpoint.json`` says as soon as it is there, of another process than the former."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in folder.rglob("endpoint.json"):
            endpoint: dict[str, Any] = json.loads(path.read_text())
            if endpoint["pid"] != former_pid:
                return endpoint
        time.sleep(0.05)
    raise AssertionError("no server came up")


def _chat(url: str, seed: int, **headers: str) -> int:
    """The status of a chat completion."""
    body = json.dumps({"model": "lab-strong", "messages": [FIRST], "seed": seed})
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def _beside(ask: Callable[[], None], number: signal.Signals) -> threading.Thread:
    """Asks this process's own server from a thread, and then stops it, come what may."""

    def work() -> None:
        try:
            ask()
        finally:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_it_serves_until_ctrl_c_and_ends_as_a_finished_run(
    understudy: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "sk-secret-of-the-lab")
    statuses: list[int] = []

    def ask() -> None:
        url = _when_ready(tmp_path)["base_url"]
        key = {"authorization": "Bearer sk-secret-of-the-lab"}
        statuses.extend(_chat(url, seed, **key) for seed in range(5))
        statuses.append(_chat(url, 0))
        statuses.append(_chat(url, 0, **key, **{"x-lab-fault": "503"}))

    thread = _beside(ask, signal.SIGINT)
    done = understudy(
        "stage=serve", "server.port=0", "server.key_env=LAB_KEY", "server.host=0.0.0.0"
    )
    thread.join()
    assert done.code == 0, done.err
    assert statuses == [200] * 5 + [401, 503]
    (manifest,) = manifests(tmp_path)
    assert (manifest["status"], manifest["error"]) == ("finished", None)
    metrics = manifest["metrics"]
    assert (metrics["serve/requests"], metrics["serve/replied"]) == (7, 5)
    assert metrics["serve/fault/503"] == 1
    (bills,) = tmp_path.rglob("bills.jsonl")
    rows = [json.loads(line) for line in bills.read_text().splitlines()]
    assert sum(row["picodollars"] for row in rows) / 1e12 == metrics["serve/billed_usd"] > 0
    assert [output["path"] for output in manifest["outputs"]] == ["bill.json", "bills.jsonl"]
    assert "Serving at http://127.0.0.1:" in done.out
    assert "curl http://127.0.0.1:" in done.out
    assert "the server listens on 0.0.0.0: whoever reaches this machine can use it;" in done.out
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"sk-secret" in path.read_bytes() for path in left)
    assert "sk-secret" not in done.out + done.err


def test_a_killed_server_goes_on_at_its_port_with_its_bills(
    understudy: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    process = subprocess.Popen(
        [sys.executable, str(RUN), "stage=serve", "server.port=0", f"hydra.run.dir={folder}"],
        cwd=tmp_path,
        env=own_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    former = _when_ready(folder)
    assert former["pid"] == process.pid
    assert [_chat(former["base_url"], seed) for seed in range(3)] == [200] * 3
    process.kill()
    process.wait()

    def ask() -> None:
        endpoint = _when_ready(folder, former["pid"])
        assert endpoint == {"base_url": former["base_url"], "pid": os.getpid()}
        _chat(endpoint["base_url"], 2)
        _chat(endpoint["base_url"], 3)

    thread = _beside(ask, signal.SIGTERM)
    done = understudy(f"resume={folder}")
    thread.join()
    assert done.code == 0, done.err
    bill = json.loads((folder / "bill.json").read_text())
    assert (bill["requests"], bill["billed"], bill["contents"]) == (5, 5, 4)
    assert [each["numbers"] for each in bill["asked_twice_contents"]] == [[2, 3]]


def test_a_plan_serves_nothing(understudy: Command, tmp_path: Path) -> None:
    done = understudy("stage=serve", "plan=true", "server.faults.rate_429=0.01")
    assert done.code == 0, done.err
    assert "429 0.01" in done.out
    assert "lab-strong" in done.out
    assert not any(tmp_path.rglob("endpoint.json"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("server.faults.rate_500=2", "server.faults.rate_500=2 is no share from 0 to 1"),
        ("server.key_env=NO_SUCH_KEY", "export NO_SUCH_KEY=KEY"),
        ("server.host=192.0.2.1", "nothing can be served at 192.0.2.1:8321"),
    ],
)
def test_what_cannot_be_served_ends_in_one_line_and_leaves_nothing(
    override: str, said: str, understudy: Command, tmp_path: Path
) -> None:
    done = understudy("stage=serve", override)
    assert done.code == 1
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    assert said in line
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
