"""A Hub on loopback for the tests of stages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from hub_server import TOKEN, Hub, running_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on loopback that ``huggingface_hub`` talks to, with a token in the environment."""
    with running_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running
