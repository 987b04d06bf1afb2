"""``arm.json``: what an arm that was collected is, for whoever trains on it, rates or publishes it.

The run's manifest says what one run did; the same arm may have been collected by several runs of
one line. This says who answered what, how they were asked, and what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.durable import replacing, saying_what
from understudy.records import InputError, read_json_object

ARM = "arm.json"
VERSION = 1


def write_arm(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Writes ``arm.json`` into the run's folder, whole or not at all."""
    path = folder / ARM
    text = json.dumps({"version": VERSION, **facts}, indent=2, ensure_ascii=False)
    with saying_what(str(path)), replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return path


def read_arm(folder: Path) -> dict[str, Any]:
    """The arm of a run's folder.

    Raises:
        InputError: The run collected none, or did not end.
    """
    path = folder / ARM
    if not path.is_file():
        raise InputError(
            f"{folder} holds no {ARM}; give the folder of a run of stage=collect that has ended"
        )
    return read_json_object(path, remedy="collect the arm anew; its replies are in the ledger")
