"""The world: refuses nonsense, splits by hash, knows every word."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.lab.families import FAMILIES
from understudy.lab.lexicon import to_chinese
from understudy.lab.questions import LabQuestions
from understudy.lab.teachers import HABITS, LabTeacher
from understudy.lab.world import FAST_FAMILIES, World, full_world, vocabulary
from understudy.prompts import ALPACA_COMPACT
from understudy.records import InputError


def test_the_default_is_the_fast_world_of_seven_families() -> None:
    world = World()
    assert world.families == FAST_FAMILIES
    assert len(world.symbols.letters) == 16
    assert world.symbols.numbers[-1] == "19"
    assert world.lengths == (3, 4, 5, 6, 7)
    assert world.unseen_length == 8
    assert world.unseen_families == ()


def test_the_full_world_holds_out_sort_and_max() -> None:
    world = full_world()
    assert set(world.families) == set(FAMILIES)
    assert [family.name for family in world.unseen_families] == ["sort", "max"]
    assert len(world.seen_families) == 9


def test_lists_become_tuples_so_that_worlds_compare_by_value() -> None:
    assert World(families=["first", "last"], held_out=["last"]) == World(
        families=("first", "last"), held_out=("last",)
    )
    assert hash(World(families=["first"])) == hash(World(families=("first",)))


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (lambda: World(families=["furst"]), "no family 'furst'.*choose from first, last"),
        (lambda: World(families=["first", "first"]), "names a family twice"),
        (lambda: World(held_out=["sort"]), "no family 'sort' for held_out"),
        (lambda: World(families=["first"], held_out=["first"]), "no family to train on"),
        (lambda: World(families=[]), "no family to train on"),
        (lambda: World(num_letters=27), "num_letters is 27; give a number from 8 to 26"),
        (lambda: World(num_numbers=9), "num_numbers is 9; give a number from 10 to 40"),
        (lambda: World(min_length=2), "min_length is 2; give a number from 3 to 7"),
        (lambda: World(max_length=9), "max_length is 9; give a number from 3 to 8"),
    ],
)
def test_a_world_that_cannot_be_is_refused(world: object, words: str) -> None:
    assert callable(world)
    with pytest.raises(InputError, match=words):
        world()


@pytest.mark.parametrize(
    ("text", "first", "last", "first_of_seed_1"),
    [
        ("a a a", "train", "test", "train"),
        ("a c h", "test", "train", "train"),
        ("a c c", "train", "dev", "dev"),
        ("b a a", "train", "test", "test"),
        ("b b b", "test", "train", "train"),
        ("a d b", "train", "dev", "test"),
    ],
)
def test_an_input_stays_in_its_split_for_ever(
    text: str, first: str, last: str, first_of_seed_1: str
) -> None:
    words = tuple(text.split())
    assert World().split_of("first", words) == first
    assert World().split_of("last", words) == last
    assert World(seed=1).split_of("first", words) == first_of_seed_1


def test_a_fifth_of_the_inputs_is_for_the_test_and_a_twentieth_for_choices() -> None:
    world = World()
    splits = [world.split_of("first", words) for words in product("abcdefghijklmnop", repeat=3)]
    assert splits.count("test") / len(splits) == pytest.approx(0.20, abs=0.015)
    assert splits.count("dev") / len(splits) == pytest.approx(0.05, abs=0.01)
    assert set(splits) == {"train", "dev", "test"}


def test_error_symbols_are_as_many_as_asked_nested_and_the_worlds_own() -> None:
    world = World()
    few, many = world.error_symbols(3, 4), world.error_symbols(12, 13)
    assert (len(few), len(many)) == (7, 25)
    assert few < many
    assert sum(symbol in world.symbols.letters for symbol in few) == 3
    assert world.error_symbols(3, 4) == few
    assert World(seed=1).error_symbols(3, 4) != few
    with pytest.raises(InputError, match="wrong_letters is 17"):
        world.error_symbols(17, 0)


def test_the_vocabulary_lists_each_word_once_headers_first() -> None:
    words = World().vocabulary()
    assert words[:3] == ["<instruction>", "<input>", "<response>"]
    assert len(set(words)) == len(words)
    assert set(words) < set(full_world().vocabulary())
    assert "sort" not in words


WORLDS = st.builds(
    World,
    families=st.permutations(list(FAMILIES)).map(lambda names: names[:4]),
    num_letters=st.integers(8, 26),
    num_numbers=st.integers(10, 40),
    max_length=st.integers(3, 8),
    seed=st.integers(0, 5),
)


@settings(max_examples=40, deadline=None)
@given(world=WORLDS, name=st.sampled_from(list(HABITS)), lang=st.sampled_from(["en", "zh"]))
def test_the_vocabulary_holds_every_word_the_lab_can_write(
    world: World, name: str, lang: str
) -> None:
    habits = HABITS[name]
    if habits.wrong_letters > world.num_letters or habits.wrong_numbers > world.num_numbers:
        habits = replace(habits, wrong_letters=world.num_letters, wrong_numbers=world.num_numbers)
    teacher = LabTeacher(world, name, habits, num_rows=60, lang=lang)
    questions = LabQuestions(world, num_test=8, num_unseen=4, langs=[lang]).questions()
    rows = teacher.read().rows
    prompts = [row.prompt for row in rows] + [question.prompt for question in questions]
    texts = [
        *(row.output for row in rows),
        *teacher.answers([question.prompt for question in questions]).values(),
        *(question.references["gold"] for question in questions),
        *(ALPACA_COMPACT.render(prompt.instruction, prompt.input) for prompt in prompts),
    ]
    assert set(" ".join(texts).split()) <= set(world.vocabulary())


def test_the_vocabulary_has_as_many_chinese_words_as_english_ones() -> None:
    words = vocabulary(full_world())[3:]
    assert words == full_world().vocabulary()[3:]
    english, chinese = words[: len(words) // 2], words[len(words) // 2 :]
    assert " ".join(chinese) == to_chinese(" ".join(english))
