"""The card of a data set: who was asked what and how, what came of it, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.data.language import detect_language
from understudy.metrics.rouge import num_words
from understudy.report.cards.fields import fields_table
from understudy.report.cards.text import (
    LAB,
    UNKNOWN,
    Licence,
    counts_in_words,
    excerpt,
    fenced,
    fields,
    origin,
    section,
    size_category,
    table,
)

Row = Mapping[str, Any]
_MEASURED = ("instruction", "input", "output", "user_input")
_CHINESE = "zh"
_CUT = 600


@dataclass(frozen=True, slots=True)
class SavedData:
    """What is known of a data set beside its run's manifest.

    Attributes:
        title: What the card calls it.
        what: A sentence that says what the rows are.
        task: Of the Hub's task categories.
        splits: The rows by split.
        types: The type of each field.
        paths: Where each split's file is.
        arm: What ``arm.json`` says, {} where there is none.
        is_lab: Whether it is the lab's.
        uses: What it is for, a sentence each.
        load: How a further run of Understudy reads it, "" where none does.
    """

    title: str
    what: str
    task: str
    splits: Mapping[str, Sequence[Row]]
    types: Mapping[str, str]
    paths: Mapping[str, str]
    arm: Mapping[str, Any]
    is_lab: bool
    uses: Sequence[str]
    load: str

    @property
    def rows(self) -> Iterator[Row]:
        """All rows."""
        return (row for rows in self.splits.values() for row in rows)

    @property
    def num_rows(self) -> int:
        """Of all splits."""
        return sum(map(len, self.splits.values()))

    @property
    def languages(self) -> list[str]:
        """Of the rows, where they say so."""
        return sorted({language_of(row) for row in self.rows})


def language_of(row: Row) -> str:
    """What the row says, else what the letters of its texts do."""
    return str(row.get("lang") or detect_language(" ".join(text for _, text in _texts(row))))


def data_card(manifest: Mapping[str, Any], data: SavedData, licence: Licence) -> str:
    """The README of a data set's folder, with the Hub's metadata on top."""
    parts = [
        f"# {data.title}",
        data.what,
        LAB if data.is_lab else "",
        section("What is in it", *_content(data)),
        section("Who was asked, and how", *_asked(manifest, data)),
        section("What came, and what it cost", _outcome(manifest, data)),
        section("Lengths", *_lengths(data)),
        section("A row", fenced(_example(data), "json")),
        section("How to load it", *_loading(data, licence)),
        section("What it is for", *_uses(data)),
        section("Licence and terms", licence.in_words, _terms(manifest, data)),
        origin(manifest),
    ]
    return f"{_metadata(data, licence)}\n" + "\n\n".join(filter(None, parts)) + "\n"


def _metadata(data: SavedData, licence: Licence) -> str:
    from huggingface_hub import DatasetCardData  # noqa: PLC0415 - heavy

    files = [{"split": split, "path": path} for split, path in data.paths.items()]
    card = DatasetCardData(
        language=data.languages or None,
        license=licence.id,
        size_categories=[size_category(data.num_rows)],
        task_categories=[data.task],
        pretty_name=data.title,
        tags=["understudy", "instruction-tuning", *(["lab"] if data.is_lab else [])],
        configs=[{"config_name": "default", "data_files": files}],
    )
    return f"---\n{card.to_yaml()}\n---\n"


def _content(data: SavedData) -> list[str]:
    counts = {split: f"{len(rows):,} rows" for split, rows in data.splits.items()}
    languages: dict[str, int] = {}
    for row in data.rows:
        name = language_of(row)
        languages[name] = languages.get(name, 0) + 1
    return [
        fields({**counts, "languages": counts_in_words(languages)}),
        fields_table(data.types),
    ]


def _asked(manifest: Mapping[str, Any], data: SavedData) -> list[str]:
    asking = manifest.get("asking") or {}
    template = data.arm.get("template") or {}
    comparable = manifest.get("comparable") or {}
    params = asking.get("params")
    returned = (asking.get("used") or {}).get("models") or {}
    said = {
        "instructions of": data.arm.get("data") or manifest.get("name"),
        "instructions, sha256": data.arm.get("prompts_sha256") or comparable.get("prompts"),
        "who was asked": asking.get("name") or manifest.get("teacher"),
        "model, as asked for": asking.get("model") or manifest.get("base_model"),
        "model, as the server called it": counts_in_words(returned) if returned else None,
        "API": asking.get("api"),
        "parameters": None
        if params is None
        else ", ".join(f"{name} {json.dumps(value)}" for name, value in params.items()),
        "parameters left out": ", ".join(map(str, asking.get("refused") or ())) or "none",
        "through the Batch API": {True: "yes", False: "no"}.get(asking.get("batch", UNKNOWN)),
        "template": template.get("name"),
        "template, sha256": template.get("sha256") or comparable.get("template"),
        "decoding": comparable.get("decoding") or data.arm.get("collection"),
    }
    return [fields(said)]


def _outcome(manifest: Mapping[str, Any], data: SavedData) -> str:
    asking = manifest.get("asking") or {}
    used = asking.get("used") or {}
    counts = data.arm.get("counts") or _counts_of(manifest)
    return fields(
        {
            **{name.replace("_", " "): _number(count) for name, count in counts.items()},
            "left out before asking": counts_in_words(
                data.arm.get("left_out") or manifest.get("dropped") or {}
            ),
            "prompt tokens": _number(used.get("prompt_tokens")),
            "completion tokens": _number(used.get("completion_tokens")),
            "cost, USD": None if used.get("usd") is None else f"{used['usd']:,.4f}",
            "prices of": asking.get("prices_of"),
            "replies received": f"from {used.get('first_reply') or UNKNOWN} "
            f"to {used.get('last_reply') or UNKNOWN}",
        }
    )


def _counts_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The counts that the run's own metrics hold, for runs without an ``arm.json``."""
    prefix = f"{manifest['stage']}/"
    return {
        name.removeprefix(prefix): value
        for name, value in manifest["metrics"].items()
        if name.startswith(prefix)
    }


