"""Seed files in both schemas, and what is refused with file and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.lab.invention.seed_tasks import LabSeeds
from understudy.lab.world import World, full_world
from understudy.records import InputError
from understudy.teacher.selfinstruct.filters import Instance
from understudy.teacher.selfinstruct.seeds import Seeds, SeedTask, SeedTasks

RELEASED: dict[str, Any] = {
    "id": "seed_task_0", "name": "greeting", "instruction": "Greet the guest. ",
    "instances": [{"input": "Ann", "output": "Hello, Ann!"}, {"input": "Bo", "output": "Hi, Bo!"}],
    "is_classification": False,
}  # fmt: skip
ALPACA: dict[str, Any] = {"instruction": "Name a colour.", "input": "<noinput>", "output": "Red."}


def read(path: Path, rows: list[dict[str, Any]], *, with_instances: bool = True) -> SeedTasks:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    seeds = Seeds(str(path), LabSeeds(World()))
    return seeds.read(num_shown=1, with_instances=with_instances)


def test_both_schemas_and_a_repeated_instruction(tmp_path: Path) -> None:
    found = read(tmp_path / "s.jsonl", [RELEASED, ALPACA, {**ALPACA, "output": "Blue."}])
    assert found.tasks == (
        SeedTask("Greet the guest.", Instance("Ann", "Hello, Ann!"), is_classification=False),
        SeedTask("Name a colour.", Instance("", "Red.")),
    )
    assert found.dropped == {"duplicate_instruction": 1}
    assert found.inputs == (found.file,)
    assert found.file.rows == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"instruction": None}, r"row 2 field 'instruction': is null"),
        ({"instruction": "  "}, r"row 2 field 'instruction': empty"),
        ({"is_classification": "no"}, r"row 2 field 'is_classification': is a text"),
        ({"instances": {}}, r"row 2 field 'instances': is an object, not a list"),
        ({"instances": ["x"]}, r"row 2 field 'instances\[0\]': is a text"),
        ({"instances": [{"input": "a", "output": 1}]}, r"'instances\[0\].output': is a number"),
        ({"instances": []}, r"row 2 field 'output': has no output to show"),
        ({"instances": [{"input": "a", "output": ""}]}, r"row 2 .* has no output to show"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path / "s.jsonl", [ALPACA, {**RELEASED, **wrong}])
    assert "s.jsonl" in str(caught.value)


def test_instructions_alone_suffice_where_nothing_else_is_shown(tmp_path: Path) -> None:
    rows = [{"instruction": "Name a colour."}, {**RELEASED, "instances": []}]
    found = read(tmp_path / "s.jsonl", rows, with_instances=False)
    assert [task.instance for task in found.tasks] == [None, None]


def test_too_few_seeds_say_what_to_type(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps([ALPACA]))
    with pytest.raises(InputError, match=r"1 different seed tasks.*shows 3.*num_in_context=1"):
        Seeds(str(path), LabSeeds(World())).read(num_shown=3, with_instances=True)


@pytest.mark.parametrize(("world", "count"), [(World(), 33), (full_world(), 27)])
def test_the_labs_own_seeds_have_their_right_answers(world: World, count: int) -> None:
    seeds = Seeds(None, LabSeeds(world))
    assert seeds.are_the_labs
    found = seeds.read(num_shown=8, with_instances=True)
    assert len(found.tasks) == count == len({task.instruction for task in found.tasks})
    first = next(task for task in found.tasks if task.instruction == "give the first item")
    assert first.instance is not None
    assert first.instance.output == first.instance.input.split()[0]
    assert sum(bool(task.is_classification) for task in found.tasks) == 3
    assert found.inputs == ()
    assert found.file == seeds.read(num_shown=8, with_instances=True).file
