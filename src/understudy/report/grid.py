"""Arms that vary in two things: the difference of two teachers at each level of the other.

A grid is told from the arms' overrides: teachers by number of rows, by model size, by length limit,
by language. At each level two teachers are compared question by question. How that difference
changes from the first level to another is a difference of differences, over the questions that all
four arms have: it says how much of a gap goes away when answers are matched in length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from understudy.metrics.intervals import Difference, Scores, paired_differences
from understudy.report.arms import Entry, ScoreTable
from understudy.report.axes import TEACHER, TEACHER_KEYS, axis_of
from understudy.report.labels import part_label
from understudy.report.names import display_names, split_overrides, varying_keys

NUM_EXAMPLES = "data.num_examples"
_STRICTER = "data.max_length_ratio"
_AMOUNT_KEYS = (NUM_EXAMPLES, "data.num_supervised_tokens", "trainer.max_steps")
_X_TITLES = {
    "data.num_examples": "training rows",
    "data.num_supervised_tokens": "supervised tokens",
    "trainer.max_steps": "optimizer steps",
}
_NOTHING = {"data.num_examples": "all rows", "data.max_length_ratio": "no limit",
            "data.train_lang": "every language"}  # fmt: skip


_WHERE = {
    "data.num_examples": "at {} rows",
    "data.num_supervised_tokens": "at {} supervised tokens",
    "trainer.max_steps": "at {} steps",
    "data.max_length_ratio": "at a limit of {}",
    "data.train_lang": "trained in {}",
}


@dataclass(frozen=True, slots=True)
class Level:
    """A value of the second thing that varies; ``x`` is its place on a numeric axis."""

    name: str
    x: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """``first - second`` at one level, over the ``n`` questions that both have."""

    first: str
    second: str
    level: str
    difference: Difference
    by_seed: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class GapChange:
    """The gap at ``level`` minus the gap at ``reference``, over the questions of all four arms.

    Null with its reason where an arm may not be compared with its own series at ``reference``.
    """

    first: str
    second: str
    level: str
    reference: str
    difference: Difference
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Series (teachers) by levels. ``arms`` names each cell's arm; a missing cell did not finish.

    ``axis`` says what the levels are of, ``keys`` which overrides they are.
    """

    metric: str
    axis: str
    keys: tuple[str, ...]
    series: tuple[str, ...]
    levels: tuple[Level, ...]
    arms: Mapping[tuple[str, str], str]
    gaps: tuple[Gap, ...]
    changes: tuple[GapChange, ...]

    @property
    def is_numeric(self) -> bool:
        """True when levels have places on a logarithmic axis."""
        return all(level.x for level in self.levels)

    def ranked_pairs(self) -> list[tuple[str, str]]:
        """The pairs of series, the one with the largest gap at any level first."""
        largest: dict[tuple[str, str], float] = {}
        for gap in self.gaps:
            pair = gap.first, gap.second
            largest[pair] = max(largest.get(pair, 0.0), abs(gap.difference.mean or 0.0))
        return sorted(largest, key=lambda pair: -largest[pair])

    def where(self, level: str) -> str:
        """A level as a phrase of a sentence: "with no limit", "at 250 rows"."""
        if level in _NOTHING.values():
            return f"with {level}"
        (key, *others) = self.keys
        phrase = _WHERE.get(key, "at {}") if not others else "at {}"
        return phrase.format(level)


