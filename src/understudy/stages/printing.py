"""What stages print: a title over names and values, the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm


def print_facts(title: str, facts: Mapping[str, str]) -> None:
    """Prints names and values in two columns; plain text where the output is no terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    Console(highlight=False).print(table)


def in_words(counts: Mapping[str, int]) -> str:
    """Counters as text: "3 empty_output, 1 overlength", or "none"."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "none"


def gibibytes(num_bytes: float) -> str:
    """A size for people."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**28 else f"{num_bytes / 2**20:.0f} MiB"


@contextmanager
def answering(author: str, num_answers: int) -> Iterator[Callable[[int], object]]:
    """A bar over the answers of ``author``, told how many came; none where there is no terminal."""
    with tqdm(total=num_answers, desc=f"{author} answers", unit="", disable=None) as bar:
        yield bar.update
