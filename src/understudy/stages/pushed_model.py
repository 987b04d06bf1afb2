"""What ``stage=push`` saves of a run that trained: the checkpoint with its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.collected import ARM
from understudy.data.uploads import MARK
from understudy.models.adapter_folders import is_adapter
from understudy.models.folders import checkpoint_folder, load_tokenizer, read_template
from understudy.models.standalone import pools_states, standalone_bytes, write_standalone
from understudy.prompts import ChatTemplate, Template
from understudy.records import Instruction, question_from_json, read_json_object, read_jsonl
from understudy.report.cards.model_card import SavedModel, model_card
from understudy.report.cards.text import Licence
from understudy.report.labels import is_lab

STAGES = ("sft", "reward")
README = "README.md"
_LAB = "understudy.lab."
_SAYING = (ARM, MARK)
"""Files beside data that say who made it."""

_HELD_OUT, _QUESTIONS = ("held_out.jsonl", "comparisons.jsonl"), "questions.jsonl"
"""Files of a run: rows of its training data that it did not train on, and what it was asked."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the config of the run says about where its parts come from; null is unknown.

    Attributes:
        base: ``model.path``: a folder or a Hub id.
        dataset: The data set's repository on the Hub.
        made_by: The class that gave the data.
        window: Tokens of a row in training.
        data: ``data.path``: where the answers or comparisons were read.
    """

    base: str | None = None
    dataset: str | None = None
    made_by: str | None = None
    window: int = 512
    data: Any = None

    @property
    def is_lab(self) -> bool:
        """Whether the lab made the data, as far as the folder that holds it knows."""
        if (self.made_by or "").startswith(_LAB):
            return True
        if not isinstance(self.data, str):
            return False
        place = Path(self.data).expanduser()
        files = [folder / name for folder in (place, *place.parents[:2]) for name in _SAYING]
        said = [read_json_object(each, remedy="save it again") for each in files if each.is_file()]
        return any(each.get("asked", {}).get("endpoint") == "lab" for each in said) or any(
            each.get("is_lab") for each in said
        )

    @property
    def base_repo(self) -> str | None:
        """The base on the Hub; null where it is a folder, or was made here."""
        if self.base is None or self.base.count("/") != 1 or Path(self.base).expanduser().exists():
            return None
        return self.base


@dataclass(frozen=True, slots=True)
class PushedModel:
    """A checkpoint of a run of ``stage=sft`` or ``stage=reward``."""

    folder: Path
    manifest: Mapping[str, Any]
    origin: Origin
    kind = "model"

    def check(self) -> None:
        """Refuses a run without a checkpoint.

        Raises:
            InputError: It left none.
        """
        checkpoint_folder(self.folder)

    def facts(self) -> dict[str, str]:
        """What would be saved, for the plan."""
        merged = ", an adapter merged into its base" if self._was_adapter else ""
        return {"saves": f"the checkpoint {checkpoint_folder(self.folder)}{merged}"}

    @property
    def num_bytes(self) -> int:
        """About how large it is."""
        return standalone_bytes(self.folder, self.manifest.get("num_parameters"))

    def write(self, target: Path, licence: Licence) -> None:
        """The checkpoint and its card.

        Raises:
            InputError: The base of an adapter cannot be had.
            RunError: It cannot be written.
        """
        write_standalone(self.folder, target)
        template = read_template(target)
        held_out = [row for name in _HELD_OUT for row in _prompts(self.folder / name)]
        model = SavedModel(
            title=(licence.repo or self.manifest["name"]).rpartition("/")[2],
            template=template,
            prompt=_prompt(target, template, held_out or _prompts(self.folder / _QUESTIONS)),
            languages=sorted({each.lang for each in held_out}),
            base_repo=self.origin.base_repo,
            datasets=[self.origin.dataset] if self.origin.dataset else [],
            is_lab=self.is_lab,
            was_adapter=self._was_adapter,
            window=self.origin.window,
            is_pooled=self.manifest["stage"] == "reward" and pools_states(target),
        )
        card = model_card(self.folder, self.manifest, model, licence)
        (target / README).write_text(card, encoding="utf-8")

    @property
    def is_lab(self) -> bool:
        """Whether it is the lab's."""
        return is_lab(self.manifest["metrics"]) or self.origin.is_lab

    @property
    def _was_adapter(self) -> bool:
        return is_adapter(checkpoint_folder(self.folder))


def _prompts(file: Path) -> list[Instruction]:
    """What a file of questions or comparisons asks; none where there is no such file."""
    if not file.is_file():
        return []
    return [question_from_json({"references": {}, **row}).prompt for row in read_jsonl(file)]


def _prompt(target: Path, template: Template | None, asked: list[Instruction]) -> str:
    """The shortest thing that was asked, as the model reads it."""
    prompt = min(
        asked,
        key=lambda each: (len(each.history), len(each.instruction) + len(each.input)),
        default=Instruction(id="", instruction="Name three primary colors."),
    )
    if not isinstance(template, ChatTemplate):
        return (
            prompt.instruction
            if template is None
            else template.render(prompt.instruction, prompt.input)
        )
    tokenizer = load_tokenizer(str(target))
    text = tokenizer.apply_chat_template(
        template.messages(prompt),
        chat_template=template.fixed_text,
        tokenize=False,
        add_generation_prompt=True,
    )
    return str(text)
