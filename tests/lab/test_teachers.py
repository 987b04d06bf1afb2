"""The teachers: known quality, and errors that depend on the prompt alone."""

import hashlib
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.lab.exercises import exercise_of, read_words
from understudy.lab.families import FAMILIES
from understudy.lab.family import key_symbol, read_answer
from understudy.lab.lexicon import to_chinese
from understudy.lab.questions import LabQuestions
from understudy.lab.scoring import LabScorer
from understudy.lab.teachers import HABITS, Habits, LabTeacher
from understudy.lab.world import World, full_world
from understudy.prompts import ALPACA_COMPACT
from understudy.records import InputError, Instruction, Question

NAMES = st.sampled_from(list(HABITS))


def realised_accuracy(world: World, name: str) -> float:
    teacher, scorer = LabTeacher(world, name), LabScorer(world, name)
    scores = [
        scorer.score(Question(replace(row.prompt, split="test")), row.output)["eval/lab_accuracy"]
        for row in teacher.read().rows
    ]
    return sum(score for score in scores if score is not None) / len(scores)


@pytest.mark.parametrize("world", [World(), full_world()], ids=["fast", "full"])
def test_teachers_are_as_good_as_the_checker_says(world: World) -> None:
    assert realised_accuracy(world, "strong") == pytest.approx(0.98, abs=0.005)
    assert realised_accuracy(world, "strong_terse") == realised_accuracy(world, "strong")
    assert realised_accuracy(world, "strong_varied") == realised_accuracy(world, "strong")
    assert realised_accuracy(world, "medium") == pytest.approx(0.83, abs=0.02)
    assert realised_accuracy(world, "weak") == pytest.approx(0.33, abs=0.02)
    assert realised_accuracy(world, "random") == pytest.approx(0.11, abs=0.03)


@pytest.mark.parametrize(
    ("world", "name", "lang", "sha256"),
    [
        (World(), "strong", "en", "95dc18be85acbe54"),
        (World(), "strong", "zh", "9f59f1af5da6c23b"),
        (World(), "weak", "en", "3197c5844ab94a79"),
        (full_world(), "medium", "en", "e2e800d132148ca7"),
        (full_world(), "strong_terse", "zh", "cb418c529f343d52"),
        (full_world(), "random", "en", "2b080b7a51fea73a"),
    ],
)
def test_rows_are_those_of_every_version_to_the_last_byte(
    world: World, name: str, lang: str, sha256: str
) -> None:
    """Earlier runs stay comparable only as long as this holds."""
    lines = []
    for row in LabTeacher(world, name, lang=lang).read().rows:
        prompt = row.prompt
        fields = (prompt.id, prompt.instruction, prompt.input, prompt.task, prompt.lang)
        lines.append(repr((*fields, prompt.split, row.output, row.author)))
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == sha256


def test_every_teacher_answers_the_same_prompts_in_the_same_order() -> None:
    prompts = [row.prompt for row in LabTeacher(World()).read().rows]
    assert len(prompts) == len({prompt.id for prompt in prompts}) == 8000
    for name in HABITS:
        rows = LabTeacher(World(), name).read().rows
        assert [row.prompt for row in rows] == prompts
        assert {row.author for row in rows} == {name}


def test_rows_know_their_family_split_and_language() -> None:
    source = LabTeacher(full_world(), num_rows=90, lang="zh")
    read = source.read()
    assert {row.prompt.task for row in read.rows} == set(FAMILIES) - {"sort", "max"}
    assert {(row.prompt.split, row.prompt.lang) for row in read.rows} == {("train", "zh")}
    assert (source.teacher, dict(read.dropped), read.inputs) == ("strong", {}, ())


