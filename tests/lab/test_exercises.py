"""Drawing lab prompts and reading them back."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.lab.exercises import (
    Exercise,
    exercise_of,
    held_out_exercises,
    read_words,
    train_exercises,
)
from understudy.lab.families import FAMILIES
from understudy.lab.world import World, full_world
from understudy.records import InputError, Instruction, instruction_id


def test_training_prompts_are_distinct_and_of_the_training_split() -> None:
    world = World()
    exercises = train_exercises(world, 8000, seed=0)
    assert len({(exercise.instruction, exercise.words) for exercise in exercises}) == 8000
    assert {world.split_of(exercise.family.name, exercise.words) for exercise in exercises} == {
        "train"
    }
    assert {exercise.instruction for exercise in exercises} == {
        sentence for family in world.seen_families for sentence in family.paraphrases
    }


def test_families_take_turns_until_one_runs_dry() -> None:
    exercises = train_exercises(World(), 8000, seed=0)
    assert [exercise.family.name for exercise in exercises[:9]] == [
        *World().families,
        "first",
        "last",
    ]
    counts = Counter(exercise.family.name for exercise in exercises)
    num_compare = counts.pop("compare")
    assert 800 < num_compare < 380 * 3
    assert max(counts.values()) - min(counts.values()) <= 1


@given(few=st.integers(1, 300), seed=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_fewer_prompts_are_the_first_of_more(few: int, seed: int) -> None:
    assert train_exercises(World(), few, seed) == train_exercises(World(), 300, seed)[:few]


def test_another_seed_draws_other_prompts() -> None:
    assert train_exercises(World(), 50, seed=0) != train_exercises(World(), 50, seed=1)


def test_a_small_world_says_how_many_prompts_it_has() -> None:
    world = World(families=["compare"], num_numbers=10)
    with pytest.raises(
        InputError, match=r"has only 1\d\d rows for training, not 8000; lower num_r"
    ):
        train_exercises(world, 8000, seed=0)


def test_an_exhausted_family_gives_nearly_all_it_has() -> None:
    world = World(families=["compare"])
    numbers = world.symbols.numbers
    pairs = [(a, b) for a in numbers for b in numbers if a != b]
    in_test = {pair for pair in pairs if world.split_of("compare", pair) == "test"}
    drawn = held_out_exercises(
        world, world.seen_families, split="test", lengths=(3,), num_prompts=len(in_test)
    )
    assert {exercise.words for exercise in drawn} == in_test


@given(
    number=st.integers(0, 200),
    lang=st.sampled_from(["en", "zh"]),
    split=st.sampled_from(["train", "test"]),
)
@settings(deadline=None)
def test_a_prompt_reads_back_as_the_exercise_it_was_made_of(
    number: int, lang: str, split: str
) -> None:
    world = full_world()
    exercise = train_exercises(world, number + 1, seed=0)[number]
    prompt = exercise.to_prompt(lang, split)
    assert prompt.id == instruction_id(prompt.instruction, prompt.input)
    assert (prompt.task, prompt.lang, prompt.split) == (exercise.family.name, lang, split)
    assert exercise_of(prompt, world) == exercise


def test_what_is_no_lab_prompt_is_not_read() -> None:
    prompt = Instruction("x", "give the first item", "a c f", task="first")
    assert exercise_of(prompt, World()) is not None
    assert exercise_of(replace(prompt, task="poetry"), World()) is None
    assert exercise_of(replace(prompt, input="roses are red"), World()) is None
    assert exercise_of(replace(prompt, input=""), World()) is None
    assert exercise_of(replace(prompt, lang="de"), World()) is None
    assert exercise_of(replace(prompt, lang="zh"), World()) is None
    assert exercise_of(replace(prompt, input="a z"), World()) is None


def test_reading_chinese_keeps_foreign_words_apart() -> None:
    assert read_words("答 甲 a", "zh") == ("answer", "a", "<foreign>")
    assert read_words("答 甲 a", "en") == ("答", "甲", "a")


def test_shares_depend_on_prompt_and_purpose_alone_and_are_uniform() -> None:
    exercises = train_exercises(World(), 2000, seed=0)
    slips = [exercise.share("slip") for exercise in exercises]
    assert slips == [exercise.share("slip") for exercise in exercises]
    assert slips != [exercise.share("format") for exercise in exercises]
    assert sum(slips) / len(slips) == pytest.approx(0.5, abs=0.02)
    assert 0 <= min(slips) < max(slips) < 1


def test_an_exercise_shows_its_input_as_text() -> None:
    exercise = Exercise(FAMILIES["member"], "check the list for the key", ("a", ":", "c", "d"))
    assert exercise.input == "a : c d"
