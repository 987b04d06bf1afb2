"""A run's manifest as a report trusts it: every value that is read is of the kind that runs write.

What is of another kind is refused by name here, so that no table or figure meets it later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from understudy.records import InputError
from understudy.tracking.manifest import MANIFEST

LONGEST_ROW = "longest_row_tokens"
"""The key of ``budget`` that says by how much whole rows may miss a budget of tokens."""

_STATUSES = ("running", "finished", "failed")
_REQUIRED: Mapping[str, type] = {
    "id": str, "stage": str, "arm": str, "status": str, "seed": int, "overrides": list,
    "metrics": dict, "dropped": dict,
}  # fmt: skip
_OPTIONAL: Mapping[str, type] = {
    "budget": dict, "comparable": dict, "reasons": dict, "timings": dict, "parents": list,
    "git": dict, "num_parameters": int, "inputs": list,
}  # fmt: skip
_VALUES: Mapping[str, tuple[type, ...]] = {
    "dropped": (int,), "comparable": (str, NoneType), "reasons": (str,),
    "timings": (int, float),
}  # fmt: skip
_AMOUNTS = ("examples", "supervised_tokens", "steps", LONGEST_ROW)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest as it was left, unchecked.

    Raises:
        InputError: It is no readable JSON object.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{MANIFEST} is not readable JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{MANIFEST} holds {type(manifest).__name__}, not an object")
    return manifest


def check_manifest(manifest: dict[str, Any]) -> None:
    """Refuses values of a wrong kind and makes metrics that are not finite null.

    Raises:
        InputError: A value is not what a run writes.
    """
    for key, kind in {**_REQUIRED, **_OPTIONAL}.items():
        value = manifest.get(key)
        is_absent = value is None and key in _OPTIONAL
        if not (is_absent or isinstance(value, kind)):
            raise InputError(f"{MANIFEST} has no valid {key!r}: {value!r}")
    if manifest["status"] not in _STATUSES:
        raise InputError(f"{MANIFEST} has the unknown status {manifest['status']!r}")
    try:
        manifest["metrics"] = {name: finite(value) for name, value in manifest["metrics"].items()}
    except TypeError as error:
        raise InputError(f"{MANIFEST} has a metric that is {error}") from error
    _check_values(manifest)


def _check_values(manifest: Mapping[str, Any]) -> None:
    budget = manifest.get("budget") or {}
    checks = {
        f"{key}.{name}": (value, isinstance(value, kinds))
        for key, kinds in _VALUES.items()
        for name, value in (manifest.get(key) or {}).items()
    }
    checks |= {
        f"overrides.{place}": (text, isinstance(text, str))
        for place, text in enumerate(manifest["overrides"])
    }
    checks |= {
        f"budget.{name}": (budget.get(name), _is_amount(budget.get(name))) for name in _AMOUNTS
    }
    kind = budget.get("kind")
    checks["budget.kind"] = (kind, isinstance(kind, str | None))
    for name, (value, is_valid) in checks.items():
        if not is_valid:
            raise InputError(f"{MANIFEST} has no valid {name!r}: {value!r}")


def _is_amount(value: object) -> bool:
    try:
        return value is None or (finite(value) is not None and not isinstance(value, bool))
    except TypeError:
        return False


def finite(value: object) -> float | None:
    """The number, or null where it is none or not finite.

    Raises:
        TypeError: It is neither a number nor null.
    """
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