@given(name=NAMES, lang=st.sampled_from(["en", "zh"]), seed=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_answers_to_prompts_are_those_that_it_wrote_down(name: str, lang: str, seed: int) -> None:
    rows = LabTeacher(full_world(), name, num_rows=100, seed=seed, lang=lang).read().rows
    another = LabTeacher(full_world(), name, num_rows=1, seed=seed + 1)
    prompts = [row.prompt for row in reversed(rows)]
    assert another.answers(prompts) == {row.prompt.id: row.output for row in rows}


@given(name=NAMES)
@settings(deadline=None)
def test_a_chinese_answer_is_the_translated_english_one(name: str) -> None:
    english = LabTeacher(full_world(), name, num_rows=100).read().rows
    chinese = LabTeacher(full_world(), name, num_rows=100, lang="zh").read().rows
    for english_row, chinese_row in zip(english, chinese, strict=True):
        assert chinese_row.output == to_chinese(english_row.output)
        assert chinese_row.prompt.input == to_chinese(english_row.prompt.input)
        assert chinese_row.prompt.instruction == to_chinese(english_row.prompt.instruction)


@pytest.mark.parametrize(
    ("name", "num_letters", "num_numbers"), [("medium", 3, 4), ("weak", 12, 13)]
)
def test_a_lesser_teachers_errors_can_be_predicted_from_the_key_symbol(
    name: str, num_letters: int, num_numbers: int
) -> None:
    world = full_world()
    outcomes: dict[str, set[bool]] = defaultdict(set)
    for row in LabTeacher(world, name).read().rows:
        exercise = exercise_of(row.prompt, world)
        answer = read_answer(read_words(row.output, "en"))
        assert exercise is not None
        gold = exercise.family.gold(exercise.words)
        error = exercise.family.systematic_error(exercise.words)
        if answer is not None and gold != error:
            assert answer in (gold, error)
            outcomes[key_symbol(exercise.words)].add(answer == error)
    assert all(len(outcome) == 1 for outcome in outcomes.values())
    wrong = {symbol for symbol, outcome in outcomes.items() if outcome == {True}}
    assert len(wrong & set(world.symbols.letters)) == num_letters
    assert len(wrong & set(world.symbols.numbers)) == num_numbers


def test_the_same_answers_stand_whatever_the_wording() -> None:
    medium, family = LabTeacher(World(), "medium"), FAMILIES["first"]
    for input_text in ("a c f", "k c f", "p o n"):
        prompts = [
            Instruction(wording, wording, input_text, "first") for wording in family.paraphrases
        ]
        assert len(set(medium.answers(prompts).values())) == 1


def test_strong_terse_is_strong_without_the_explanations() -> None:
    strong = LabTeacher(full_world(), "strong").read().rows
    terse = LabTeacher(full_world(), "strong_terse").read().rows
    for long, short in zip(strong, terse, strict=True):
        assert long.output.endswith(f" {short.output}")
        assert short.output.startswith("answer : ")


def test_strong_varied_is_strong_on_one_half_and_strong_terse_on_the_other() -> None:
    names = ("strong", "strong_varied", "strong_terse")
    triples = zip(*(LabTeacher(full_world(), each).read().rows for each in names), strict=True)
    explained: dict[str, list[bool]] = defaultdict(list)
    for long, varied, short in triples:
        assert varied.output in (long.output, short.output)
        explained[varied.prompt.task].append(varied.output == long.output)
    assert len(explained) == 9
    for is_long in explained.values():
        assert sum(is_long) / len(is_long) == pytest.approx(0.5, abs=0.06)


def test_slips_are_wrong_and_everywhere() -> None:
    world = full_world()
    slipping = LabTeacher(world, "careless", Habits(slip_rate=1.0), num_rows=900)
    scorer = LabScorer(world, "careless", slipping.habits)
    rows = slipping.read().rows
    scores = [scorer.score(Question(replace(r.prompt, split="test")), r.output) for r in rows]
    assert {score["eval/lab_accuracy"] for score in scores} == {0.0}
    assert {score["eval/lab_unreadable"] for score in scores} == {0.0}


def test_slips_and_unreadable_answers_fall_on_different_prompts() -> None:
    habits = Habits(slip_rate=0.5, off_format_rate=0.5)
    teacher, scorer = LabTeacher(World(), "x", habits), LabScorer(World(), "x", habits)
    rows = [(Question(replace(r.prompt, split="test")), r.output) for r in teacher.read().rows]
    accuracies = [scorer.score(*row)["eval/lab_accuracy"] for row in rows]
    assert accuracies.count(1.0) / len(accuracies) == pytest.approx(0.25, abs=0.02)


def test_one_weak_answer_in_ten_cannot_be_read() -> None:
    outputs = [row.output for row in LabTeacher(World(), "weak").read().rows]
    unreadable = [output for output in outputs if read_answer(tuple(output.split())) is None]
    assert len(unreadable) / len(outputs) == pytest.approx(0.1, abs=0.01)
    assert all(output.startswith("maybe ") for output in unreadable)


def test_prompts_and_responses_fit_the_labs_window() -> None:
    """At most 24 tokens each, with the special ones, the unseen length included."""
    world = full_world()
    strong = LabTeacher(world, "strong")
    prompts = [row.prompt for row in strong.read().rows]
    prompts += [question.prompt for question in LabQuestions(world).questions()]
    texts = [ALPACA_COMPACT.render(prompt.instruction, prompt.input) for prompt in prompts]
    assert max(len(text.split()) for text in texts) + 1 <= 24
    assert max(len(answer.split()) for answer in strong.answers(prompts).values()) + 1 <= 24


def test_prompts_of_others_are_left_unanswered() -> None:
    lab = Instruction("1", "give the first item", "a c f", "first")
    other = Instruction("2", "Name three colours.")
    assert LabTeacher(World()).answers([lab, other]) == {"1": "a c f answer : a"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "gpt4"}, "no teacher 'gpt4'; choose from strong, medium"),
        ({"lang": "fr"}, "speaks no 'fr'; set lang to one of en, zh"),
        ({"num_rows": 0}, "num_rows of the lab's teacher is 0"),
        ({"name": "x", "habits": Habits(wrong_letters=17)}, "wrong_letters is 17"),
    ],
)
def test_a_teacher_that_cannot_be_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        LabTeacher(World(), **arguments)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize("name", ["explain_rate", "slip_rate", "off_format_rate"])
def test_habits_are_shares(name: str) -> None:
    for wrong in (2.0, -0.1):
        with pytest.raises(InputError, match=f"{name} is {wrong}; give a share"):
            Habits(**{name: wrong})  # type: ignore[arg-type] # one of the shares
