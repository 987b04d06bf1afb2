"""docs/serve.md tells the truth: its example runs, and it names every model, fault and setting."""

from __future__ import annotations

import doctest
from dataclasses import fields
from pathlib import Path

from understudy.lab.server.answers import Lab, models_of
from understudy.lab.server.faults import NAMES
from understudy.lab.server.settings import ServerConfig
from understudy.lab.world import World

PAGE = Path(__file__).parents[3] / "docs" / "serve.md"


def test_the_pages_example_runs() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted >= 8
    assert result.failed == 0


def test_models_faults_and_settings_are_all_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in (*models_of(Lab(World())), *NAMES) if f"`{name}`" not in text] == []
    settings = {each.name for each in fields(ServerConfig)} - {"world", "prices"}
    assert [name for name in settings if name not in text] == []
