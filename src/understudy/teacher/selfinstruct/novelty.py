"""Whether an instruction is new: ROUGE-L F against every seed and every one accepted before it.

As in Self-Instruct and Alpaca: Google's tokens (lower case, a-z and 0-9), no stemming, rejected
where the largest F is above the bound. Two differences. The bound is compared in whole numbers, so
an F of exactly 0.7 is kept whatever its rounding. Chinese has a token for each character, because
Google's tokenizer finds none in it, and then everything looks new.

Exact, without computing every longest common subsequence: it is never longer than the words that
two texts share, and those are counted for the whole pool at once.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from understudy.metrics.rouge import tokenize

_FIRST_LOOK = 32
"""How many texts are compared to find a score that rules most others out."""

_SURROGATES = range(0xD800, 0xE000)  # no characters, so no token's code


@dataclass(frozen=True, slots=True)
class Similar:
    """The text of the pool that is most like a candidate.

    Attributes:
        score: ROUGE-L F, 0 where nothing is shared.
        text: The first of those with that score; "" where no text shares a word.
        is_above: The score is above the pool's bound.
    """

    score: float
    text: str
    is_above: bool


class NoveltyPool:
    """Texts that a new one must not resemble; it grows with those that are added."""

    def __init__(self, *, max_rouge_l: float = 0.7, lang: str = "en") -> None:
        """``max_rouge_l`` is read as the decimal that it is written as."""
        self._bound = Fraction(str(max_rouge_l))
        self._lang = lang
        self._ids: dict[str, int] = {}  # from 1 on; 0 is a word that no text of the pool has
        self._texts: list[str] = []
        self._codes: list[str] = []
        self._lengths = array("i")
        # By the k-th occurrence of a word: which texts have one.
        self._places: dict[tuple[int, int], array[int]] = {}

    def __len__(self) -> int:
        """How many texts it holds."""
        return len(self._texts)

    def has_tokens(self, text: str) -> bool:
        """False for a text that cannot be compared: nothing in it is a token."""
        return bool(self._tokens(text))

    def add(self, text: str) -> None:
        """Puts a text into the pool."""
        known = self._ids
        ids = [known.setdefault(token, len(known) + 1) for token in self._tokens(text)]
        for occurrence in _occurrences(ids):
            self._places.setdefault(occurrence, array("i")).append(len(self._texts))
        self._texts.append(text)
        self._codes.append(_code(ids))
        self._lengths.append(len(ids))

    def most_similar(self, text: str) -> Similar:
        """The text of the pool with the largest ROUGE-L F; the first of several."""
        ids = [self._ids.get(token, 0) for token in self._tokens(text)]
        shared = self._num_shared(ids)
        if shared is None:
            return Similar(0.0, "", is_above=False)
        total = np.frombuffer(self._lengths, dtype=np.intc) + len(ids)
        at_most = 2.0 * shared / total
        code = _code(ids)
        promising = _largest(at_most, _FIRST_LOOK)
        common = self._num_common(code, promising)
        least = (2.0 * common / total[promising]).max()
        # What shares nothing has a bound of 0 and is never better than what was looked at.
        promising = np.flatnonzero(at_most >= max(least, np.finfo(float).tiny))
        common = self._num_common(code, promising)
        best = int((2.0 * common / total[promising]).argmax())
        place, length = int(promising[best]), int(common[best])
        return Similar(
            score=_f_score(length, len(ids), self._lengths[place]),
            text=self._texts[place],
            is_above=2 * length > self._bound * int(total[place]),
        )

    def _num_common(self, code: str, places: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """Length of the longest common subsequence with each of these texts."""
        codes = [self._codes[place] for place in places]
        lengths: Int[np.ndarray, " some"] = cdist(
            [code], codes, scorer=LCSseq.similarity, dtype=np.int32
        )[0]
        return lengths

    def _num_shared(self, ids: Sequence[int]) -> Int[np.ndarray, " pool"] | None:
        """How many words each text shares with the ids, counted with repeats; null is no text."""
        found = [
            np.frombuffer(places, dtype=np.intc)
            for occurrence in _occurrences(ids)
            if (places := self._places.get(occurrence)) is not None
        ]
        if not found:
            return None
        return np.bincount(np.concatenate(found), minlength=len(self._texts))

    def _tokens(self, text: str) -> list[str]:
        return tokenize(text, lang=self._lang)


def _occurrences(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Each id with how often it stood before: equal ones are told apart, so sets can count them."""
    before: Counter[int] = Counter()
    found = []
    for each in ids:
        found.append((each, before[each]))
        before[each] += 1
    return found


def _code(ids: Sequence[int]) -> str:
    """The ids as characters, which are compared much faster than lists of numbers."""
    gap = len(_SURROGATES)
    return "".join([chr(each if each < _SURROGATES.start else each + gap) for each in ids])


def _largest(values: Float[np.ndarray, " pool"], count: int) -> Int[np.ndarray, " some"]:
    """Where the largest values stand, in no order."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, -count)[-count:]


def _f_score(num_shared: int, num_words: int, num_others: int) -> float:
    """Harmonic mean of precision and recall, rounded as rouge-score rounds it."""
    if num_shared == 0:
        return 0.0
    precision, recall = num_shared / num_words, num_shared / num_others
    return 2 * precision * recall / (precision + recall)
