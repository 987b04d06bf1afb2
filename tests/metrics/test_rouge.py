"""ROUGE against the rouge-score package, by hand, and where it is undefined."""

import string
import sys

import pytest
from absl import logging as absl_logging
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from understudy.metrics.rouge import (
    Rouge,
    length_bucket,
    rouge,
    rouge_l,
    rouge_of_pairs,
    tokenize,
    why_undefined,
)

# rouge-score logs through absl, whose handler closes its stream when logging is set up anew, as
# Hydra does for every job: here that would be the stream pytest captures with.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

ORACLES = {
    use_stemmer: rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=use_stemmer)
    for use_stemmer in (False, True)
}

ANSWERS = [
    "Regularly exercising improves mood; it also reduces anxiety, and it's free!",
    "1. Exercise regularly.\n2. Eat balanced meals.\n3. Sleep 7-8 hours.\n\nThat's all you need.",
    "Exercises that are regular improve one's moods, reduce anxieties and are freely available.",
    "def add(a, b):\n    return a + b  # adds two numbers",
    "The café's naïve approach cost £3.50 (about €4) — İstanbul, 10 km away; ½ price.",
    "to be or not to be that is the question to be answered to be sure",
    "sky skies dying lying news howe proceed exceed succeed generically relational",
    "a",
]

WORDS = st.sampled_from(
    ["the", "The", "a", "running", "runs", "ran", "flies", "dog's", "generalization", "café", "42"]
)
LATIN_TEXT = st.one_of(
    st.lists(WORDS, min_size=1, max_size=40).map(" ".join),
    st.text(string.ascii_letters + string.digits + " .,-'\né", min_size=1, max_size=120),
)


