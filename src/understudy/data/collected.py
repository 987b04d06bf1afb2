"""The arm that a run of ``stage=collect`` left: its answers, and who gave them.

``arm.json`` says who answered what, how they were asked, and what came of it; ``answers.jsonl``
holds the rows. Arms are called by their teacher, runs of one teacher by their folders, too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.data.files import AnswerFile
from understudy.data.instructions import ANSWERS
from understudy.data.rows import RowFile, read_rows
from understudy.records import (
    InputError,
    Instruction,
    Turn,
    instruction_id,
    read_json_object,
    teacher_names,
)

ARM = "arm.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectedAnswers(AnswerFile):
    """A teacher's answers in the folder of a run that collected them.

    Args:
        path: The run's folder, or its ``answers.jsonl``. Without a ``teacher`` the run's own is who
            answered.
    """

    def __post_init__(self) -> None:
        """Fills in the run's teacher and refuses unknown choices.

        Raises:
            InputError: The folder is that of no run that collected, or of one that has not ended.
        """
        if not self.teacher:
            object.__setattr__(self, "teacher", collected_by(self.path))
        super().__post_init__()

    @property
    def location(self) -> Path:
        """The file's own path, however the folder was written."""
        return (_folder(self.path) / ANSWERS).resolve()

    @property
    def collection(self) -> str:
        """How the answers were asked for: the same in arms that differ in their teacher alone."""
        return str(read_arm(self.path)["collection"])

    def load(self) -> RowFile:
        """The rows as they were collected; says so where somebody has changed them since.

        Raises:
            InputError: The folder is that of no run that collected, or of one that has not ended.
        """
        arm = read_arm(self.path)
        file = read_rows(_folder(self.path) / ANSWERS)
        if file.sha256 != arm["answers"]["sha256"]:
            _log.warning("%s is not as it was collected: it was changed since", file.path)
        return file

    def prompt_of(self, file: RowFile, number: int) -> Instruction:
        """The instruction of a row, with what came before it in a conversation."""
        prompt = super().prompt_of(file, number)
        earlier = file.rows[number - 1].get("history")
        if not earlier:
            return prompt
        try:
            history = tuple(Turn(str(turn["role"]), str(turn["content"])) for turn in earlier)
        except (KeyError, TypeError) as error:
            raise file.error(number, "no list of turns", field="history") from error
        key = instruction_id(prompt.instruction, prompt.input, history)
        return replace(prompt, id=key, history=history)

    def names_of(self, paths: Sequence[str]) -> Mapping[str, str]:
        """What to call who answered in each of several runs."""
        return collected_names(paths)


def read_arm(path: str | Path) -> dict[str, Any]:
    """``arm.json`` of a run.

    Args:
        path: The run's folder, or a file in it.

    Raises:
        InputError: The folder is that of no run that collected, or of one that has not ended.
    """
    file = _folder(path) / ARM
    if not file.is_file():
        raise InputError(
            f"{path} holds no {ARM}; give the folder of a run of stage=collect that has ended"
        )
    return read_json_object(file, remedy="collect anew: the replies are in the ledger")


def collected_by(path: str | Path) -> str:
    """The name of who answered in a run.

    Raises:
        InputError: The folder is that of no run that collected, or of one that has not ended.
    """
    return str(read_arm(path)["teacher"])


def collected_names(paths: Sequence[str]) -> dict[str, str]:
    """What to call who answered in each run: its teacher, with the folder where two have one."""
    teachers = {path: collected_by(path) for path in paths}
    folders = {path: str(_folder(path).resolve()) for path in teachers}
    of_folder = {folders[path]: teacher for path, teacher in teachers.items()}
    shared = Counter(of_folder.values())
    ends = teacher_names(list(folders.values()))
    return {
        path: teacher if shared[teacher] == 1 else f"{teacher}/{ends[folders[path]]}"
        for path, teacher in teachers.items()
    }


def _folder(path: str | Path) -> Path:
    place = Path(path).expanduser()
    return place.parent if place.is_file() else place
