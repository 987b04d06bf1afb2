"""Telling whether an instruction is new: our pool against rouge-score as Alpaca's script uses it.

Usage: python bench/novelty.py INSTRUCTIONS.json [--sizes 1000 4000] [--large 52000] [--rounds 3]

The file is a JSON list of rows with ``instruction``. Where it has fewer than a size asks for, more
are made of them: the beginning of one and the end of another, with words of all put in. Both keep
the pool's tokens and compare a few candidates with a pool of each size, in turn, round by round;
ours finds the most similar text and whether it is too similar, as theirs does. Theirs runs in this
process and in a pool of two processes, as the script's ``Pool`` and ``partial`` do. At last ours
alone takes up all instructions of the largest size, one after another, from an empty pool.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from rouge_score import rouge_scorer

from measure import Rounds, common_arguments, peak_rss_mib, setting, write
from understudy.teacher.selfinstruct.novelty import NoveltyPool

_CANDIDATES = 20
_KEPT_WORDS = 0.8


def instructions_of(path: Path, count: int) -> list[str]:
    """So many instructions: those of the file, then others made of their parts."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    found = list(dict.fromkeys(str(row["instruction"]) for row in rows))
    words = [word for each in found for word in each.split()]
    rng = random.Random(0)
    rng.shuffle(found)
    real = list(found)
    while len(found) < count:
        head, tail = rng.choice(real).split(), rng.choice(real).split()
        mixed = head[: rng.randint(1, len(head))] + tail[rng.randrange(len(tail)) :]
        kept = [w if rng.random() < _KEPT_WORDS else rng.choice(words) for w in mixed]
        found.append(" ".join(kept))
    return found[:count]


def theirs(
    texts: Sequence[str], candidates: Sequence[str], mapped: Callable[..., Any]
) -> Callable[[], list[float]]:
    """The largest F of each candidate, by the script's own calls."""
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    tokens = [scorer._tokenizer.tokenize(each) for each in texts]

    def compare() -> list[float]:
        found = []
        for candidate in candidates:
            own = scorer._tokenizer.tokenize(candidate)
            scores = mapped(partial(rouge_scorer._score_lcs, own), tokens)
            found.append(max(score.fmeasure for score in scores))
        return found

    return compare


def ours(texts: Sequence[str], candidates: Sequence[str]) -> Callable[[], list[float]]:
    """The same by our pool."""
    pool = NoveltyPool()
    for each in texts:
        pool.add(each)
    return lambda: [pool.most_similar(each).score for each in candidates]


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """The seconds of one call."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def at_size(texts: Sequence[str], size: int, num_rounds: int, mapped: Any) -> dict[str, Any]:  # noqa: ANN401 - of multiprocessing
    """Candidates a second against a pool of one size, and the largest difference of scores."""
    known, candidates = texts[:size], texts[size : size + _CANDIDATES]
    variants = {
        "rouge-score": theirs(known, candidates, lambda f, each: list(map(f, each))),
        "rouge-score, 2 processes": theirs(known, candidates, mapped),
        "ours": ours(known, candidates),
    }
    expected, found = variants["rouge-score"](), variants["ours"]()
    rounds = Rounds({name: timed(work) for name, work in variants.items()}, num_rounds)
    return {
        "pool": size,
        "candidates": len(candidates),
        "largest_difference": max(abs(a - b) for a, b in zip(expected, found, strict=True)),
        "candidates_per_second": {
            name: len(candidates) / statistics.median(seconds)
            for name, seconds in rounds.seconds.items()
        },
        "speedup": rounds.speedup("ours", "rouge-score"),
        "speedup_over_2_processes": rounds.speedup("ours", "rouge-score, 2 processes"),
    }


def growing(texts: Sequence[str]) -> dict[str, Any]:
    """All texts one after another, each kept unless it is too similar."""
    pool, start = NoveltyPool(), time.perf_counter()
    for each in texts:
        if not pool.most_similar(each).is_above:
            pool.add(each)
    seconds = time.perf_counter() - start
    return {
        "instructions": len(texts),
        "kept": len(pool),
        "seconds": round(seconds, 2),
        "per_second": round(len(texts) / seconds, 1),
        "peak_rss_mib": round(peak_rss_mib(), 1),
    }


def main() -> None:
    """Prints a line for each size and one for the growing pool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("instructions", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--large", type=int, default=52_000)
    common_arguments(parser, rounds=3, threads=1)
    options = parser.parse_args()
    texts = instructions_of(options.instructions, options.large)
    with Pool(2) as workers:
        sizes = [at_size(texts, size, options.rounds, workers.map) for size in options.sizes]
    for each in sizes:
        speeds = ", ".join(f"{n} {v:,.1f}" for n, v in each["candidates_per_second"].items())
        print(
            f"pool {each['pool']:,}: {speeds} candidates/s; ours {each['speedup']} times as fast; "
            f"largest difference {each['largest_difference']:.0e}"
        )
    whole = growing(texts)
    print(
        f"{whole['instructions']:,} instructions: {whole['seconds']} s, {whole['kept']:,} kept, "
        f"{whole['peak_rss_mib']} MiB"
    )
    write(options.out, {"setting": setting(options), "sizes": sizes, "growing": whole})


if __name__ == "__main__":
    main()
