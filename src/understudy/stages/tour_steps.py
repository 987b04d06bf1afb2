"""The lines of a tour: what each waits for, what it needs to run beside it, its words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.records import InputError

_REFERENCE = re.compile(r"\{(\w+)\}")
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*")
_NAME = re.compile(r"[a-z]\w*")
_TOUR = "tour"
"""In braces the tour's own folder, for what several steps share; no step is called so."""
_KEYS = ("line", "more", "after", "metrics", "service")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a tour.

    Attributes:
        name: The name of its folder, by which later lines refer to it: ``model.path={sft}``.
        line: What one would type after ``python run.py``.
        after: The steps that it waits for beside those that it refers to.
        metrics: Those of its run that the tour's manifest repeats.
        common: What every line begins with, unless it says otherwise itself.
        is_service: Whether it runs beside the steps that need it, until the last of them has ended.
    """

    name: str
    line: str
    after: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    common: str = ""
    is_service: bool = False

    def words(self, folder: Path) -> list[str]:
        """What is typed, references replaced by folders below ``folder``; flags come first.

        >>> Step("a", "-m seed=1,2 data.path={b},{c}", (), common="seed=0 x=1").words(Path("/t"))
        ['-m', 'x=1', 'seed=1,2', 'data.path=/t/b,/t/c']
        """
        own = shlex.split(self.line)
        keys = {_key(word) for word in own}
        shared = [word for word in shlex.split(self.common) if _key(word) not in keys]
        flags = [word for word in own if word.startswith("-")]
        words = [*flags, *shared, *(word for word in own if not word.startswith("-"))]
        return [_with_folders(word, folder) for word in words]

    @property
    def needs(self) -> set[str]:
        """The steps that must have ended, or be ready where they are services, before it starts."""
        return {*self.after, *_REFERENCE.findall(self.line)} - {_TOUR}


def planned_steps(
    steps: Mapping[str, Mapping[str, Any]], common: str, side_by_side: int
) -> list[Step]:
    """The steps, checked.

    Raises:
        InputError: A step refers to none before it, has no line or a name that is no folder's.
    """
    if side_by_side < 1:
        raise InputError(f"side_by_side={side_by_side} of the tour leaves no step; give 1 or more")
    planned: list[Step] = []
    for name, given in steps.items():
        planned.append(_step(name, given, common, planned))
    if not planned:
        raise InputError("the tour has no steps; give tour.steps.NAME.line")
    for step in planned:
        if step.is_service and not any(step.name in each.needs for each in planned):
            raise InputError(
                f"step {step.name} of the tour is a service that no step refers to; name it in "
                f"the line of one, as {{{step.name}}}, or in its after"
            )
    return planned


def _step(name: str, given: Mapping[str, Any], common: str, earlier: Sequence[Step]) -> Step:
    unknown = given.keys() - set(_KEYS)
    if unknown or not given.get("line"):
        raise InputError(
            f"step {name} of the tour: {'has no line' if not unknown else min(unknown)}; a step "
            "has line, and may have more, after, metrics and service"
        )
    if not _NAME.fullmatch(name) or name == _TOUR:
        raise InputError(f"step {name!r} of the tour: give another name, of letters, digits and _")
    after = given.get("after")
    if after is None:
        after = [step.name for step in earlier if not step.is_service]
    step = Step(
        name=name,
        line=" ".join(word for word in (given["line"], given.get("more") or "") if word),
        after=tuple(after),
        metrics=tuple(given.get("metrics") or ()),
        common=common,
        is_service=bool(given.get("service", False)),
    )
    names = [each.name for each in earlier]
    if missing := sorted(step.needs - set(names)):
        raise InputError(
            f"step {name} of the tour waits for {missing[0]!r}, which is none of the steps before "
            f"it ({', '.join(names) or 'there are none'})"
        )
    return step


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _with_folders(word: str, folder: Path) -> str:
    """An override whose references are folders; each value is quoted for Hydra's grammar."""
    if not _REFERENCE.search(word):
        return word
    key, _, value = word.partition("=")
    places = {_TOUR: folder}
    paths = [
        _REFERENCE.sub(lambda found: str(places.get(found[1], folder / found[1])), one)
        for one in value.split(",")
    ]
    return f"{key}={','.join(quoted(Path(path)) for path in paths)}"


def quoted(path: Path) -> str:
    """A path as Hydra's grammar takes it, whatever it holds."""
    if _PLAIN.fullmatch(str(path)):
        return str(path)
    text = str(path).replace("'", "\\'")
    return f"'{text}'"
