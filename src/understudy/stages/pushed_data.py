"""What ``stage=push`` saves of a run that asked: its rows as a data set with its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.collected import ARM
from understudy.data.tables import by_split, path_of, write_splits
from understudy.records import InputError, read_json_object, read_jsonl
from understudy.report.cards.data_card import SavedData, data_card
from understudy.report.cards.text import UNKNOWN, Licence
from understudy.report.labels import is_lab as has_lab_metrics

README = "README.md"
_LAB = "lab"
_TEXT = "text-generation"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the rows of a stage are.

    Attributes:
        file: In the run folder.
        what: A sentence; ``{teacher}`` is who wrote the texts, ``{rows}`` how many there are.
        task: Of the Hub's categories.
        uses: A sentence each.
        load: A line of Understudy that reads the file ``{path}`` of a split; "" is none.
    """

    file: str
    what: str
    task: str
    uses: tuple[str, ...]
    load: str


KINDS: Mapping[str, Kind] = {
    "collect": Kind(
        "answers.jsonl",
        "Answers of {teacher} to {rows} instructions, one each, as they came: an arm of a "
        "comparison of teachers.",
        _TEXT,
        ("Fine-tuning a model to follow instructions, and comparing what different teachers are "
         "worth: rows have the same id in every teacher's data.",),
        "python run.py stage=sft data=alpaca_json data.path={path}",
    ),
    "translate": Kind(
        "instructions.jsonl",
        "{rows} instructions in Chinese, translated by a model and checked for what a translation "
        "must keep; they have no answers yet.",
        "translation",
        ("Asking a teacher in Chinese.",),
        "python run.py stage=collect lang=zh data=instructions data.path={path}",
    ),
    "rate": Kind(
        "comparisons.jsonl",
        "Answers to {rows} prompts, each answer rated alone from 1 to 10 by {teacher}, in the "
        "schema of GPT-4-LLM's second comparison file.",
        "text-ranking",
        ("Training and testing a reward model.",),
        "python run.py stage=reward data=comparison_json data.path={path}",
    ),
    "selfinstruct": Kind(
        "instructions.jsonl",
        "{rows} instructions with an input and an answer, invented by {teacher} from a few seed "
        "tasks and filtered for novelty.",
        _TEXT,
        ("Asking teachers, and fine-tuning on the answers that came with the instructions.",),
        "python run.py stage=collect data=instructions data.path={path}",
    ),
    "sample": Kind(
        "samples.jsonl",
        "{rows} answers of {teacher}, several to each question, with their scores.",
        _TEXT,
        ("Looking at how answers of one model differ, and ranking them.",),
        "",
    ),
}  # fmt: skip
"""By the stage that leaves them."""


@dataclass(frozen=True, slots=True)
class PushedData:
    """The rows of a run that asked."""

    folder: Path
    manifest: Mapping[str, Any]
    kind = "dataset"

    def check(self) -> None:
        """Refuses a run without rows.

        Raises:
            InputError: It left none.
        """
        if not self._file.is_file() or not self._file.stat().st_size:
            raise InputError(f"{self._file} holds no rows, so there is nothing to save")

    def facts(self) -> dict[str, str]:
        """What would be saved, for the plan."""
        return {"saves": f"the rows of {self._file}"}

    @property
    def num_bytes(self) -> int:
        """At most how large it is: as large as the rows are now, uncompressed."""
        return self._file.stat().st_size

    def write(self, target: Path, licence: Licence) -> None:
        """The rows and their card.

        Raises:
            InputError: A line is no JSON, or a field holds values of several types.
            RunError: It cannot be written.
        """
        splits = by_split(read_jsonl(self._file))
        types = write_splits(splits, target)
        chosen, asking = self._kind, self.manifest.get("asking") or {}
        teacher = asking.get("name") or self.manifest.get("teacher") or UNKNOWN
        num_rows = sum(map(len, splits.values()))
        first = path_of(next(iter(splits)))
        data = SavedData(
            title=(licence.repo or self.manifest["name"]).rpartition("/")[2],
            what=chosen.what.format(teacher=teacher, rows=f"{num_rows:,}"),
            task=chosen.task,
            splits=splits,
            types=types,
            paths={split: path_of(split) for split in splits},
            arm=self._arm(),
            is_lab=self.is_lab,
            uses=chosen.uses,
            load=chosen.load.format(path=f"FOLDER/{first}"),
        )
        card = data_card(self.manifest, data, licence)
        (target / README).write_text(card, encoding="utf-8")

    @property
    def _kind(self) -> Kind:
        return KINDS[self.manifest["stage"]]

    @property
    def _file(self) -> Path:
        return self.folder / self._kind.file

    @property
    def is_lab(self) -> bool:
        """Whether the lab wrote the texts: one of its models, or one that learned from it."""
        asking = self.manifest.get("asking") or {}
        return asking.get("endpoint") == _LAB or has_lab_metrics(self.manifest["metrics"])

    def _arm(self) -> dict[str, Any]:
        file = self.folder / ARM
        return read_json_object(file, remedy="collect again") if file.is_file() else {}
