"""The pool: order decides, each candidate has one reason, what is not needed is said."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from rouge_oracle import google_rouge_l
from understudy.teacher.selfinstruct.filters import Instance, InstructionFilter
from understudy.teacher.selfinstruct.parsing import Candidate
from understudy.teacher.selfinstruct.pool import REASONS, InventionPool

SEEDS = ["Write a poem about the sea.", "Add these two large numbers."]


def pool_of(wanted: int = 100, *, lang: str = "en") -> InventionPool:
    return InventionPool(SEEDS, wanted=wanted, rules=InstructionFilter(lang), max_rouge_l=0.7)


def offered(pool: InventionPool, *texts: str) -> list[str]:
    for each in texts:
        pool.offer(Candidate(each), round=1)
    return [each.instruction for each in pool.accepted]


def test_what_was_accepted_before_counts_in_the_same_batch() -> None:
    one, two = "List five uses of a brick", "List six uses of a brick"
    assert offered(pool_of(), one, two) == [one]
    assert offered(pool_of(), two, one) == [two]


def test_a_seed_cannot_be_invented_again_but_what_was_rejected_can() -> None:
    pool = pool_of()
    assert offered(pool, "write a poem about the sea!", "Write a poem about a sea.") == []
    assert pool.reasons == {"too_similar": 2}
    assert pool.rejected[1].similar is not None
    assert pool.rejected[1].similar.text == SEEDS[0]
    assert pool.rejected[1].to_json()["most_similar"]["score"] == round(5 / 6, 6)


def test_the_first_reason_counts_and_each_is_known() -> None:
    pool = pool_of()
    pool.offer(Candidate("Draw", fault="malformed"), round=2)
    pool.offer(Candidate("Draw", Instance("", "")), round=2)
    pool.offer(Candidate("Name a river in Spain", Instance("", "")), round=2)
    pool.offer(Candidate("Name a river in Spain", Instance("x", "x")), round=2)
    pool.offer(Candidate("\x01\x01 \x01 \x01 \x01"), round=2)
    pool.offer(Candidate("Name a river in Spain", Instance("", "Ebro")), round=3)
    assert [each.reason for each in pool.rejected] == [
        "malformed", "too_short", "empty_output", "input_is_output", "no_tokens"
    ]  # fmt: skip
    assert set(pool.reasons) <= set(REASONS)
    (accepted,) = pool.accepted
    assert (accepted.round, accepted.instance) == (3, Instance("", "Ebro"))


def test_what_comes_when_there_are_enough_is_not_judged() -> None:
    pool = pool_of(1)
    assert offered(pool, "Name a river in Spain", "Draw", "Tell me a joke about cats") == [
        "Name a river in Spain"
    ]
    assert pool.reasons == {"not_needed": 2}
    assert (pool.is_full, pool.num_candidates) == (True, 1)


WORDS = ["write", "poem", "sea", "add", "two", "numbers", "large", "name", "river"]
CANDIDATES = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=4, max_size=9).map(" ".join), max_size=25
)


@given(CANDIDATES)
def test_it_accepts_what_the_scripts_loop_accepts(texts: list[str]) -> None:
    """Their loop in four lines, by the rouge-score package."""
    kept = list(SEEDS)
    for text in texts:
        if max(google_rouge_l(text, kept)) <= 0.7 + 1e-9:
            kept.append(text)
    assert offered(pool_of(), *texts) == kept[len(SEEDS) :]


@given(st.randoms(use_true_random=False))
def test_unrelated_candidates_are_accepted_in_any_order(rng: random.Random) -> None:
    texts = [f"w{n}a w{n}b w{n}c w{n}d" for n in range(12)]
    shuffled = rng.sample(texts, len(texts))
    assert offered(pool_of(), *shuffled) == shuffled
