"""The card of a model: what it learned from whom, how it is asked, what it reached, what it cannot.

Metrics come with their intervals, beside the untuned base and the teacher, as a report gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.prompts import ChatTemplate, Template
from understudy.report.cards.text import (
    LAB,
    UNKNOWN,
    Licence,
    counts_in_words,
    fenced,
    fields,
    origin,
    section,
    table,
    without_folders,
)
from understudy.report.cards.usage import causal_code, pooled_code, reward_code
from understudy.report.compare import Comparison, Row, Summary, compare
from understudy.report.labels import main_metrics, metric_label, number, spread, unit_of
from understudy.report.read.runs import load_runs

REWARD, SFT = "reward", "sft"
_MAX_METRICS = 16


@dataclass(frozen=True, slots=True)
class SavedModel:
    """What is known of a model beside its run's manifest.

    Attributes:
        title: What the card calls it.
        template: That of its prompts; null where the checkpoint does not say.
        prompt: One prompt as the model was trained on, rendered.
        languages: Of what it learned from, none where that is unknown.
        base_repo: The base model on the Hub, where it came from there.
        datasets: What it learned from on the Hub.
        is_lab: Whether it is the lab's.
        was_adapter: Whether an adapter was merged into the weights.
        is_pooled: Whether a reward is read from several hidden states.
        window: Tokens of a row in training.
    """

    title: str
    template: Template | None
    prompt: str
    languages: Sequence[str]
    base_repo: str | None = None
    datasets: Sequence[str] = ()
    is_lab: bool = False
    was_adapter: bool = False
    is_pooled: bool = False
    window: int = 512


def model_card(
    run_folder: Path, manifest: Mapping[str, Any], model: SavedModel, licence: Licence
) -> str:
    """The README of a model's folder, with the Hub's metadata on top."""
    is_reward = manifest["stage"] == REWARD
    parts = [
        f"# {model.title}",
        _summary(manifest, model),
        LAB if model.is_lab else "",
        section("How to use it", *_usage(model, licence, is_reward=is_reward)),
        section("What it was trained on", _training(manifest)),
        section("Its prompts", *_prompts(model)),
        section("What it reached", *_results(compare(load_runs(run_folder)))),
        section("Limits", *_limits(manifest, model, is_reward=is_reward)),
        section("Licence and terms", licence.in_words, _terms(manifest, model)),
        origin(manifest),
    ]
    return (
        f"{_metadata(model, licence, is_reward=is_reward)}\n"
        + "\n\n".join(filter(None, parts))
        + "\n"
    )


def _metadata(model: SavedModel, licence: Licence, *, is_reward: bool) -> str:
    from huggingface_hub import ModelCardData  # noqa: PLC0415 - heavy

    data = ModelCardData(
        base_model=model.base_repo,
        datasets=list(model.datasets) or None,
        language=list(model.languages) or None,
        license=licence.id,
        library_name="transformers",
        pipeline_tag="text-classification" if is_reward else "text-generation",
        tags=["understudy", "reward-model" if is_reward else "instruction-tuning"]
        + (["lab"] if model.is_lab else []),
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _summary(manifest: Mapping[str, Any], model: SavedModel) -> str:
    base = model.base_repo or manifest.get("base_model") or "a base whose name is unknown"
    teacher = manifest.get("teacher") or "a teacher whose name is unknown"
    budget = manifest.get("budget") or {}
    if manifest["stage"] == REWARD:
        return (
            f"A reward model on {base}: it gives an answer to a prompt one number, and was trained "
            f"on the comparisons of {teacher} ({_amount(budget, 'pairs')} pairs of "
            f"{_amount(budget, 'prompts')} prompts, each counted as often as it was seen)."
        )
    return (
        f"{base}, fine-tuned to follow instructions on the answers of {teacher} "
        f"({_amount(budget, 'examples')} examples, each counted as often as it was seen)."
    )


def _usage(model: SavedModel, licence: Licence, *, is_reward: bool) -> list[str]:
    where = licence.repo or "FOLDER"
    is_chat = isinstance(model.template, ChatTemplate)
    if not is_reward:
        code = causal_code(where, model.prompt, is_chat=is_chat)
        return [fenced(code, "python"), "The prompt must be written as in training; see below."]
    if model.is_pooled:
        code = pooled_code(where, model.window)
    else:
        code = reward_code(where, model.prompt, is_chat=is_chat)
    how = (
        "Its hidden states are pooled in a way of Understudy's own (`reward_pooling` in "
        "`config.json`), which transformers alone does not know."
        if model.is_pooled
        else "The reward is read at the last token, the end token of the answer."
    )
    return [
        fenced(code, "python"),
        how,
        "Only differences between answers to one prompt mean anything.",
    ]


def _training(manifest: Mapping[str, Any]) -> str:
    budget = manifest.get("budget") or {}
    comparable = manifest.get("comparable") or {}
    contamination = manifest.get("contamination") or {}
    seconds = (manifest.get("timings") or {}).get("training")
    return fields(
        {
            "teacher": manifest.get("teacher"),
            "arm": without_folders(manifest.get("arm") or "") or None,
            "base model": manifest.get("base_model"),
            "base model, sha256 or commit": comparable.get("base_model"),
            "parameters": _number(manifest.get("num_parameters")),
            "trained parameters": _number(manifest.get("num_trainable_parameters")),
            "held equal between arms": budget.get("kind"),
            "examples seen": _amount(budget, "examples"),
            "tokens seen": _amount(budget, "tokens"),
            "tokens with a label": _amount(budget, "supervised_tokens"),
            "optimizer steps": _amount(budget, "steps"),
            "recipe": comparable.get("recipe"),
            "objective": comparable.get("objective") or "next token of the answers",
            "window and mask": comparable.get("encoding"),
            "rows left out": counts_in_words(manifest.get("dropped") or {}),
            "rows cut": counts_in_words(manifest.get("truncated") or {}),
            "rows that are test questions": (
                f"{contamination.get('exact', 0)} exactly, {contamination.get('near', 0)} nearly "
                f"(mode {contamination.get('mode', UNKNOWN)})"
            ),
            "training prompts, sha256": comparable.get("prompts"),
            "seed": manifest["seed"],
            "seconds of training": None if seconds is None else f"{seconds:,.0f}",
        }
    )


def _prompts(model: SavedModel) -> list[str]:
    template = model.template
    if template is None:
        return ["The checkpoint does not say which template it was trained with.",
                "A prompt:", fenced(model.prompt)]  # fmt: skip
    is_chat = isinstance(template, ChatTemplate)
    kept = "the tokenizer's own chat template" if is_chat else template.name
    known = {
        "template": kept,
        "sha256": template.sha256,
        "between prompt and answer": repr(template.response_sep) if template.response_sep
        else "nothing",
    }  # fmt: skip
    return [
        "Prompts written in another way measure the way, not the model.",
        fields(known),
        "A prompt:",
        fenced(model.prompt),
    ]


def _results(comparison: Comparison) -> list[str]:
    if not comparison.arms:
        return ["The run left no result that can be read."]
    own = comparison.arms[0]
    shown = [*main_metrics(own.metrics)][:_MAX_METRICS]
    if not shown:
        return ["The run was not evaluated."]
    columns = [own, *comparison.baselines]
    head = ["metric", "this model", *(row.name for row in comparison.baselines)]
    rows = [[_named(metric), *_cells(columns, metric)] for metric in shown]
    left = len(own.metrics) - len(shown)
    unit = unit_of(shown[0])
    return [
        f"Means with 95 % bootstrap intervals over {unit}; n is their number. One seed: the "
        "intervals hold no noise of training.",
        table(head, rows),
        f"{left:,} further metrics, of parts of the {unit} among them, are in the run's "
        "`manifest.json`."
        if left
        else "",
    ]


def _named(metric: str) -> str:
    label = metric_label(metric)
    return f"`{metric}`" if label.startswith("eval/") else f"{label} (`{metric}`)"


def _cells(columns: Sequence[Row], metric: str) -> list[str]:
    return [_cell(row.metrics.get(metric)) for row in columns]


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return "not measured"
    if summary.mean is None:
        return f"undefined: {summary.reason or UNKNOWN}"
    interval = spread(summary.low, summary.high) or "no interval"
    return f"{number(summary.mean)} {interval}, n {summary.n:,}"


def _limits(manifest: Mapping[str, Any], model: SavedModel, *, is_reward: bool) -> list[str]:
    languages = ", ".join(model.languages) or UNKNOWN
    said = [
        f"Trained on text in: {languages}. In other languages nothing was measured.",
        "It was trained by imitation of another model's text and repeats that model's errors, "
        "inventions and biases; nothing here makes it safe or truthful.",
    ]
    if is_reward:
        said = [
            said[0],
            "It repeats the judgements that it was trained on, their biases (such as one for "
            "length) included. A policy that is optimised against it will find its errors.",
        ]
    window = (manifest.get("comparable") or {}).get("encoding")
    said.append(f"Longer texts than its window were not seen in training: {window or UNKNOWN}.")
    if model.was_adapter:
        said.append("An adapter was trained and is merged into these weights.")
    if model.is_lab:
        said.append("It knows the lab's few words only and is of no use outside of it.")
    return ["\n".join(f"- {each}" for each in said)]


def _terms(manifest: Mapping[str, Any], model: SavedModel) -> str:
    if model.is_lab:
        return (
            "All of its training text was made by programs of Understudy; no provider is involved."
        )
    base = model.base_repo or manifest.get("base_model") or UNKNOWN
    return (
        f"The weights derive from the base model ({base}) and fall under its licence, too. The "
        f"training text was written by {manifest.get('teacher') or UNKNOWN}: outputs of a model "
        "behind an API fall under its provider's terms, which may forbid to train competing models "
        "on them. Neither is replaced by the licence above."
    )


def _amount(budget: Mapping[str, Any], key: str) -> str:
    return _number(budget.get(key)) or UNKNOWN


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,}"
