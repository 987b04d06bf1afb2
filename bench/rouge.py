"""ROUGE over real answers: our speed against the rouge-score package, and the largest difference.

Usage: python bench/rouge.py ANSWERS.json REFERENCES.json [--pairs 150] [--rounds 5]

Both files are JSON lists of rows with ``instruction`` and ``output``; a pair is two answers to the
same instruction. Variants are timed in turn, round by round, after one untimed call of each; our
caches (references, stems) are emptied before every timed call, so each is a file's first scoring.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from understudy.metrics import rouge as ours
from understudy.metrics.porter import porter_stem

Pairs = list[tuple[str, str]]
Scores = list[tuple[float | None, ...]]
Variants = dict[str, Callable[[Pairs], Scores]]


def read_pairs(answers: Path, references: Path, num_pairs: int) -> Pairs:
    """Evenly spaced (answer, reference) pairs of the instructions that both files have."""
    wanted = {row["instruction"]: row["output"] for row in json.loads(references.read_text())}
    rows = json.loads(answers.read_text())
    pairs = [
        (row["output"], wanted[row["instruction"]]) for row in rows if row["instruction"] in wanted
    ]
    return pairs[:: max(1, len(pairs) // num_pairs)][:num_pairs]


def peer(types: list[str], *, use_stemmer: bool) -> Callable[[Pairs], Scores]:
    """F scores of the rouge-score package."""

    def score(pairs: Pairs) -> Scores:
        scorer = RougeScorer(types, use_stemmer=use_stemmer)
        found = (scorer.score(reference, answer) for answer, reference in pairs)
        return [tuple(each[name].fmeasure for name in types) for each in found]

    return score


def ours_of(types: list[str], *, use_stemmer: bool) -> Callable[[Pairs], Scores]:
    """F scores of this package, from empty caches."""

    def score(pairs: Pairs) -> Scores:
        ours._indexed_reference.cache_clear()
        porter_stem.cache_clear()
        if types == ["rougeL"]:
            return [(ours.rouge_l(*pair, use_stemmer=use_stemmer),) for pair in pairs]
        found = ours.rouge_of_pairs(pairs, use_stemmer=use_stemmer)
        return [(each.rouge_1, each.rouge_2, each.rouge_l) for each in found]

    return score


def largest_difference(first: Scores, second: Scores) -> float:
    """The largest difference; pairs that ours calls undefined must be 0 in the other package."""
    return max(
        abs((a or 0.0) - (b or 0.0))
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def interleaved(variants: Variants, pairs: Pairs, num_rounds: int) -> dict[str, list[float]]:
    """Seconds of every variant in every round; the order turns round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(num_rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            variants[name](pairs)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Prints a table: pairs a second (median) and the ratio's median and range over rounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("answers", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pairs = read_pairs(options.answers, options.references, options.pairs)
    words = statistics.mean(len(ours.tokenize(text)) for pair in pairs for text in pair)
    print(f"{len(pairs)} pairs, {words:.0f} words a side, {options.rounds} rounds\n")
    print("| scores | rouge-score, pairs/s | ours, pairs/s | ratio [range] | largest difference |")
    print("|---|---|---|---|---|")
    for label, types in (("L", ["rougeL"]), ("1, 2, L", ["rouge1", "rouge2", "rougeL"])):
        for use_stemmer in (False, True):
            variants = {
                "peer": peer(types, use_stemmer=use_stemmer),
                "ours": ours_of(types, use_stemmer=use_stemmer),
            }
            difference = largest_difference(*(score(pairs) for score in variants.values()))
            seconds = interleaved(variants, pairs, options.rounds)
            ratios = [a / b for a, b in zip(seconds["peer"], seconds["ours"], strict=True)]
            speeds = [len(pairs) / statistics.median(seconds[name]) for name in variants]
            print(
                f"| {label}{', stemmed' if use_stemmer else ''} | {speeds[0]:,.0f} | "
                f"{speeds[1]:,.0f} | {statistics.median(ratios):.0f} "
                f"[{min(ratios):.0f}, {max(ratios):.0f}] | {difference:.0e} |"
            )


if __name__ == "__main__":
    main()
