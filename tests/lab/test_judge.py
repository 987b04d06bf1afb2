"""The lab's judge against scores worked out by hand, and each knob against the bias it plants."""

from __future__ import annotations

import math
import re
from itertools import product

import pytest

from understudy.lab.judge import Judge, Reviewed
from understudy.records import InputError

RIGHT = Reviewed(1.0, "answer : c")
EXPLAINED = Reviewed(1.2, "c a b answer : c")
WRONG = Reviewed(0.0, "answer : a")
UNREADABLE = Reviewed(-0.2, "maybe a")
ALL = (RIGHT, EXPLAINED, WRONG, UNREADABLE)


@pytest.mark.parametrize(
    ("answer", "score"), [(EXPLAINED, 9), (RIGHT, 8), (WRONG, 3), (UNREADABLE, 2)]
)
def test_a_score_is_three_and_five_times_the_gold_reward(answer: Reviewed, score: float) -> None:
    assert Judge().review("q", answer, RIGHT).scores == (score, 8)
    assert Judge().review("q", RIGHT, answer).scores == (8, score)


def test_the_first_line_holds_two_numbers_and_the_reasons_follow() -> None:
    assert Judge().review("q", EXPLAINED, WRONG).text == (
        "9 3\nThe first answers correctly and explains why. The second gives a wrong answer."
    )


def test_order_does_not_matter_without_a_position_bias() -> None:
    for one, other in product(ALL, ALL):
        scores = Judge().review("q", one, other).scores
        assert scores == Judge().review("q", other, one).scores[::-1]


def test_a_position_bias_goes_to_the_first_answer_alone() -> None:
    judge = Judge(position_bias=0.5)
    assert judge.review("q", RIGHT, RIGHT).scores == (8.5, 8)
    assert judge.review("q", RIGHT, RIGHT).text.startswith("8.5 8\n")


def test_a_length_bias_adds_the_logarithm_of_the_words() -> None:
    longer = Reviewed(1.0, "so it is : answer : c " * 3)
    judge = Judge(length_bias=0.4)
    expected = (round(8 + 0.4 * math.log(3), 1), round(8 + 0.4 * math.log(21), 1))
    assert judge.review("q", RIGHT, longer).scores == expected


def test_scores_stay_between_one_and_ten() -> None:
    assert Judge(position_bias=9).review("q", WRONG, RIGHT).scores == (10, 8)
    assert Judge(position_bias=-9).review("q", WRONG, RIGHT).scores == (1, 8)


def test_noise_moves_the_stated_share_of_scores_by_one_as_often_up_as_down() -> None:
    judge = Judge(noise_rate=0.4)
    moves = [judge.review(f"q{n}", RIGHT, RIGHT).scores[0] - 8 for n in range(2000)]
    assert set(moves) == {-1, 0, 1}
    assert sum(move != 0 for move in moves) / 2000 == pytest.approx(0.4, abs=0.04)
    assert sum(moves) / 2000 == pytest.approx(0, abs=0.05)


def test_the_distribution_of_the_first_score_is_that_of_the_noise() -> None:
    review = Judge(noise_rate=0.4).review("q", RIGHT, WRONG)
    assert dict(review.first_scores) == pytest.approx({8: 0.6, 9: 0.2, 7: 0.2})
    capped = Judge(noise_rate=0.4, position_bias=9).review("q", RIGHT, WRONG)
    assert dict(capped.first_scores) == pytest.approx({10: 0.8, 9: 0.2})


def test_the_same_draw_gives_the_same_review_and_others_differ() -> None:
    judge = Judge(noise_rate=0.5)
    reviews = [judge.review("q", RIGHT, WRONG, draw=draw) for draw in range(20)]
    assert reviews == [judge.review("q", RIGHT, WRONG, draw=draw) for draw in range(20)]
    assert len({review.scores for review in reviews}) > 1


def test_malformed_reviews_have_no_line_of_numbers() -> None:
    judge = Judge(malformed_rate=0.3)
    reviews = [judge.review(f"q{n}", RIGHT, WRONG) for n in range(1000)]
    malformed = [each for each in reviews if not re.search(r"\d", each.text)]
    assert len(malformed) / 1000 == pytest.approx(0.3, abs=0.05)
    assert all(re.match(r"8 3\n", each.text) for each in reviews if each not in malformed)
    assert all(each.first_scores == () for each in malformed)


def test_a_rate_that_is_no_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"noise_rate=1\.5; give a share"):
        Judge(noise_rate=1.5)
    with pytest.raises(InputError, match="malformed_rate=-1; give a share"):
        Judge(malformed_rate=-1)
