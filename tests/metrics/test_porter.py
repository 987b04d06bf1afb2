"""Stems are nltk's, word by word."""

import string

from hypothesis import example, given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from understudy.metrics.porter import porter_stem

NLTK = PorterStemmer()

# Every suffix that nltk's source names, and inflections of them.
_LISTED = """
s sses ies ss ied eed ed ing y ational tional enci anci izer bli abli alli entli eli
ousli ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative
alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion sion tion ou ism ate
iti ous ive ize e ll at bl iz ally ably ently ously fully logy ality ivity bility ency ancy icity
"""
SUFFIXES = _LISTED.split()
STEMS = st.text(string.ascii_lowercase, min_size=1, max_size=6)
ENDINGS = st.lists(st.sampled_from(SUFFIXES), min_size=1, max_size=3).map("".join)
INFLECTED = st.builds(str.__add__, STEMS, ENDINGS)
TOKENS = st.text(string.ascii_lowercase + string.digits, min_size=4, max_size=12)


@given(word=st.one_of(INFLECTED, TOKENS).filter(lambda word: len(word) > 3))
@example(word="flies")
@example(word="died")
@example(word="yyyying")
def test_any_word_has_the_stem_of_nltk(word: str) -> None:
    """Random letters, digits, and random stems with real suffixes, stacked."""
    assert porter_stem(word) == NLTK.stem(word)


def test_every_suffix_after_every_kind_of_stem() -> None:
    """Measures 0 to 3, double consonants, cvc endings: all conditions of all rules."""
    starts = ["b", "tr", "o", "by", "oat", "fil", "hopp", "fall", "rel", "valid", "differ"]
    starts += ["operatt", "sensit", "analog", "conform", "generaliz", "vietnam", "xyz", "ss", "yy"]
    words = [
        f"{start}{end}{more}" for start in starts for end in SUFFIXES for more in ["", *SUFFIXES]
    ]
    words = [word for word in words if len(word) > 3]
    assert len(words) > 100_000
    assert [porter_stem(word) for word in words] == [NLTK.stem(word) for word in words]


def test_irregular_forms() -> None:
    """nltk's own table comes before the rules."""
    words = ["skies", "dying", "lying", "tying", "news", "innings", "howe", "proceed", "succeed"]
    assert [porter_stem(word) for word in words] == [NLTK.stem(word) for word in words]
