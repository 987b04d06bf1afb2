"""What data cards and model cards are put together from: Markdown, and where a thing comes from.

Nothing is left empty: what a run does not know is called unknown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = "unknown"
LAB = (
    "This comes from the lab: a closed world of small tasks with programmed teachers, made to "
    "check the method. It says nothing about any real model, and its numbers are no paper's."
)
_MAX_SHOWN_CHARS = 1500

_PART = r"/[^\s/,='\"\[\]]+"
_ABSOLUTE = re.compile(rf"(?<![\w.:/])(?:{_PART})+?((?:{_PART}){{1,2}})(?=[\s,'\"\]]|$)")


@dataclass(frozen=True, slots=True)
class Licence:
    """What the user says about the terms.

    Attributes:
        id: A licence as the Hub names them, such as "cc-by-nc-4.0"; "unknown" is one too.
        repo: Where it will be pushed to, null where it stays here.
    """

    id: str = UNKNOWN
    repo: str | None = None

    @property
    def in_words(self) -> str:
        """The licence, and that nobody gave one."""
        if self.id == UNKNOWN:
            return "Licence: unknown; nobody has stated one. Do not pass this on before that."
        return f"Licence: {self.id}, as stated by who saved this."


def section(title: str, *parts: str) -> str:
    """A heading over paragraphs; those that are "" are left out."""
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def fields(values: Mapping[str, object]) -> str:
    """Names and values as a table of two columns."""
    return table(("", ""), [(name, _said(value)) for name, value in values.items()])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A Markdown table; bars and line breaks in cells do not end them.

    >>> print(table(("a", "b"), [("x|y", "two\nlines")]))
    | a | b |
    |---|---|
    | x\|y | two lines |
    """
    texts = ["|".join(map(_cell, line)) for line in (head, *rows)]
    texts.insert(1, "|".join("---" for _ in head))
    return "\n".join(f"|{text}|" for text in texts)


def fenced(text: str, language: str = "text") -> str:
    """Text as it is, in a fence longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def excerpt(text: str) -> str:
    """A text for an example: a long one is cut, and says so."""
    if len(text) <= _MAX_SHOWN_CHARS:
        return text
    return f"{text[:_MAX_SHOWN_CHARS]} ... (cut here; {len(text):,} characters in all)"


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Counters as text, "none" where nothing was counted."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def size_category(num_rows: int) -> str:
    """The Hub's word for a number of rows.

    >>> size_category(999), size_category(52_002)
    ('n<1K', '10K<n<100K')
    """
    steps = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
    return next((name for limit, name in steps.items() if num_rows < limit), "1M<n<10M")


def origin(manifest: Mapping[str, Any]) -> str:
    """The section that says which command made a thing, with what versions, when."""
    line = without_folders(shlex.join(["python", "run.py", *_overrides(manifest)]))
    git = manifest.get("git") or {}
    commit = git.get("commit")
    state = " with changes that were not committed" if git.get("dirty") else ""
    versions = manifest.get("versions") or {}
    return section(
        "How it was made",
        "The command line, in a checkout of Understudy:",
        fenced(line, "bash"),
        fields(
            {
                "run": manifest["id"],
                "commit": f"{commit}{state}" if commit else None,
                "config, sha256": manifest.get("config_sha256"),
                "seed": manifest["seed"],
                "started": manifest.get("started"),
                "finished": manifest.get("finished"),
                "interrupted and resumed": f"{len(manifest.get('resumed') or ())} times",
                "versions": ", ".join(f"{name} {value}" for name, value in versions.items()),
            }
        ),
        _read(manifest),
    )


def without_folders(text: str) -> str:
    """The text with each absolute path cut to its last two parts: a card goes to others.

    >>> without_folders("data.path=/home/me/outputs/collect/strong/2026,x/y seed=1")
    'data.path=.../strong/2026,x/y seed=1'
    """
    return _ABSOLUTE.sub(r"...\1", text)


def _read(manifest: Mapping[str, Any]) -> str:
    """The files that the run read, with their hashes."""
    inputs = manifest.get("inputs") or ()
    if not inputs:
        return "It read no files."
    rows = [
        (without_folders(str(one["path"])), f"{one['rows']:,}", str(one["sha256"]))
        for one in inputs
    ]
    return table(("file read", "rows", "sha256"), rows)


def _overrides(manifest: Mapping[str, Any]) -> list[str]:
    own = [str(text) for text in manifest["overrides"]]
    has_stage = any(text.startswith("stage=") for text in own)
    return own if has_stage else [f"stage={manifest['stage']}", *own]


def _said(value: object) -> str:
    text = "" if value is None else str(value)
    return text or UNKNOWN


def _cell(text: str) -> str:
    return f" {' '.join(text.split())} ".replace("|", r"\|")
