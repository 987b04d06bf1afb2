"""The rows that all sources of a comparison share: the same instructions, answered by each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from understudy.records import Completion, CompletionSource, InputError, SourceRows


@dataclass(frozen=True)
class SharedRows:
    """What was read from each source, its rows by id, and the ids that are in every source.

    The ids are in the first source's order.
    """

    reads: Sequence[SourceRows]
    rows: Sequence[Mapping[str, Completion]]
    ids: Sequence[str]


def shared_rows(sources: Sequence[CompletionSource], *, min_common_fraction: float) -> SharedRows:
    """Reads every source and finds what is in all of them.

    Raises:
        InputError: A source is wrong, or less than ``min_common_fraction`` of the largest source is
            in every source.
    """
    reads = [source.read() for source in sources]
    rows = [_by_id(read.rows) for read in reads]
    ids = [each for each in rows[0] if all(each in other for other in rows[1:])]
    sizes = {source.teacher: len(each) for source, each in zip(sources, rows, strict=True)}
    _check_common(len(ids), sizes, min_common_fraction)
    return SharedRows(reads, rows, ids)


def _check_common(num_common: int, sizes: Mapping[str, int], min_fraction: float) -> None:
    counts = ", ".join(f"{name}: {size:,}" for name, size in sizes.items())
    largest = max(sizes.values())
    if num_common < 2:
        raise InputError(
            f"{num_common} valid instructions in every arm ({counts}); an arm needs one to train "
            "on and one to hold out. Arms that are to have other instructions: data.peers=[]"
        )
    if num_common < min_fraction * largest:
        raise InputError(
            f"only {num_common:,} instructions are in every arm ({counts}); compare answers to the "
            "same instructions, or accept it with data.min_common_fraction="
            f"{int(100 * num_common / largest) / 100}"
        )


def _by_id(rows: Sequence[Completion]) -> dict[str, Completion]:
    by_id = {row.prompt.id: row for row in rows}
    if len(by_id) != len(rows):
        raise InputError(f"{rows[0].author}: {len(rows) - len(by_id)} rows repeat an id")
    return by_id
