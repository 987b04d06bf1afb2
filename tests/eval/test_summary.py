"""Scored rows to a run's metrics: means, nulls with reasons, buckets, decodings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from understudy.eval.rouge import RougeScorer
from understudy.eval.summary import score_predictions, summarise
from understudy.records import Instruction, Prediction, Question


@dataclass(frozen=True)
class LengthScorer:
    """Scores an answer by its length; an empty one is undefined, a question "off" not concerned."""

    name: str = "eval/length"

    def score(self, question: Question, output: str) -> Mapping[str, float | None]:
        """The number of characters."""
        if question.prompt.instruction == "off":
            return {}
        return {self.name: float(len(output)) if output else None}


def row(
    output: str, reference: str = "yes", *, decoding: str = "greedy", asked: str = "on"
) -> Prediction:
    """A prediction that is not scored yet."""
    question = Question(Instruction(output, asked), {"gold": reference})
    return Prediction(question, "me", output, decoding)


def test_metrics_are_means_over_the_known_scores() -> None:
    """Nulls and questions that are not concerned count in neither sum nor n."""
    rows = [row("aa"), row("bbbb"), row(""), row("ccc", asked="off")]
    summary = summarise(score_predictions(rows, [LengthScorer()]))
    assert summary.metrics == {"eval/length": 3.0}
    assert summary.counts == {"eval/length": 2}
    assert summary.undefined == {"eval/length": 1}
    assert summary.reasons == {"eval/length": "undefined for 1 of 3 predictions"}


def test_scores_replace_earlier_ones_and_rows_stay_in_order() -> None:
    """Scoring twice is scoring once."""
    once = score_predictions([row("a"), row("bb")], [LengthScorer()])
    assert score_predictions(once, [LengthScorer()]) == once
    assert [each.output for each in once] == ["a", "bb"]
    assert [each.scores["eval/length"] for each in once] == [1, 2]


def test_only_greedy_decoding_has_bare_names() -> None:
    """The same scorer's numbers for sampled answers stand under names of their own."""
    rows = [row("yes"), row("no", decoding="t1")]
    summary = summarise(score_predictions(rows, [RougeScorer()]))
    assert summary.metrics["eval/rouge_l"] == 1
    assert summary.metrics["eval/rouge_l@t1"] == 0
    assert summary.metrics["eval/rouge_l/0-2@t1"] == 0
    assert summary.counts["eval/rouge_l/0-2"] == 1


def test_all_four_buckets_are_there_and_an_empty_one_is_null() -> None:
    """With the reason, for each decoding that has a ROUGE-L."""
    rows = [row("yes", "yes"), row("it is so", "it is so"), row("x", decoding="t1")]
    summary = summarise(score_predictions(rows, [RougeScorer()]))
    buckets = {name: value for name, value in summary.metrics.items() if "_l/" in name}
    assert buckets == {
        "eval/rouge_l/0-2": 1,
        "eval/rouge_l/3-5": 1,
        "eval/rouge_l/6-10": None,
        "eval/rouge_l/>10": None,
        "eval/rouge_l/0-2@t1": 0,
        "eval/rouge_l/3-5@t1": None,
        "eval/rouge_l/6-10@t1": None,
        "eval/rouge_l/>10@t1": None,
    }
    assert summary.reasons["eval/rouge_l/>10"] == "no reference of that length"
    assert summary.counts["eval/rouge_l/>10"] == 0


def test_buckets_weighted_by_n_give_the_total() -> None:
    """With one reference a question, the paper's identity: sum of n_b F_b over n."""
    references = ["a", "a b c", "a b c d e f g", "a b", "x " * 20]
    rows = [row("a b c", reference) for reference in references]
    summary = summarise(score_predictions(rows, [RougeScorer()]))
    weighted = sum(
        summary.counts[name] * (value or 0)
        for name, value in summary.metrics.items()
        if "_l/" in name
    )
    assert summary.metrics["eval/rouge_l"] == pytest.approx(weighted / len(references))


def test_undefined_rouge_says_why_with_the_count() -> None:
    """Chinese references read as English: null, how many, and what to set."""
    rows = [row("yes", "你好"), row("yes", "再见")]
    summary = summarise(score_predictions(rows, [RougeScorer(lang="en")]))
    assert summary.metrics["eval/rouge_l"] is None
    assert summary.reasons["eval/rouge_l"] == (
        "undefined for 2 of 2 predictions: the reference has no English letters or digits; "
        "for Chinese text set lang=zh"
    )


def test_no_predictions_have_no_metrics() -> None:
    """Nothing is invented."""
    summary = summarise([])
    assert (summary.metrics, summary.reasons) == ({}, {})


def test_two_scorers_cannot_write_one_name() -> None:
    """One would silently win."""
    with pytest.raises(ValueError, match="two scorers write eval/rouge_1"):
        score_predictions([row("a")], [RougeScorer(), RougeScorer(use_stemmer=True)])


def with_loss(*losses: float | None) -> list[Prediction]:
    """Greedy rows that carry these losses."""
    return [replace(row("a"), scores={"eval/loss": loss}) for loss in losses]


def test_perplexity_is_the_exponential_of_the_mean_loss() -> None:
    """And not the mean of exponentials; with the loss's own n and reason."""
    summary = summarise(with_loss(0.0, 2.0, None))
    assert summary.metrics == {"eval/loss": 1.0, "eval/perplexity": pytest.approx(2.718281828)}
    assert summary.counts == {"eval/loss": 2, "eval/perplexity": 2}
    why = (
        "undefined for 1 of 3 predictions: no reference that fits the window whole, or none with a "
        "finite loss"
    )
    assert summary.reasons == {"eval/loss": why, "eval/perplexity": why}


def test_no_loss_and_one_beyond_all_numbers_have_no_perplexity() -> None:
    """Null, and why."""
    summary = summarise(with_loss(None))
    assert summary.metrics == {"eval/loss": None, "eval/perplexity": None}
    assert summary.reasons["eval/perplexity"].startswith("undefined for 1 of 1 predictions")
    summary = summarise(with_loss(1000.0))
    assert summary.metrics == {"eval/loss": 1000.0, "eval/perplexity": None}
    assert "too large" in summary.reasons["eval/perplexity"]
