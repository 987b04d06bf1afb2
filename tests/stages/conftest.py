"""A Hub on loopback for the tests of stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from hub_server import TOKEN, Hub, running_hub
from understudy.tracking.run import Run, RunSpec, open_run
from understudy.tracking.wandb_run import Tracking


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on loopback that ``huggingface_hub`` talks to, with a token in the environment."""
    with running_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Run]]:
    """Opens runs of ``stage=push``, and closes them when the test ends."""
    open_ones: list[Any] = []

    def new() -> Run:
        number = len(open_ones)
        spec = RunSpec("push", "mine", "", 0, tmp_path / f"run{number}", {"number": number})
        entered = open_run(
            spec, Tracking("understudy", None, "disabled", log_text=True, checkpoints="off")
        )
        open_ones.append(entered)
        return entered.__enter__()

    yield new
    for entered in reversed(open_ones):
        entered.__exit__(None, None, None)
