"""A checkpoint folder is replaced as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.train.checkpoints import replace_folder


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """With the new files only, and nothing beside it."""
    target = tmp_path / "runs" / "best"
    replace_folder(target, lambda folder: (folder / "first").touch())
    replace_folder(target, lambda folder: (folder / "second").touch())
    assert [path.name for path in target.iterdir()] == ["second"]
    assert [path.name for path in target.parent.iterdir()] == ["best"]


def test_a_failure_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    """And the next attempt is not confused by what it left."""
    target = tmp_path / "best"
    replace_folder(target, lambda folder: (folder / "first").touch())

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        replace_folder(target, fail)
    assert [path.name for path in target.iterdir()] == ["first"]
    replace_folder(target, lambda folder: (folder / "second").touch())
    assert [path.name for path in tmp_path.rglob("*")] == ["best", "second"]
