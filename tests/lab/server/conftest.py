"""A server for the tests of a file, and one for those that need another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from lab.server.asking import PRICES, Lab
from understudy.lab.server.app import lab_app
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.world import World

_CONFIG = ServerConfig(World(), prices=PRICES)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A server without faults."""
    with running(lab_app(_CONFIG)) as url, Lab(url) as lab:
        yield lab


@pytest.fixture
def serve() -> Iterator[Callable[..., Lab]]:
    """``serve(key_env="KEY")``: a server of its own for a test."""
    with ExitStack() as servers:

        def start(**settings: Any) -> Lab:  # noqa: ANN401 - the settings' own types
            app = lab_app(replace(_CONFIG, **settings))
            return servers.enter_context(Lab(servers.enter_context(running(app))))

        yield start