def oracle(prediction: str, reference: str, *, use_stemmer: bool) -> list[float]:
    """The rouge-score package's three F values."""
    scores = ORACLES[use_stemmer].score(reference, prediction)
    return [scores[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")]


def values(score: Rouge) -> list[float | None]:
    """The three F values."""
    return [score.rouge_1, score.rouge_2, score.rouge_l]


@pytest.mark.parametrize("use_stemmer", [False, True])
def test_equals_rouge_score_on_every_pair_of_real_looking_answers(use_stemmer: bool) -> None:
    """All three scores of all pairs are those of the package, stemmed and not."""
    for prediction in ANSWERS:
        for reference in ANSWERS:
            ours = values(rouge(prediction, reference, use_stemmer=use_stemmer))
            assert ours == pytest.approx(
                oracle(prediction, reference, use_stemmer=use_stemmer), abs=1e-9
            )


@settings(deadline=None)
@given(prediction=LATIN_TEXT, reference=LATIN_TEXT, use_stemmer=st.booleans())
@example(prediction="a a a b", reference="a b a", use_stemmer=False)
@example(prediction="K", reference="k", use_stemmer=False)
def test_equals_rouge_score_wherever_it_is_defined(
    prediction: str, reference: str, use_stemmer: bool
) -> None:
    """A defined score is the package's; an undefined one is where the package saw no token."""
    ours = rouge(prediction, reference, use_stemmer=use_stemmer)
    theirs = oracle(prediction, reference, use_stemmer=use_stemmer)
    if ours.reason:
        assert values(ours) == [None, None, None]
        assert theirs == [0, 0, 0]
    else:
        assert values(ours) == pytest.approx(theirs, abs=1e-9)
    assert rouge_l(prediction, reference, use_stemmer=use_stemmer) == ours.rouge_l


@given(text=LATIN_TEXT, other=LATIN_TEXT)
def test_f_is_symmetric_and_one_for_equals(text: str, other: str) -> None:
    """Precision and recall swap with the sides; a text of two words or more scores 1 on itself."""
    there, back = rouge(text, other), rouge(other, text)
    if not there.reason and not back.reason:
        assert values(there) == pytest.approx(values(back), abs=1e-12)
    if len(tokenize(text)) > 1:
        assert values(rouge(text, text)) == [1, 1, 1]


def test_golden_case_by_hand() -> None:
    """LCS of 5 among 8 and 9 tokens: P = 5/8, R = 5/9, F = 10/17."""
    score = rouge(
        "The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog"
    )
    assert score.rouge_l == pytest.approx(10 / 17, abs=1e-12)


def test_stemming_matches_inflected_words_longer_than_three() -> None:
    """``runs`` meets ``running`` when stemmed; ``was`` (three letters) is left as it is."""
    assert rouge("runs", "running").rouge_1 == 0
    assert rouge("runs", "running", use_stemmer=True).rouge_1 == 1
    assert tokenize("was caresses", use_stemmer=True) == ["was", "caress"]


@pytest.mark.parametrize("prediction", ["", " \n", "...", "😀"])
def test_an_answer_that_says_nothing_scores_zero(prediction: str) -> None:
    """The model failed: that is a 0, not an unknown."""
    assert rouge(prediction, "two words") == Rouge(0.0, 0.0, 0.0)


NEEDS_LANG = "has no English letters or digits; for Chinese text set lang=zh"


@pytest.mark.parametrize(
    ("prediction", "reference", "lang", "words"),
    [
        ("two words", "", "en", "the reference is empty"),
        ("two words", "?!", "en", "the reference has no English letters"),
        ("two words", "你好", "en", f"the reference {NEEDS_LANG}"),
        ("你好", "two words", "en", f"the answer {NEEDS_LANG}"),
        ("привет", "two words", "en", "English and Chinese only"),
        ("你好", "привет", "zh", "the reference has no CJK characters"),
    ],
)
def test_text_without_tokens_is_undefined_and_names_the_fix(
    prediction: str, reference: str, lang: str, words: str
) -> None:
    """Null and a reason, never the package's 0."""
    score = rouge(prediction, reference, lang=lang)
    assert values(score) == [None, None, None]
    assert rouge_l(prediction, reference, lang=lang) is None
    assert words in score.reason
    assert score.reason == why_undefined(prediction, reference, lang=lang)


def test_chinese_counts_characters_and_keeps_latin_words_whole() -> None:
    """Two of three characters and one word are shared in order: P = R = 3/4."""
    tokens = ["我", "用", "gpt", "4", "写", "\uff11\uff12", "字"]
    assert tokenize("我用GPT-4\uff0c写\uff11\uff12字。", lang="zh") == tokens
    score = rouge("我爱它 GPT", "我爱你 gpt", lang="zh-CN")
    assert values(score) == pytest.approx([3 / 4, 1 / 3, 3 / 4])


SENTENCES = st.lists(st.integers(0, 30), min_size=2, max_size=60)


@given(first=SENTENCES, second=SENTENCES)
def test_chinese_equals_english_through_a_lexicon(first: list[int], second: list[int]) -> None:
    """A bijection of words to characters changes no score, so both tokenisers are one measure."""
    english = [" ".join(f"w{number}" for number in numbers) for numbers in (first, second)]
    chinese = ["".join(chr(0x4E00 + number) for number in numbers) for numbers in (first, second)]
    assert rouge(chinese[0], chinese[1], lang="zh") == rouge(english[0], english[1])


@pytest.mark.parametrize(
    ("num_words", "bucket"),
    [(0, "0-2"), (2, "0-2"), (3, "3-5"), (5, "3-5"), (6, "6-10"), (10, "6-10"), (11, ">10")],
)
def test_buckets_count_words_of_the_reference(num_words: int, bucket: str) -> None:
    """Words between white space in English (punctuation and all), characters in Chinese."""
    assert length_bucket(" ".join(["it's"] * num_words)) == bucket
    assert length_bucket("字。" * num_words, lang="zh") == bucket


def test_pairs_are_scored_in_order() -> None:
    """Each pair gets its own score; a reference that returns is the same reference."""
    pairs = [("a b", "a b"), ("c", "a b"), ("a", "a b"), ("", "a b")]
    assert [score.rouge_l for score in rouge_of_pairs(pairs)] == [1, 0, pytest.approx(2 / 3), 0]


def test_a_million_characters_are_scored() -> None:
    """A runaway answer costs a moment, not the run."""
    score = rouge("word " * 200_000, "one word only")
    assert score.rouge_l == pytest.approx(2 / (200_000 + 3))
