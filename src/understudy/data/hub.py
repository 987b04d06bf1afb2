"""Answers from the Hub through ``datasets``, or from a local copy of them.

A repository is pinned to one commit before it is read. Without a network what is in the cache
serves; where nothing does, the run ends within seconds and says how to point to a copy, instead of
asking the Hub again and again as ``datasets`` would.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from understudy.data.answers import AnswerRows
from understudy.data.rows import RowFile, content_sha256, read_rows
from understudy.records import InputError, NotAtHand

_log = logging.getLogger(__name__)
_HUB_TIMEOUT_SECONDS = 10.0
_SAVED = ("state.json", "dataset_dict.json")


@dataclass(frozen=True, kw_only=True)
class HubAnswers(AnswerRows):
    """A teacher's answers in a data set of the Hub. Nothing is read before it is needed.

    Args:
        name: The data config's name, under which ``data.local`` gives a local copy. Who answered,
            without a ``teacher``.
        repo: The repository, OWNER/NAME.
        revision: Branch, tag or commit; null is the newest.
        subset: One of the data set's configurations; null is its only one.
        split: Which of its splits.
        local: A local copy to read instead: a folder that ``save_to_disk`` wrote, one that
            ``load_dataset`` reads, or a JSON, JSONL or Parquet file. Empty is none.
    """

    name: str
    repo: str
    revision: str | None = None
    subset: str | None = None
    split: str = "train"
    local: str | None = None

    def __post_init__(self) -> None:
        """Fills in the teacher's name, empties what says nothing, refuses unknown choices."""
        super().__post_init__()
        object.__setattr__(self, "local", self.local or None)
        if not self.teacher:
            object.__setattr__(self, "teacher", self.name)

    def load(self) -> RowFile:
        """The rows of the local copy, or of the Hub; the hash is that of what they say.

        Raises:
            InputError: There is no such copy, or it is no data set.
            NotAtHand: There is no local copy, and the Hub does not give it.
        """
        file = self._from_hub() if self.local is None else self._from_copy(self.local)
        return replace(file, sha256=content_sha256(file.rows, self.content_fields))

    def _from_copy(self, path: str) -> RowFile:
        location = Path(path).expanduser()
        key = f"data.local.{self.name}"
        if not location.exists():
            raise InputError(f"{key}={path}: there is no such file or folder; check the path")
        if location.is_file():
            return read_rows(path)
        try:
            if any((location / name).is_file() for name in _SAVED):
                dataset = _library().load_from_disk(str(location))
            else:
                dataset = _library().load_dataset(str(location), self.subset)
        except Exception as error:  # datasets and pyarrow raise what they like
            raise InputError(
                f"{key}={path}: not a data set that can be read ({_reason(error)}); give a "
                "folder that save_to_disk wrote, or a .json, .jsonl or .parquet file"
            ) from error
        return RowFile(path, "", self._rows_of(dataset, f"{key}={path}"))

    def _from_hub(self) -> RowFile:
        try:
            commit = _commit_of(self.repo, self.revision)
        except Exception as error:  # whatever keeps the Hub from answering, the cache may serve
            return self._from_cache(_reason(error))
        try:
            dataset = _library().load_dataset(self.repo, self.subset, revision=commit)
        except Exception as error:  # a broken connection, a full disk, no such configuration
            raise self._not_at_hand(_reason(error)) from error
        where = f"{self.repo}@{commit}"
        return RowFile(where, "", self._rows_of(dataset, where))

    def _from_cache(self, reason: str) -> RowFile:
        """What an earlier run downloaded, though the Hub does not answer for ``reason``."""
        from datasets.packaged_modules.cache import cache  # type: ignore[import-untyped]  # noqa: PLC0415 - as in _library

        try:
            builder = cache.Cache(
                dataset_name=self.repo.split("/")[-1],
                repo_id=self.repo,
                config_name=self.subset,
                version="auto",
                hash="auto",
            )
            dataset = builder.as_dataset()
        except (OSError, ValueError) as error:
            raise self._not_at_hand(reason) from error
        if _is_commit(self.revision) and builder.hash != self.revision:
            raise self._not_at_hand(f"the cache has commit {builder.hash} only; {reason}")
        _log.warning("data %s: the Hub did not answer (%s); reading the cache", self.name, reason)
        where = f"{self.repo}@{builder.hash}"
        return RowFile(where, "", self._rows_of(dataset, where))

    def _rows_of(
        self,
        dataset: Any,  # noqa: ANN401 - datasets has no types
        where: str,
    ) -> Sequence[Mapping[str, Any]]:
        """The rows of a data set, or of the split that is wanted of several."""
        if isinstance(dataset, _library().DatasetDict):
            if self.split not in dataset:
                raise InputError(
                    f"{where} has no split {self.split!r} but {', '.join(map(str, dataset))}; "
                    "type data.source.split=NAME"
                )
            dataset = dataset[self.split]
        rows: list[dict[str, Any]] = dataset.with_format("arrow")[:].to_pylist()
        if not rows:
            raise InputError(f"{where}: 0 rows; give a data set with at least one")
        return rows

    def _not_at_hand(self, reason: str) -> NotAtHand:
        what = (
            f"data={self.name}: {self.repo} is not in the Hub's cache and the Hub did not give it "
            f"({reason})"
        )
        return NotAtHand(what, f"give a copy with data.local.{self.name}=FILE_OR_FOLDER")


@lru_cache(maxsize=16)
def _commit_of(repo: str, revision: str | None) -> str:
    """The commit that a revision is now; asked once, because ``datasets`` repeats failures."""
    from huggingface_hub import HfApi  # noqa: PLC0415 - heavy

    found = HfApi().dataset_info(repo, revision=revision, timeout=_HUB_TIMEOUT_SECONDS)
    return str(found.sha)


def _library() -> Any:  # noqa: ANN401 - it has no types
    """The ``datasets`` library, which is slow to import; a local file needs it not."""
    import datasets  # type: ignore[import-untyped]  # noqa: PLC0415 - as above; it has no types

    return datasets


def _is_commit(revision: str | None) -> bool:
    """Whether a revision names one commit, which no branch or tag does reliably."""
    return revision is not None and re.fullmatch("[0-9a-f]{40}", revision) is not None


def _reason(error: BaseException) -> str:
    """The line of an error that says what is wrong; the Hub's first line is a bare status."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "Client Error" in lines[0]:
        return lines[1].rstrip(".")
    return (lines or [type(error).__name__])[0].rstrip(".")
