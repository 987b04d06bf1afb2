"""Answer files (JSON, JSONL, Parquet), and the files that are read like another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.data.answers import AnswerRows
from understudy.data.language import detect_language
from understudy.data.rows import RowFile, read_rows
from understudy.records import CompletionSource, InputError, teacher_names

__all__ = ["AnswerFile", "detect_language", "siblings"]


@dataclass(frozen=True)
class AnswerFile(AnswerRows):
    """A teacher's answers in a file. The path is read when it is needed.

    Args:
        path: A JSON list, JSONL or Parquet file. Without a ``teacher`` the file's name without its
            ending is who answered.
    """

    path: str

    def __post_init__(self) -> None:
        """Fills in the teacher's name and refuses unknown choices."""
        super().__post_init__()
        if not self.teacher:
            object.__setattr__(self, "teacher", Path(self.path).stem)

    @property
    def location(self) -> Path:
        """The file's own path, however it was written."""
        return Path(self.path).expanduser().resolve()

    def names_of(self, paths: Sequence[str]) -> Mapping[str, str]:
        """What to call who answered in each of several files like this one."""
        return teacher_names(paths)

    def load(self) -> RowFile:
        """The file's rows.

        Raises:
            InputError: There is no such file, or it is no list of objects.
        """
        return read_rows(self.path)


def siblings(
    source: CompletionSource, paths: Sequence[str | CompletionSource] | None
) -> list[CompletionSource]:
    """The peers of ``source``: sources as they are, files read like it and named apart.

    Raises:
        InputError: There are paths, but ``source`` is no file.
    """
    peers = paths or ()
    files = [peer for peer in peers if isinstance(peer, str)]
    if files and not isinstance(source, AnswerFile):
        raise InputError(
            f"data.peers names files, but {source.teacher} answers from no file; "
            "type data=alpaca_json"
        )
    if not isinstance(source, AnswerFile):
        return [peer for peer in peers if not isinstance(peer, str)]
    names = source.names_of([source.path, *files])
    return [
        replace(source, path=peer, teacher=names[peer]) if isinstance(peer, str) else peer
        for peer in peers
    ]
