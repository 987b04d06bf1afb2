"""The command line as a user has it: in this process, a fresh folder, real W&B offline."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from e2e.support import Command, Done
from understudy import app


@pytest.fixture
def understudy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """``understudy("stage=report", ...)`` in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str) -> Done:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        capfd.readouterr()
        code = 0
        try:
            app.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
            os.environ["HYDRA_FULL_ERROR"] = "0"
            _close_log_files()
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    yield call
    GlobalHydra.instance().clear()


def _close_log_files() -> None:
    """Hydra opens a log file for each job and leaves the last one to the end of the process."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and handler.baseFilename.endswith(".log"):
            root.removeHandler(handler)
            handler.close()
