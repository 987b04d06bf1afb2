"""The command itself: help and config errors answer at once, in one line; Hydra's flags work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "pytorch_lightning", "wandb", "datasets", "openai", "pandas")
PROBE = """
import runpy, sys
try:
    runpy.run_path({run!r}, run_name="__main__")
except SystemExit as stop:
    code = stop.code
loaded = [name for name in {heavy!r} if name in sys.modules]
print("LOADED", loaded)
"""


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    probe = folder / "probe.py"
    probe.write_text(PROBE.format(run=str(ROOT / "run.py"), heavy=HEAVY))
    return subprocess.run(
        [sys.executable, str(probe), *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "reward_eval, sample, score, selfinstruct, serve, sft, tour, translate"),
        (["--cfg", "job"], "understudy.stages.sft.run"),
        (["--info", "searchpath"], "Config search path"),
        (["-sc", "install=bash"], "complete"),
    ],
)
def test_hydras_flags_answer_without_loading_anything_heavy(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = _run(tmp_path, *arguments)
    assert said in done.stdout
    assert "Traceback" not in done.stderr
    assert "LOADED []" in done.stdout


def test_a_name_where_a_list_is_gets_one_line(tmp_path: Path) -> None:
    done = _run(tmp_path, "eval.decodings.greedy.max_new_tokens=8")
    assert done.stderr == (
        "error: 'greedy' stands where a list is, whose entries have numbers; type 0 for the first, "
        "as in eval.decodings.0.max_new_tokens=8\n"
    )


def test_a_config_error_is_one_line_and_loads_nothing_heavy(tmp_path: Path) -> None:
    done = _run(tmp_path, "trainer.max_stps=3")
    assert done.stderr == (
        "error: trainer.max_stps: there is no such key; did you mean trainer.max_steps?\n"
    )
    assert "LOADED []" in done.stdout
    assert not list(tmp_path.glob("outputs"))