def _lengths(data: SavedData) -> list[str]:
    texts: dict[tuple[str, str], list[int]] = {}
    for row in data.rows:
        lang = language_of(row)
        for name, text in _texts(row):
            texts.setdefault((name, lang), []).append(num_words(text, lang=lang))
    rows = [
        (f"`{name}`", lang, "characters" if lang == _CHINESE else "words", f"{len(lengths):,}",
         *(f"{value:,.0f}" for value in _quantiles(lengths)))
        for (name, lang), lengths in texts.items()
    ]  # fmt: skip
    head = ("field", "language", "unit", "texts", "mean", "median", "95 % are below", "longest")
    return [
        "Empty texts are not counted. In Chinese a character is one, and so is a foreign word.",
        table(head, rows),
    ]


def _texts(row: Row) -> Iterator[tuple[str, str]]:
    for name in _MEASURED:
        if row.get(name):
            yield name, str(row[name])
    for each in row.get("responses_and_scores") or ():
        if each["response"]:
            yield f"response of {each['source']}", each["response"]


def _quantiles(lengths: Sequence[int]) -> tuple[float, float, float, float]:
    values = np.asarray(lengths)
    return (
        float(values.mean()),
        float(np.median(values)),
        float(np.percentile(values, 95)),
        float(values.max()),
    )


def _example(data: SavedData) -> str:
    row = next(data.rows)
    shown = {
        key: excerpt(value) if isinstance(value, str) else value
        for key, value in row.items()
        if key in data.types
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _loading(data: SavedData, licence: Licence) -> list[str]:
    where = licence.repo or "FOLDER"
    code = f"from datasets import load_dataset\n\nrows = load_dataset({where!r})\nprint(rows)"
    return [
        fenced(code, "python"),
        *(["In Understudy, from this folder:", fenced(data.load, "bash")] if data.load else []),
    ]


def _uses(data: SavedData) -> list[str]:
    said = [
        *data.uses,
        "Texts of a model hold errors, inventions and biases; nobody has checked the rows one by "
        "one. What flags and counts say is told by the surface of the texts alone.",
    ]
    if data.is_lab:
        said.append("What the lab's programs wrote is of no use outside of the lab.")
    return ["\n".join(f"- {each}" for each in said)]


def _terms(manifest: Mapping[str, Any], data: SavedData) -> str:
    theirs = (
        "The instructions, and whatever else the rows took over, keep the licence of the data that "
        "they come from. Neither is replaced by the licence above."
    )
    if data.is_lab:
        return f"What the lab's programs wrote falls under no provider's terms. {theirs}"
    asking = manifest.get("asking") or {}
    who = asking.get("model") or manifest.get("teacher") or UNKNOWN
    return (
        f"Outputs of a model behind an API, here of {who}, fall under its provider's terms, which "
        f"may forbid to train competing models on them. {theirs}"
    )


def _number(value: object) -> str | None:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else None
