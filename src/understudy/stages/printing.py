"""What stages print: a title over names and values, the same everywhere."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from understudy.data.contamination import Match
from understudy.eval.summary import Summary, summarise
from understudy.records import Prediction

if TYPE_CHECKING:
    from understudy.tracking.run import Run

_log = logging.getLogger(__name__)
_MAX_NAMED = 3
_MAX_UNEVEN = 0.05
_HEADLINES = ("eval/lab_accuracy", "eval/rouge_l")


def print_facts(title: str, facts: Mapping[str, str]) -> None:
    """Prints names and values in two columns; plain text where the output is no terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    Console(highlight=False).print(table)


def print_next(line: str, folder: Path) -> None:
    """Prints the line to type next, whole, whatever the terminal's width, ready for a shell.

    ``line`` is what comes after ``python run.py``, with ``={}`` where the folder stands.
    """
    words = [word.format(folder) if word.endswith("={}") else word for word in line.split()]
    text = f"next: python run.py {shlex.join(words)}"
    Console(highlight=False, soft_wrap=True, markup=False).print(text)


def in_words(counts: Mapping[str, int]) -> str:
    """Counters as text: "3 empty_output, 1 overlength", or "none"."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "none"


def contamination_in_words(matches: Sequence[Match], mode: str) -> str:
    """How many instructions are questions that will be asked, of which set, and which, by name."""
    if mode == "off":
        return "not looked for"
    if not matches:
        return "none"
    counts = Counter(f"{match.kind} {match.set}" for match in matches)
    first = ", ".join(match.question_id for match in matches[:_MAX_NAMED])
    more = ", ..." if len(matches) > _MAX_NAMED else ""
    done = "left out of every arm" if mode == "drop" else "trained on all the same"
    hint = "" if mode == "drop" else "; data.decontaminate=drop leaves them out"
    return (
        f"{len(matches):,} instructions are questions that will be asked "
        f"({in_words(counts)}: {first}{more}), {done}{hint}"
    )


def unevenly_cut(shares: Mapping[str, float], max_length: int) -> str:
    """A warning where one teacher's answers are cut to the window much oftener than another's."""
    if max(shares.values()) - min(shares.values()) < _MAX_UNEVEN:
        return ""
    cut = ", ".join(f"{share:.0%} of {name}'s" for name, share in shares.items())
    return (
        f"cut to {max_length} tokens are {cut} rows: a cut answer does not learn to end, so the "
        "arms differ in more than their teacher; raise prompt.max_length"
    )


def gibibytes(num_bytes: float) -> str:
    """A size for people."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**28 else f"{num_bytes / 2**20:.0f} MiB"


@contextmanager
def answering(author: str, num_answers: int) -> Iterator[Callable[[int], object]]:
    """A bar over the answers of ``author``, told how many came; none where there is no terminal."""
    with tqdm(total=num_answers, desc=f"{author} answers", unit="", disable=None) as bar:
        yield bar.update


def print_result(run: Run, summary: Summary, baselines: Sequence[Prediction] = ()) -> None:
    """Says in one line what a run reached, with base and teacher beside it."""
    metrics = summary.metrics
    headline = next((name for name in _HEADLINES if metrics.get(name) is not None), None)
    if headline is None:
        _log.info("result: no metric is defined; %s says why", run.folder / "manifest.json")
        return
    authors = dict.fromkeys(each.author for each in baselines)
    beside = {
        author: summarise([each for each in baselines if each.author == author]).metrics
        for author in authors
    }
    others = [
        f"{author} {values[headline]:.3f}"
        for author, values in beside.items()
        if values.get(headline) is not None
    ]
    compared = f" ({', '.join(others)})" if others else ""
    _log.info("result: %s %.3f%s", headline, metrics[headline], compared)