def find_grid(
    entries: Sequence[Entry],
    metric: str | None,
    fair: Sequence[tuple[Entry, Entry]],
    table: ScoreTable,
    *,
    num_resamples: int,
) -> Grid | None:
    """The grid that the arms of the most common stage form, if they form one.

    Args:
        entries: The arms that may be compared with any other, best first.
        metric: What to compare; without one there is no grid.
        fair: The pairs of arms that may be compared.
        table: Their scores.
        num_resamples: Of the bootstrap.
    """
    entries = _of_one_stage(entries)
    split = [split_overrides(entry.arm) for entry in entries]
    groups = _groups(varying_keys([entry.arm for entry in entries]))
    if metric is None or not groups:
        return None
    keys = _level_keys(groups)
    if keys is None:
        return None
    names = _series_names(split, [key for key in _all_keys(groups) if key not in keys])
    values = [tuple(_given(each.get(key)) for key in keys) for each in split]
    levels = _levels(keys, dict(zip(values, entries, strict=True)), groups)
    cells = {
        (name, levels[value].name): entry
        for name, value, entry in zip(names, values, entries, strict=True)
    }
    if len(cells) < len(entries) or len(levels) < 2 or not _is_crossed(cells, keys):
        return None
    ordered = tuple(sorted(levels.values(), key=partial(_place, is_strict=_STRICTER in keys)))
    series = tuple(dict.fromkeys(names))
    columns = _columns(cells, series, ordered, fair)
    gaps = _gaps(columns, metric, table, num_resamples)
    changes = _changes(columns, metric, fair, table, num_resamples=num_resamples)
    return Grid(
        metric=metric,
        axis=_axis_title(keys),
        keys=keys,
        series=series,
        levels=ordered,
        arms={cell: entry.name for cell, entry in cells.items()},
        gaps=tuple(gaps),
        changes=tuple(changes),
    )


def _of_one_stage(entries: Sequence[Entry]) -> list[Entry]:
    stages = [entry.runs[0].stage for entry in entries]
    common = max(sorted(set(stages)), key=stages.count, default="")
    return [entry for entry in entries if entry.runs[0].stage == common]


def _groups(keys: Sequence[str]) -> dict[str, list[str]]:
    """Varying keys by the axis that they belong to; a key of none is an axis of its own."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        name = TEACHER if key in TEACHER_KEYS else axis_of(key) or key
        groups.setdefault(name, []).append(key)
    return groups


def _all_keys(groups: Mapping[str, Sequence[str]]) -> list[str]:
    return [key for keys in groups.values() for key in keys]


def _level_keys(groups: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """The keys whose values are the levels: those beside the teacher's, or of amounts and sizes."""
    others = [name for name in groups if name != TEACHER]
    if TEACHER in groups or len(others) == 2:
        ordered = sorted(others, key=lambda name: (name not in ("budget", "base model"), name))
        is_grid = len(others) == (1 if TEACHER in groups else 2)
        return tuple(sorted(groups[ordered[0]])) if is_grid else None
    is_scaling = len(others) == 1 and NUM_EXAMPLES in groups[others[0]]
    return tuple(sorted(groups[others[0]])) if is_scaling else None


