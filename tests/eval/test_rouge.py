"""The ROUGE scorer's names, buckets and several references."""

import pytest

from understudy.eval.rouge import RougeScorer, why_no_rouge
from understudy.metrics.rouge import rouge
from understudy.records import InputError, Instruction, Prediction, Question


def question(lang: str = "en", **references: str) -> Question:
    """A question with references by author."""
    return Question(Instruction("q", "Say it.", lang=lang), references)


def test_one_reference_gives_three_totals_and_its_bucket() -> None:
    """The totals are those of the pure function; no other bucket is concerned."""
    scores = RougeScorer().score(question(gold="one two three"), "one three two four")
    pure = rouge("one three two four", "one two three")
    assert scores == {
        "eval/rouge_1": pure.rouge_1,
        "eval/rouge_2": pure.rouge_2,
        "eval/rouge_l": pure.rouge_l,
        "eval/rouge_l/3-5": pure.rouge_l,
    }
    assert scores["eval/rouge_l"] == pytest.approx(4 / 7)


def test_several_references_are_averaged_and_told_apart() -> None:
    """Each bucket has the mean over the references of its length."""
    asked = question(strong="yes", medium="no", weak="yes it is so")
    scores = RougeScorer().score(asked, "yes")
    assert scores["eval/rouge_l"] == pytest.approx((1 + 0 + 0.4) / 3)
    assert scores["eval/rouge_l/0-2"] == 0.5
    assert scores["eval/rouge_l/3-5"] == pytest.approx(0.4)
    assert scores["eval/rouge_l/against:strong"] == 1
    assert scores["eval/rouge_l/against:medium"] == 0
    assert "eval/rouge_l/6-10" not in scores


def test_an_undefined_reference_leaves_the_mean_to_the_others() -> None:
    """A null stays null under its author and in its bucket, and is not a 0 in the mean."""
    scores = RougeScorer().score(question(strong="yes it is", weak=""), "yes it is")
    assert scores["eval/rouge_l"] == 1
    assert scores["eval/rouge_l/against:weak"] is None
    assert scores["eval/rouge_l/0-2"] is None


def test_language_is_the_questions_unless_set() -> None:
    """Chinese is scored by characters under auto and zh, and undefined under en."""
    asked = question(lang="zh", gold="我爱你")
    assert RougeScorer().score(asked, "我爱他")["eval/rouge_l/3-5"] == pytest.approx(2 / 3)
    assert RougeScorer(lang="en").score(asked, "我爱他")["eval/rouge_l"] is None
    assert RougeScorer(lang="zh").score(question(gold="我"), "我")["eval/rouge_l"] == 1
    with pytest.raises(InputError, match="choose auto, en or zh"):
        RougeScorer(lang="de")


def test_an_answer_in_another_language_shares_nothing_with_the_reference() -> None:
    """It is no answer that cannot be compared: the reference shows that the language was meant."""
    english = Question(Instruction("q", "Say it."), {"gold": "the sky is blue"})
    chinese = Question(Instruction("q", "说", lang="zh"), {"gold": "天是蓝的"})
    assert RougeScorer().score(english, "天是蓝的")["eval/rouge_l"] == 0
    assert RougeScorer().score(chinese, "the sky")["eval/rouge_l"] == 0
    assert RougeScorer().score(english, "")["eval/rouge_l"] == 0


def test_a_stemming_scorer_can_stand_beside_the_plain_one() -> None:
    """Another name keeps both numbers."""
    scorer = RougeScorer(use_stemmer=True, name="rouge_stemmed")
    scores = scorer.score(question(gold="runs"), "running")
    assert scores["eval/rouge_stemmed_l"] == 1
    assert scores["eval/rouge_stemmed_l/0-2"] == 1


def test_a_question_without_reference_is_null_and_says_so() -> None:
    """Unknown, not absent: someone who scores a file without references must hear why."""
    scores = RougeScorer().score(question(), "anything")
    assert scores == {"eval/rouge_1": None, "eval/rouge_2": None, "eval/rouge_l": None}
    assert why_no_rouge(Prediction(question(), "me", "anything")) == "the question has no reference"


def test_the_reason_is_found_whatever_language_the_scorer_was_told() -> None:
    """A Chinese question scored as English is undefined, and its row tells why."""
    prediction = Prediction(question(lang="zh", gold="我爱你"), "me", "我")
    assert "set lang=zh" in why_no_rouge(prediction)
    assert why_no_rouge(Prediction(question(gold="yes"), "me", "")) == ""
