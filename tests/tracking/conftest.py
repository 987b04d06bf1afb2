"""A run that tests open: offline W&B for real, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
import wandb

from tracking.lineage_server import LineageServer
from understudy.tracking.run import RunSpec
from understudy.tracking.wandb_run import Tracking


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tracking:
    """W&B offline, its staging folder inside the test's."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    return Tracking()


@pytest.fixture
def spec() -> Callable[..., RunSpec]:
    """``spec(folder, seed=1, ...)``: a run before it starts."""

    def spec(folder: Path, **changes: object) -> RunSpec:
        values: dict[str, object] = {
            "stage": "sft",
            "name": "demo",
            "arm": "data=lab_weak",
            "seed": 3,
            "folder": folder,
            "config": {"optimizer": {"lr": 0.5}, "data": {"source": {"name": "weak"}}},
            "overrides": ["data=lab_weak", "seed=3"],
            "teacher": "weak",
        }
        return RunSpec(**{**values, **changes})  # type: ignore[arg-type]  # values are of the fields' types

    return spec


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineageServer]:
    """A server to which this process is logged in; nothing of the login is left."""
    server = LineageServer()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    wandb.teardown()
    yield server
    wandb.teardown()
    server.shutdown()
    server.server_close()
    thread.join()
