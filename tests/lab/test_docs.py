"""docs/lab.md tells the truth: its tables are what the code says now, its examples run.

A table that has changed is shown in the failure as it must be; paste it into the page.
"""

import doctest
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.lab import exercises, family, lexicon
from understudy.lab.exercises import exercise_of
from understudy.lab.families import FAMILIES
from understudy.lab.family import Words
from understudy.lab.questions import SPLITS, LabQuestions
from understudy.lab.scoring import LabScorer
from understudy.lab.teachers import HABITS, LabTeacher
from understudy.lab.world import World, full_world
from understudy.records import Completion, Question

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"
NEW_IN = {
    "test": "the inputs",
    "unseen_paraphrase": "the wording, about the first inputs of `test`",
    "unseen_length": "lists of 8 items, training has 3 to 7",
    "unseen_family": "the families, held out of training",
    "dev": "the inputs; for choices made along the way",
}


def table(header: str, rows: list[list[str]]) -> str:
    rule = "|---" * (header.count("|") - 1) + "|"
    return "\n".join([header, rule, *("| " + " | ".join(row) + " |" for row in rows)])


def code(words: Words) -> str:
    return f"`{' '.join(words)}`"


def family_table() -> str:
    """Each family's first training prompt on which the wrong procedure goes wrong."""
    examples: dict[str, list[str]] = {}
    for row in LabTeacher(World(families=tuple(FAMILIES))).read().rows:
        exercise = exercise_of(row.prompt, full_world())
        assert exercise is not None
        tasks, words = exercise.family, exercise.words
        if tasks.gold(words) != tasks.systematic_error(words):
            answers = (tasks.explain(words), tasks.gold(words), tasks.systematic_error(words))
            cells = [tasks.name, exercise.instruction, code(words), *map(code, answers)]
            examples.setdefault(tasks.name, cells)
    header = "| family | an instruction | an input | explanation | gold | systematic error |"
    return table(header, [examples[name] for name in FAMILIES])


def teacher_table() -> str:
    """Realised accuracy over the default training rows, and answers to one telling prompt."""
    prompt = telling_row().prompt
    rows = []
    for name in HABITS:
        answer = LabTeacher(World(), name).answers([prompt])[prompt.id]
        outputs = [row.output for row in LabTeacher(World(), name).read().rows]
        num_words = sum(len(output.split()) for output in outputs) / len(outputs)
        accuracies = [f"{accuracy(world, name):.2f}" for world in (World(), full_world())]
        rows.append([f"`{name}`", *accuracies, f"{num_words:.1f}", f"`{answer}`"])
    header = "| teacher | right, fast world | right, full world | words an answer | its answer |"
    return table(header, rows)


def telling_row() -> Completion:
    """The first row where medium and weak make the same mistake and strong does not."""
    names = ("strong", "medium", "weak")
    strongs, mediums, weaks = (LabTeacher(World(), name).read().rows for name in names)
    for strong, medium, weak in zip(strongs, mediums, weaks, strict=True):
        if medium.output == weak.output and not strong.output.endswith(medium.output):
            return strong
    raise AssertionError("medium and weak never make the same mistake")


def accuracy(world: World, name: str) -> float:
    scorer = LabScorer(world, name)
    rows = LabTeacher(world, name).read().rows
    scores = [
        scorer.score(Question(replace(row.prompt, split="test")), row.output)["eval/lab_accuracy"]
        for row in rows
    ]
    return sum(score or 0.0 for score in scores) / len(scores)


def split_table() -> str:
    worlds = (World(), full_world())
    counts = [
        Counter(q.prompt.split for q in LabQuestions(world, splits=SPLITS).questions())
        for world in worlds
    ]
    rows = [
        [f"`{split}`", NEW_IN[split], *(str(count[split]) for count in counts)] for split in SPLITS
    ]
    return table("| split | what is new | fast world | full world |", rows)


def test_the_table_of_families_is_true() -> None:
    assert family_table() in PAGE.read_text(encoding="utf-8"), family_table()


def test_the_table_of_teachers_is_true() -> None:
    page, prompt = PAGE.read_text(encoding="utf-8"), telling_row().prompt
    assert teacher_table() in page, teacher_table()
    assert f"`{prompt.instruction}`, `{prompt.input}`" in page, prompt


def test_the_table_of_splits_is_true() -> None:
    assert split_table() in PAGE.read_text(encoding="utf-8"), split_table()


def test_the_pages_examples_run() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted >= 5
    assert result.failed == 0


@pytest.mark.parametrize("module", [exercises, family, lexicon])
def test_docstring_examples_run(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type] # modules have no common type
    assert result.attempted > 0
    assert result.failed == 0
