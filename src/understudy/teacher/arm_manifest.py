"""``arm.json``: what an arm that was collected is, for whoever trains on it, rates or publishes it.

The run's manifest says what one run did; the same arm may have been collected by several runs of
one line. This says who answered what, how they were asked, and what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.data.collected import ARM
from understudy.durable import replacing, saying_what

VERSION = 1


def write_arm(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Writes ``arm.json`` into the run's folder, whole or not at all."""
    path = folder / ARM
    text = json.dumps({"version": VERSION, **facts}, indent=2, ensure_ascii=False)
    with saying_what(str(path)), replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return path
