"""ROUGE-1, ROUGE-2 and ROUGE-L F of one answer against one reference.

Equal to Google's rouge-score package (the paper's choice; METHODS 5.5) wherever that package can
tell, over rapidfuzz's C++ longest common subsequence. Two differences, both because unknown is not
zero: a reference without tokens, and an answer that has letters but no tokens (Chinese read as
English), are undefined with a reason, where rouge-score says 0. An answer that says nothing at all
stays 0. Chinese text has one token for each character (METHODS 5.6).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from nltk.stem.porter import PorterStemmer
from rapidfuzz.distance import LCSseq

LENGTH_BUCKETS = ("0-2", "3-5", "6-10", ">10")
"""Names of the paper's buckets of reference length, shortest first (figure 6)."""

_ENGLISH = re.compile(r"[a-z0-9]+")
# Han with its extensions and compatibility forms, kana, Hangul syllables.
_CJK = (
    r"\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_CHINESE = re.compile(rf"[a-z0-9\uff10-\uff19\uff41-\uff5a]+|[{_CJK}]")
_HAS_CJK = re.compile(f"[{_CJK}]")
_ABSENT = -1

Gram = TypeVar("Gram", int, tuple[int, int])


@dataclass(frozen=True, slots=True)
class Rouge:
    """F scores in [0, 1]; all three are null, with a ``reason``, when the pair cannot be scored.

    ROUGE-2 of a text of one token is 0, as in rouge-score, although it has no pairs to share.
    """

    rouge_1: float | None
    rouge_2: float | None
    rouge_l: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Reference:
    """A reference's tokens as numbers: its own words from 0, so nothing grows between pairs."""

    ids: Sequence[int]
    ids_by_word: Mapping[str, int]
    unigrams: Counter[int]
    bigrams: Counter[tuple[int, int]]


def is_chinese(lang: str) -> bool:
    """True for ``zh`` and its regional forms such as ``zh-CN``."""
    return lang == "zh" or lang.startswith("zh-")


def tokenize(text: str, *, lang: str = "en", use_stemmer: bool = False) -> list[str]:
    """The tokens that ROUGE compares, in order.

    English (and every ``lang`` but Chinese): lower case, runs of a-z and 0-9, as in rouge-score.
    Chinese: one token for each CJK character, Latin words and numbers whole. ``use_stemmer`` puts
    Porter stems in place of words longer than three characters.

    >>> tokenize("The café's 2 dogs")
    ['the', 'caf', 's', '2', 'dogs']
    >>> tokenize("我有 2 只dog", lang="zh")
    ['我', '有', '2', '只', 'dog']
    """
    pattern = _CHINESE if is_chinese(lang) else _ENGLISH
    tokens = pattern.findall(text.lower())
    return (
        [token if len(token) <= 3 else _stem(token) for token in tokens] if use_stemmer else tokens
    )


def rouge(prediction: str, reference: str, *, lang: str = "en", use_stemmer: bool = False) -> Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L F of ``prediction`` against ``reference``.

    References are tokenised once and kept, so score answers to the same question in any order.

    >>> rouge("The quick brown dog jumps on the log.",
    ...       "The quick brown fox jumps over the lazy dog").rouge_l == 10 / 17
    True
    >>> rouge("你好", "你好").reason
    'the reference has no English letters or digits; for Chinese text set lang=zh'
    """
    reason = why_undefined(prediction, reference, lang=lang)
    if reason:
        return Rouge(None, None, None, reason)
    wanted = _indexed_reference(reference, lang, use_stemmer)
    tokens = tokenize(prediction, lang=lang, use_stemmer=use_stemmer)
    id_of = wanted.ids_by_word.get
    ids = [id_of(token, _ABSENT) for token in tokens]
    lengths = (len(ids), len(wanted.ids))
    return Rouge(
        rouge_1=_f_score(_num_shared(ids, wanted.unigrams), *lengths),
        rouge_2=_f_score(
            _num_shared(pairwise(ids), wanted.bigrams), *(length - 1 for length in lengths)
        ),
        rouge_l=_f_score(LCSseq.similarity(ids, wanted.ids), *lengths),
    )


def rouge_of_pairs(
    pairs: Iterable[tuple[str, str]], *, lang: str = "en", use_stemmer: bool = False
) -> list[Rouge]:
    """:func:`rouge` of each (prediction, reference) pair, in order."""
    return [
        rouge(prediction, reference, lang=lang, use_stemmer=use_stemmer)
        for prediction, reference in pairs
    ]


def why_undefined(prediction: str, reference: str, *, lang: str = "en") -> str:
    """Why the pair has no ROUGE, and what to set instead; "" when it has one."""
    if not reference.strip():
        return "the reference is empty"
    if not _has_token(reference, lang):
        return f"the reference has no {_fix(reference, lang)}"
    if not _has_token(prediction, lang) and any(map(str.isalnum, prediction)):
        return f"the answer has no {_fix(prediction, lang)}"
    return ""


def length_bucket(reference: str, *, lang: str = "en") -> str:
    """The paper's bucket of a reference's length: words between white space, in Chinese tokens.

    >>> length_bucket("not at all"), length_bucket("一二三四五六", lang="zh")
    ('3-5', '6-10')
    """
    length = len(tokenize(reference, lang=lang) if is_chinese(lang) else reference.split())
    for bucket, longest in zip(LENGTH_BUCKETS, (2, 5, 10), strict=False):
        if length <= longest:
            return bucket
    return LENGTH_BUCKETS[-1]


@lru_cache(maxsize=1)
def _stemmer() -> PorterStemmer:
    return PorterStemmer()


@lru_cache(maxsize=1 << 18)
def _stem(word: str) -> str:
    """The Porter stem in nltk's variant, as rouge-score uses it; words recur, stemming is slow."""
    stem: str = _stemmer().stem(word)
    return stem


@lru_cache(maxsize=4096)
def _indexed_reference(text: str, lang: str, use_stemmer: bool) -> _Reference:
    tokens = tokenize(text, lang=lang, use_stemmer=use_stemmer)
    ids_by_word = {word: number for number, word in enumerate(dict.fromkeys(tokens))}
    ids = [ids_by_word[token] for token in tokens]
    return _Reference(ids, ids_by_word, Counter(ids), Counter(pairwise(ids)))


def _num_shared(grams: Iterable[Gram], wanted: Mapping[Gram, int]) -> int:
    """Size of the multiset intersection; a gram with an absent word never hits."""
    left = dict(wanted)
    num_shared = 0
    for gram in grams:
        num_left = left.get(gram, 0)
        if num_left:
            left[gram] = num_left - 1
            num_shared += 1
    return num_shared


def _f_score(num_shared: int, num_predicted: int, num_wanted: int) -> float:
    """Harmonic mean of precision and recall, rounded as rouge-score rounds it."""
    if num_shared == 0:
        return 0.0
    precision = num_shared / num_predicted
    recall = num_shared / num_wanted
    return 2 * precision * recall / (precision + recall)


def _has_token(text: str, lang: str) -> bool:
    pattern = _CHINESE if is_chinese(lang) else _ENGLISH
    return pattern.search(text.lower()) is not None


def _fix(text: str, lang: str) -> str:
    if is_chinese(lang):
        return "CJK characters, Latin letters or digits; ROUGE here reads English and Chinese only"
    if _HAS_CJK.search(text):
        return "English letters or digits; for Chinese text set lang=zh"
    return "English letters or digits; ROUGE here reads English and Chinese only"
