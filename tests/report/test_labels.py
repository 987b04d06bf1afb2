"""Metric names are taken apart and numbers are written for readers."""

import pytest

from understudy.report.labels import (
    MetricName,
    headline_metric,
    main_metrics,
    metric_label,
    number,
    p_value,
    parse_metric,
    parts_of,
    parts_of_kind,
    spread,
)


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("eval/lab_accuracy", MetricName("eval/lab_accuracy")),
        ("eval/lab_accuracy@t1", MetricName("eval/lab_accuracy", "", "t1")),
        ("eval/lab_accuracy/count@t1", MetricName("eval/lab_accuracy", "count", "t1")),
        ("eval/lab_accuracy@t1/count", MetricName("eval/lab_accuracy", "count", "t1")),
        ("eval/rouge_l/>10", MetricName("eval/rouge_l", ">10")),
        ("loss", MetricName("loss")),
        ("eval/loss", MetricName("eval/loss")),
        ("eval/loss/gpt4/alpaca@1", MetricName("eval/loss/", "gpt4/alpaca@1")),
        ("eval/loss/a=b,c:d@t1", MetricName("eval/loss/", "a=b,c:d@t1")),
        ("eval/rouge_l/against:gpt4/alpaca", MetricName("eval/rouge_l", "against:gpt4/alpaca")),
        ("eval/rouge_l/against:a@v2,b:c=d", MetricName("eval/rouge_l", "against:a@v2,b:c=d")),
        ("eval/rouge_l/against:a@v2@t1", MetricName("eval/rouge_l", "against:a@v2", "t1")),
        ("eval/rouge_l@t1/against:a@v2", MetricName("eval/rouge_l", "against:a@v2", "t1")),
    ],
)
def test_metric_names(metric: str, name: MetricName) -> None:
    assert parse_metric(metric) == name


def test_labels() -> None:
    assert metric_label("eval/lab_accuracy/split:unseen_length@t1") == (
        "exact-answer accuracy, unseen length, sampled at T=1"
    )
    assert metric_label("eval/new") == "eval/new"
    assert metric_label("eval/rouge_l/against:my_gpt:4/a@b") == (
        "ROUGE-L, against my_gpt:4/a@b's answers"
    )
    assert metric_label("eval/answer_words") == "answer length, words"
    assert metric_label("eval/answer_words/lang:zh") == "answer length, words, Chinese"
    assert metric_label("eval/loss/lab_weak") == "loss on lab_weak's held-out answers"


def test_lab_accuracy_stands_before_rouge_and_a_loss_never_ranks() -> None:
    assert headline_metric(["eval/rouge_l", "eval/lab_accuracy", "val/loss"]) == "eval/lab_accuracy"
    assert headline_metric(["eval/rouge_l", "eval/rouge_l/0-2"]) == "eval/rouge_l"
    unranked = ["val/loss", "train/tokens_per_second", "eval/answer_words", "eval/loss/a"]
    assert headline_metric(unranked) is None


def test_main_metrics_are_whole_evaluations_headline_first() -> None:
    metrics = ["eval/rouge_l", "eval/lab_accuracy@t1", "eval/new", "val/loss",
               "eval/lab_accuracy/max", "eval/lab_accuracy"]  # fmt: skip
    assert main_metrics(metrics) == [
        "eval/lab_accuracy", "eval/lab_accuracy@t1", "eval/rouge_l", "eval/new"
    ]  # fmt: skip
    others = ["eval/loss/strong", "eval/answer_words", "eval/rouge_l/lang:zh", "eval/loss"]
    assert main_metrics(others) == ["eval/answer_words", "eval/loss"]


def test_parts_keep_to_their_decoding() -> None:
    metrics = ["eval/rouge_l", "eval/rouge_l/0-2", "eval/rouge_l/0-2@t1", "eval/rouge_1/0-2"]
    assert parts_of("eval/rouge_l", metrics) == {"0-2": "eval/rouge_l/0-2"}
    assert parts_of("eval/rouge_l", metrics, "t1") == {"0-2": "eval/rouge_l/0-2@t1"}
    kinds = [f"eval/rouge_l/{part}" for part in ("lang:zh", "lang:zh@t1", "set:zh", "zh")]
    assert parts_of_kind("eval/rouge_l", kinds, "lang") == {"zh": "eval/rouge_l/lang:zh"}
    assert parts_of("eval/loss", ["eval/loss/strong"]) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"), (0.0, ".000"), (0.2484, ".248"), (0.9996, "1.00"), (1.0, "1.00"),
        (-0.25, "\N{MINUS SIGN}.250"), (-0.0001, ".000"), (12.34, "12.3"), (99.97, "100"),
        (10_001.6, "10,002"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_signs_p_values_and_intervals() -> None:
    assert number(0.1, signed=True) == "+.100"
    assert number(0.0, signed=True) == ".000"
    assert [p_value(value) for value in (1e-5, 0.049, 1.0, None)] == ["< .001", ".049", "1.00", "—"]
    assert spread(0.2, 0.3, signed=True) == "[+.200, +.300]"
    assert spread(None, 0.3) == ""
