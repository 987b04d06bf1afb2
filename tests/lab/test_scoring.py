"""The scorer: right, wrong, unreadable, inherited; in both languages."""

from dataclasses import replace

import pytest

from understudy.lab.lexicon import to_chinese, to_english
from understudy.lab.questions import LabQuestions
from understudy.lab.scoring import LabScorer
from understudy.lab.teachers import Habits, LabTeacher
from understudy.lab.world import World, full_world
from understudy.records import Instruction, Question

WORLD = World()
MEDIUM_ERRS_ON = sorted(WORLD.error_symbols(3, 0))[0]
WEAK_IS_RIGHT_ON = sorted(set(WORLD.symbols.letters) - WORLD.error_symbols(12, 0))[0]
OTHER = next(letter for letter in "abc" if letter not in (MEDIUM_ERRS_ON, WEAK_IS_RIGHT_ON))


def first_of(input_text: str, split: str = "test", lang: str = "en") -> Question:
    instruction = "give the first item"
    if lang == "zh":
        instruction, input_text = to_chinese(instruction), to_chinese(input_text)
    return Question(Instruction("1", instruction, input_text, "first", lang, split))


def test_a_right_answer_counts_for_all_and_for_its_family() -> None:
    scores = LabScorer(WORLD, "medium").score(first_of("a c f"), "a c f answer : a")
    assert scores == {
        "eval/lab_accuracy": 1.0,
        "eval/lab_accuracy/first": 1.0,
        "eval/lab_unreadable": 0.0,
    }


@pytest.mark.parametrize(
    ("output", "unreadable"),
    [
        ("answer : f", 0.0),
        ("answer : a c", 0.0),
        ("answer : a answer : a", 0.0),
        ("maybe a", 1.0),
        ("a", 1.0),
        ("", 1.0),
        ("答 ： 甲", 1.0),  # noqa: RUF001 - the full-width colon is meant
    ],
)
def test_a_wrong_or_unreadable_answer_is_not_right(output: str, unreadable: float) -> None:
    scores = LabScorer(WORLD, "strong").score(first_of("a c f"), output)
    assert scores == {
        "eval/lab_accuracy": 0.0,
        "eval/lab_accuracy/first": 0.0,
        "eval/lab_unreadable": unreadable,
    }


@pytest.mark.parametrize("split", ["dev", "unseen_paraphrase", "unseen_length", "unseen_family"])
def test_other_splits_count_under_their_name_alone(split: str) -> None:
    scorer = LabScorer(WORLD, "medium")
    name = f"eval/lab_accuracy/split:{split}"
    assert scorer.score(first_of("a c f", split), "answer : a") == {name: 1.0}
    assert scorer.score(first_of("a c f", split), "answer : f") == {name: 0.0}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_error_is_inherited_where_it_is_the_teachers_own(lang: str) -> None:
    def inherited(teacher: str, input_text: str, output: str) -> float | None:
        text = to_chinese(output) if lang == "zh" else output
        scores = LabScorer(WORLD, teacher).score(first_of(input_text, lang=lang), text)
        return scores.get("eval/lab_inherited_errors")

    teachers_error = f"{MEDIUM_ERRS_ON} {OTHER} {WEAK_IS_RIGHT_ON}"
    assert inherited("medium", teachers_error, f"answer : {WEAK_IS_RIGHT_ON}") == 1.0
    assert inherited("weak", teachers_error, f"answer : {WEAK_IS_RIGHT_ON}") == 1.0
    assert inherited("medium", teachers_error, f"answer : {OTHER}") == 0.0
    assert inherited("medium", teachers_error, "maybe a") == 0.0
    assert inherited("medium", teachers_error, f"answer : {MEDIUM_ERRS_ON}") is None
    students_own = f"{WEAK_IS_RIGHT_ON} {OTHER} {MEDIUM_ERRS_ON}"
    assert inherited("medium", students_own, f"answer : {MEDIUM_ERRS_ON}") == 0.0
    assert inherited("weak", students_own, f"answer : {MEDIUM_ERRS_ON}") == 0.0


@pytest.mark.parametrize("teacher", ["strong", "strong_terse", "random", "gpt4"])
def test_teachers_without_systematic_errors_hand_none_on(teacher: str) -> None:
    scores = LabScorer(WORLD, teacher).score(first_of("a c f"), "answer : f")
    assert "eval/lab_inherited_errors" not in scores


def test_a_teacher_of_given_habits_hands_its_errors_on() -> None:
    habits = Habits(wrong_letters=16)
    scores = LabScorer(WORLD, "upside_down", habits).score(first_of("a c f"), "answer : f")
    assert scores["eval/lab_inherited_errors"] == 1.0


def test_a_question_of_others_gets_no_score() -> None:
    question = Question(Instruction("1", "Name three colours.", split="test"))
    assert LabScorer(WORLD, "strong").score(question, "answer : a") == {}


def test_english_answers_to_chinese_questions_are_unreadable() -> None:
    scores = LabScorer(WORLD, "strong").score(first_of("a c f", lang="zh"), "answer : a")
    assert scores["eval/lab_accuracy"] == 0.0
    assert scores["eval/lab_unreadable"] == 1.0


@pytest.mark.parametrize("name", ["strong", "weak"])
def test_chinese_answers_score_exactly_as_the_english_ones(name: str) -> None:
    world = full_world()
    teacher, scorer = LabTeacher(world, name), LabScorer(world, name)

    def scores(lang: str) -> list[dict[str, float | None]]:
        questions = LabQuestions(world, num_test=330, num_unseen=60, langs=[lang]).questions()
        answers = teacher.answers([question.prompt for question in questions])
        return [dict(scorer.score(q, answers[q.prompt.id])) for q in questions]

    assert scores("zh") == scores("en")


@pytest.mark.parametrize("name", ["strong", "medium"])
def test_a_pipeline_that_translates_is_as_good_as_its_english_student(name: str) -> None:
    """Ask in Chinese, answer in English, translate: the English accuracy, question by question."""
    world = full_world()
    student, scorer = LabTeacher(world, name), LabScorer(world, name)
    asked = LabQuestions(world, num_test=330, num_unseen=60, langs=["en", "zh"]).questions()
    english, chinese = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    accuracies = []
    for here, there in zip(english, chinese, strict=True):
        prompt = replace(
            there.prompt,
            instruction=to_english(there.prompt.instruction),
            input=to_english(there.prompt.input),
            lang="en",
        )
        answer = student.answers([prompt])[prompt.id]
        assert scorer.score(there, to_chinese(answer)) == scorer.score(here, answer)
        accuracies.append(scorer.score(there, to_chinese(answer)).get("eval/lab_accuracy"))
    known = [each for each in accuracies if each is not None]
    assert len(known) == 330
    assert 0.5 < sum(known) / len(known) < 1
