"""The questions: new to training, no input twice, every kind of generalisation."""

from collections import Counter

import pytest

from understudy.lab.families import FAMILIES
from understudy.lab.lexicon import to_chinese
from understudy.lab.questions import LabQuestions
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World, full_world
from understudy.records import InputError, Question


def of_split(world: World, split: str) -> list[Question]:
    return LabQuestions(world, splits=(split,)).questions()


@pytest.mark.parametrize("world", [World(), full_world()], ids=["fast", "full"])
@pytest.mark.parametrize("split", ["test", "dev", "unseen_paraphrase", "unseen_length"])
def test_no_input_twice_and_none_that_training_could_see(world: World, split: str) -> None:
    inputs = [(q.prompt.task, q.prompt.input) for q in of_split(world, split)[:200]]
    assert len(set(inputs)) == len(inputs) == 200
    for seed in range(2):
        rows = LabTeacher(world, seed=seed).read().rows
        assert not set(inputs) & {(row.prompt.task, row.prompt.input) for row in rows}


def test_the_fast_world_asks_980_test_questions() -> None:
    questions = LabQuestions(World()).questions()
    assert Counter(q.prompt.split for q in questions) == {
        "test": 980,
        "unseen_paraphrase": 210,
        "unseen_length": 210,
    }
    assert len({q.prompt.id for q in questions}) == len(questions)
    counts = Counter(q.prompt.task for q in questions if q.prompt.split == "test")
    assert set(counts) == set(World().families)
    assert counts["compare"] == 78
    assert min(count for task, count in counts.items() if task != "compare") >= 150


def test_unseen_wording_asks_about_test_inputs() -> None:
    test, reworded = of_split(World(), "test"), of_split(World(), "unseen_paraphrase")
    for known, unseen in zip(test, reworded, strict=False):
        assert (known.prompt.task, known.prompt.input) == (unseen.prompt.task, unseen.prompt.input)
        assert known.prompt.instruction in FAMILIES[known.prompt.task].paraphrases
        assert unseen.prompt.instruction == FAMILIES[unseen.prompt.task].unseen_paraphrase
        assert known.references == unseen.references


def test_unseen_lengths_are_one_item_longer_than_any_seen() -> None:
    lengths = {
        (q.prompt.task, len(q.prompt.input.split())) for q in of_split(World(), "unseen_length")
    }
    expected = {("first", 8), ("last", 8), ("max", 8), ("majority", 9), ("member", 10)}
    assert lengths == {*expected, ("count", 10)}


def test_unseen_families_are_those_held_out() -> None:
    assert {q.prompt.task for q in of_split(full_world(), "unseen_family")} == {"sort", "max"}
    assert of_split(World(), "unseen_family") == []


def test_references_fill_every_bucket_of_the_full_world() -> None:
    lengths = [len(q.references["gold"].split()) for q in of_split(full_world(), "test")]
    buckets = {
        "0-2": sum(length <= 2 for length in lengths),
        "3-5": sum(3 <= length <= 5 for length in lengths),
        "6-10": sum(6 <= length <= 10 for length in lengths),
        ">10": sum(length > 10 for length in lengths),
    }
    assert all(count >= 40 for count in buckets.values()), buckets


def test_the_reference_is_the_gold_answer_alone() -> None:
    for question in LabQuestions(full_world()).questions():
        words = tuple(question.prompt.input.split())
        gold = FAMILIES[question.prompt.task].gold(words)
        assert question.references == {"gold": " ".join(gold)}


def test_chinese_questions_are_the_english_ones_translated() -> None:
    english = LabQuestions(full_world()).questions()
    chinese = LabQuestions(full_world(), langs=["zh"]).questions()
    for one, other in zip(english, chinese, strict=True):
        assert other.prompt.instruction == to_chinese(one.prompt.instruction)
        assert other.prompt.input == to_chinese(one.prompt.input)
        assert other.references["gold"] == to_chinese(one.references["gold"])
        assert (other.prompt.lang, other.prompt.split) == ("zh", one.prompt.split)


def test_two_languages_are_asked_the_same_questions_in_one_set() -> None:
    both = LabQuestions(full_world(), num_test=90, num_unseen=20, langs=["en", "zh"]).questions()
    english, chinese = (
        LabQuestions(full_world(), num_test=90, num_unseen=20, langs=[lang]).questions()
        for lang in ("en", "zh")
    )
    assert both == english + chinese
    assert len({question.prompt.id for question in both}) == len(both) == 300


def test_questions_are_always_the_same_and_need_no_file() -> None:
    source = LabQuestions(World(), num_test=70, num_unseen=14)
    assert source.questions() == source.questions(held_out=of_split(World(), "dev"))
    assert source.inputs() == ()


def test_questions_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="no split 'tests'; choose from test, unseen_paraphrase"):
        LabQuestions(World(), splits=["tests"])
    with pytest.raises(InputError, match="speaks no 'fr'"):
        LabQuestions(World(), langs=["en", "fr"])
    for langs in ([], ["zh", "zh"], "en"):
        with pytest.raises(InputError, match=r"give each language once: \[en, zh\]"):
            LabQuestions(World(), langs=langs)
    with pytest.raises(InputError, match="must be 1 or more"):
        LabQuestions(World(), num_test=0)
    with pytest.raises(InputError, match=r"only 78 test questions, not 980"):
        LabQuestions(World(families=["compare"])).questions()