def _series_names(split: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[str]:
    """The name of each arm's series: what it is called by these keys alone."""
    keys = keys or [key for key in TEACHER_KEYS if any(key in each for each in split)]
    own = [",".join(f"{key}={each[key]}" for key in keys if key in each) for each in split]
    distinct = list(dict.fromkeys(own))
    names = dict(zip(distinct, display_names(distinct), strict=True))
    return [names[each] for each in own]


def _given(value: str | None) -> str | None:
    return None if value in (None, "null", "") else value


def _levels(
    keys: Sequence[str],
    entries: Mapping[tuple[str | None, ...], Entry],
    groups: Mapping[str, Sequence[str]],
) -> dict[tuple[str | None, ...], Level]:
    amount = next((key for key in _AMOUNT_KEYS if key in keys), None)
    levels = {}
    for value, entry in entries.items():
        x = None
        if amount is not None:
            x = _number(value[list(keys).index(amount)])
        elif "base model" in groups:
            x = _number(entry.runs[0].manifest.get("num_parameters"))
        levels[value] = Level(_level_name(keys, value), x)
    return levels


def _number(value: object) -> float | None:
    try:
        return float(str(value)) if value is not None else None
    except ValueError:
        return None


def _level_name(keys: Sequence[str], values: Sequence[str | None]) -> str:
    return ", ".join(map(_value_name, keys, values))


def _value_name(key: str, value: str | None) -> str:
    if value is None:
        return _NOTHING.get(key, f"default {key.rpartition('.')[2]}")
    if key in _AMOUNT_KEYS and value.isdigit():
        return f"{int(value):,}"
    if key == "data.train_lang":
        return part_label(f"lang:{value}")
    return value.rstrip("/").rpartition("/")[2]


def _axis_title(keys: Sequence[str]) -> str:
    (key, *others) = keys
    if not others and key in _X_TITLES:
        return _X_TITLES[key]
    return axis_of(key) or key.rpartition(".")[2].replace("_", " ")


def _is_crossed(cells: Mapping[tuple[str, str], Entry], keys: Sequence[str]) -> bool:
    """True when some level has two series; numbers of rows make a curve of one series too."""
    levels = [level for _, level in cells]
    return NUM_EXAMPLES in keys or any(levels.count(level) > 1 for level in levels)


def _place(level: Level, *, is_strict: bool) -> tuple[float, bool, list[tuple[bool, float, str]]]:
    """By number where there is one; then "none" first, then the natural order of names.

    ``is_strict`` puts larger numbers first: of limits, the lowest is furthest from none.
    """
    sign = -1.0 if is_strict else 1.0
    is_plain = level.name in _NOTHING.values() or level.name.startswith("default ")
    parts = re.split(r"(\d+(?:\.\d+)?)", level.name)
    natural = [(part[:1].isdigit(), sign * float(part) if part[:1].isdigit() else 0.0, part)
               for part in parts]  # fmt: skip
    return (np.inf if level.x is None else level.x, not is_plain, natural)


_Column = tuple[str, str, str, Entry, Entry]


def _columns(
    cells: Mapping[tuple[str, str], Entry],
    series: Sequence[str],
    levels: Sequence[Level],
    fair: Sequence[tuple[Entry, Entry]],
) -> list[_Column]:
    """Every two series at each level where both have an arm and may be compared."""
    allowed = _allowed(fair)
    return [
        (first, second, level.name, one, other)
        for first, second in combinations(series, 2)
        for level in levels
        if (one := cells.get((first, level.name))) and (other := cells.get((second, level.name)))
        if {one.name, other.name} in allowed
    ]


def _allowed(fair: Sequence[tuple[Entry, Entry]]) -> set[frozenset[str]]:
    return {frozenset((one.name, other.name)) for one, other in fair}


def _gaps(
    columns: Sequence[_Column], metric: str, table: ScoreTable, num_resamples: int
) -> list[Gap]:
    """The differences of every two series at each level."""
    if not columns:
        return []
    firsts, seconds = _scores(columns, metric, table)
    found = paired_differences(firsts, seconds, num_resamples=num_resamples)
    return [
        Gap(first, second, level, difference, table.seed_differences(one, other, metric))
        for (first, second, level, one, other), difference in zip(columns, found, strict=True)
    ]


def _scores(columns: Sequence[_Column], metric: str, table: ScoreTable) -> tuple[Scores, Scores]:
    firsts = table.columns((one, metric) for *_, one, _ in columns)
    return firsts, table.columns((other, metric) for *_, other in columns)


def _changes(
    columns: Sequence[_Column],
    metric: str,
    fair: Sequence[tuple[Entry, Entry]],
    table: ScoreTable,
    *,
    num_resamples: int,
) -> list[GapChange]:
    """How the gaps change from the first level, where each series may be compared with itself."""
    pairs = _changing(columns)
    if not pairs:
        return []
    firsts, seconds = _scores(columns, metric, table)
    by_item = firsts - seconds
    later, earlier = ([pair[side] for pair in pairs] for side in (0, 1))
    changed = paired_differences(
        by_item[:, later], by_item[:, earlier], num_resamples=num_resamples
    )
    allowed = _allowed(fair)
    found = []
    for (place, reference), difference in zip(pairs, changed, strict=True):
        refused = _refused(columns[place], columns[reference], allowed)
        names = (*columns[place][:3], columns[reference][2])
        found.append(GapChange(*names, refused or difference, refused is not None))
    return found


def _refused(
    column: _Column, reference: _Column, allowed: Set[frozenset[str]]
) -> Difference | None:
    """No number, where an arm may not be compared with that of its own series at the first level.

    Something besides the level differs then, and the change would be taken for the level's.
    """
    for one, other in zip(column[3:], reference[3:], strict=True):
        if {one.name, other.name} not in allowed:
            reason = f"{one.name} and {other.name} are not compared"
            return Difference(None, None, None, 0, None, reason)
    return None


def _changing(columns: Sequence[_Column]) -> list[tuple[int, int]]:
    """Each column's place with that of its pair's first level."""
    first_of: dict[tuple[str, str], int] = {}
    pairs = []
    for place, (first, second, *_) in enumerate(columns):
        reference = first_of.setdefault((first, second), place)
        if reference != place:
            pairs.append((place, reference))
    return pairs
