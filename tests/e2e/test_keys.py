"""Keys come from the environment and stay there: no file and no line of a run ever holds one.

What is searched is every byte below the working folder, SQLite's and W&B's own files included, and
all that a process says, when it says as much as it can, and when a server echoes the key.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.server import Body, Server, message
from e2e.support import Command, manifests, own_environment
from understudy.lab.server.app import lab_app
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.world import World

ROOT = Path(__file__).parents[2]
KEYS = {
    "OPENAI_API_KEY": "sk-proj-Recognisable0penAiKeyForThisTest42",
    "WANDB_API_KEY": "0123456789recognisablewandbkey0123456789",
    "HF_TOKEN": "hf_RecognisableHubTokenForThisTest",
}
KEY = KEYS["OPENAI_API_KEY"]
LINE = (
    "stage=collect", "teacher=lab_strong", "teacher.key_env=OPENAI_API_KEY", "data=lab_strong",
    "data.source.num_rows=12", "teacher.max_attempts=1", "max_failed=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)


@pytest.fixture
def echoing() -> Iterator[Server]:
    """A server whose every word holds the key that it was given."""
    server = Server()
    yield server
    server.close()


def holding_a_key(folder: Path, *said: str) -> list[str]:
    """The files below a folder, and "said", that hold a key in any usual form."""
    forms = [form for key in KEYS.values() for form in _forms(key)]
    texts = {"said": "\n".join(said).encode()}
    texts |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(texts) > 1
    return [name for name, text in texts.items() if any(form in text for form in forms)]


def _forms(key: str) -> list[bytes]:
    plain = key.encode()
    return [plain, plain[::-1], base64.b64encode(plain)[:-4], plain.hex().encode()]


def test_a_run_that_says_all_it_can_says_no_key(tmp_path: Path) -> None:
    """The server wants the key, so it was sent; the client's own log is on."""
    config = ServerConfig(World(), key_env="OPENAI_API_KEY")
    with running(lab_app(config)) as url:
        done = subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *LINE, f"teacher.base_url={url}",
             "hydra.verbose=true"],
            cwd=tmp_path, env=own_environment(OPENAI_LOG="debug"), capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (manifest,) = manifests(tmp_path)
    assert manifest["metrics"]["collect/rows"] == 12
    assert "HTTP Request" in done.stderr + done.stdout  # the client's log was on
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert {".json", ".jsonl", ".yaml", ".sqlite", ".wandb", ".log"} <= kinds
    assert holding_a_key(tmp_path, done.stdout, done.stderr) == []
    planted = tmp_path / "planted.sqlite-wal"
    planted.write_bytes(b"\x00" + KEYS["HF_TOKEN"].encode() + b"\xff")
    assert holding_a_key(tmp_path, KEY) == ["said", str(planted)]


def test_an_echoed_key_is_in_no_answer_and_no_failure(
    understudy: Command, echoing: Server, tmp_path: Path
) -> None:
    def reply(number: int, _: Body) -> tuple[int, dict[str, object]]:
        if number % 2:
            return message(f"You are {KEY}, and this is an answer.")
        return 400, {"error": {"message": f"no answer for {KEY}", "code": KEY}}

    echoing.reply = reply
    done = understudy(*LINE, f"teacher.base_url={echoing.url}")
    assert done.code == 0, done.err
    assert echoing.keys == [f"Bearer {KEY}"] * 12
    (counts,) = [each["metrics"] for each in manifests(tmp_path)]
    assert (counts["collect/rows"], counts["collect/failed"]) == (6, 6)
    (answers,) = tmp_path.rglob("answers.jsonl")
    texts = [json.loads(line)["output"] for line in answers.read_text().splitlines()]
    assert set(texts) == {"You are ***, and this is an answer."}
    assert holding_a_key(tmp_path, done.out, done.err) == []


def test_a_key_that_is_refused_ends_in_one_line_without_it(
    understudy: Command, echoing: Server, tmp_path: Path
) -> None:
    error = {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}
    echoing.reply = lambda *_: (401, {"error": error})
    done = understudy(*LINE, f"teacher.base_url={echoing.url}")
    assert done.code == 1
    assert KEY not in done.out + done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "OPENAI_API_KEY" in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(echoing.keys) == 1
    assert os.environ["OPENAI_API_KEY"] == KEY
