"""Novelty against the rouge-score package, and where the bound lies."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rouge_oracle import google_rouge_l
from understudy.metrics.rouge import rouge_l
from understudy.teacher.selfinstruct.novelty import NoveltyPool

# Few words, so that texts share many, in other orders and repeated.
TEXTS = st.lists(
    st.lists(st.sampled_from(["write", "a", "the", "Poem!", "on", "x2", "sea"]), max_size=12).map(
        " ".join
    ),
    min_size=1,
    max_size=12,
)


def pool_of(texts: list[str], lang: str = "en") -> NoveltyPool:
    pool = NoveltyPool(lang=lang)
    for each in texts:
        pool.add(each)
    return pool


@given(TEXTS, TEXTS)
def test_the_most_similar_text_is_rouge_scores(texts: list[str], candidates: list[str]) -> None:
    pool = pool_of(texts)
    for candidate in candidates:
        found, expected = pool.most_similar(candidate), google_rouge_l(candidate, texts)
        assert found.score == pytest.approx(max(expected), abs=1e-12)
        if found.score:
            first = next(n for n, score in enumerate(expected) if score > max(expected) - 1e-12)
            assert found.text == texts[first]
        if abs(max(expected) - 0.7) > 1e-9:
            assert found.is_above == (max(expected) > 0.7)


def test_in_a_large_pool_no_text_is_overlooked() -> None:
    """More texts than are looked at first, and bounds that promise more than they keep."""
    rng = random.Random(0)
    words = list(string.ascii_lowercase)
    texts = [" ".join(rng.choices(words, k=rng.randint(3, 15))) for _ in range(600)]
    pool = pool_of(texts)
    for _ in range(60):
        candidate = " ".join(rng.choices(words, k=rng.randint(3, 15)))
        expected = google_rouge_l(candidate, texts)
        assert pool.most_similar(candidate).score == pytest.approx(max(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("shared", "length", "is_above"),
    [(7, 10, False), (14, 20, False), (21, 30, False), (71, 100, True), (69, 100, False)],
)
def test_an_f_of_exactly_the_bound_is_kept_whatever_its_rounding(
    shared: int, length: int, is_above: bool
) -> None:
    """7 of 10 is .7 in whole numbers; as a mean of precision and recall it may round above it."""
    text = " ".join(f"w{n}" for n in range(length))
    candidate = " ".join(f"w{n}" if n < shared else f"other{n}" for n in range(length))
    found = pool_of([text]).most_similar(candidate)
    assert found.score == pytest.approx(shared / length)
    assert found.is_above is is_above


def test_the_lengths_alone_may_put_the_bound_within_reach() -> None:
    """13 words in 24 are an F of 26/37 = .703; in 25 of 26/38 = .684."""
    words = [f"w{n}" for n in range(30)]
    pool = pool_of([" ".join(words[:13])])
    assert pool.most_similar(" ".join(words[:24])).is_above
    assert not pool.most_similar(" ".join(words[:25])).is_above


def test_chinese_is_compared_by_characters_and_looks_all_new_to_the_google_tokenizer() -> None:
    texts = ["请写一首关于大海的诗。", "把句子翻译成英文。"]
    near = "请写一首关于高山的诗。"
    chinese, google = pool_of(texts, "zh"), pool_of(texts)
    found = chinese.most_similar(near)
    assert found.score == pytest.approx(0.8)
    assert found.text == texts[0]
    assert found.score == pytest.approx(rouge_l(near, texts[0], lang="zh"))
    assert found.is_above
    assert (google.most_similar(near).score, google.has_tokens(near)) == (0.0, False)


def test_nothing_resembles_an_empty_pool_or_what_shares_no_word() -> None:
    assert NoveltyPool().most_similar("Write a poem").score == 0.0
    assert pool_of(["Sing"]).most_similar("Write a poem") == NoveltyPool().most_similar("!")


@given(TEXTS, st.randoms(use_true_random=False))
def test_the_order_of_the_pool_does_not_change_the_score(
    texts: list[str], rng: random.Random
) -> None:
    candidate, *others = texts
    shuffled = rng.sample(others, len(others))
    one, two = pool_of(others).most_similar(candidate), pool_of(shuffled).most_similar(candidate)
    assert one.score == pytest.approx(two.score, abs=1e-12)
    assert one.is_above is two.is_above


def test_another_bound_is_read_as_it_is_written() -> None:
    pool = NoveltyPool(max_rouge_l=0.6)
    pool.add("one two three four five")
    assert not pool.most_similar("one two three x y").is_above
    assert pool.most_similar("one two three four y").is_above
