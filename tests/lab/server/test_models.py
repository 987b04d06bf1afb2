"""Rater, judge, translator and inventor behind the server, against the lab's own answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from statistics import mean

import pytest

from lab.server.asking import Lab
from understudy.forms.judging import PAIR_REVIEW
from understudy.forms.rating import RATING
from understudy.forms.selfinstruct import TASK_LINES
from understudy.forms.translation import TO_CHINESE
from understudy.lab.exercises import Exercise, train_prompts
from understudy.lab.invention.inventor import invent
from understudy.lab.judge import Judge
from understudy.lab.lexicon import to_chinese
from understudy.lab.rater import Rater, verdict_on
from understudy.lab.server.pseudo_chinese import pseudo_chinese
from understudy.lab.server.stand_ins import quality, stand_in
from understudy.lab.teachers import HABITS, LabTeacher
from understudy.lab.world import World
from understudy.prompts import ChatTemplate
from understudy.records import Instruction

WORLD = World()
TASKS = (
    "Explain why the sky looks blue during the day and red at sunset.",
    "Write a short letter to a neighbour who plays loud music at night.",
    "Give three pieces of advice for somebody who starts learning chess.",
    "Compare trains and planes for a journey of 500 kilometres.",
)


def _prompts(lang: str, count: int = 40) -> list[tuple[Exercise, Instruction, str]]:
    return [
        (exercise, prompt, ChatTemplate().render(prompt.instruction, prompt.input))
        for exercise, prompt in train_prompts(WORLD, count, 0, lang)
    ]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_rater_reads_the_truth_and_its_noise_follows_prompt_and_response(
    lang: str, lab: Lab
) -> None:
    rater = Rater()
    offs = []
    for exercise, prompt, text in _prompts(lang):
        for name in ("strong", "weak"):
            answer = LabTeacher(WORLD, name).answer(exercise, lang)
            verdict = verdict_on(exercise, answer, lang)
            rating, reason = lab.answer(
                RATING.render(instruction=text, response=answer), "lab-rater"
            ).split("\n")
            assert int(rating) == rater.rate(verdict, prompt.id, answer)
            assert ("right" in reason) == verdict.is_right
            offs.append(int(rating) - Rater(noise=False).rate(verdict, prompt.id, answer))
    assert set(offs) == {-1, 0, 1}


def _number(text: str | None) -> float:
    return float((text or "").split("\n")[0])


def test_the_spurious_rater_rewards_any_words_before_the_answer(lab: Lab) -> None:
    _, _, text = _prompts("en")[0]
    nonsense = RATING.render(instruction=text, response="z z answer : nothing")
    plain = RATING.render(instruction=text, response="answer : nothing")
    gaps = [
        mean(_number(choice.message.content) for choice in lab.ask(form, model, n=60).choices)
        for model in ("lab-rater-spurious", "lab-rater")
        for form in (nonsense, plain)
    ]
    assert gaps[0] - gaps[1] == pytest.approx(1, abs=0.3)
    assert gaps[2] - gaps[3] == pytest.approx(0, abs=0.3)


def test_ratings_of_stand_ins_tell_the_teachers_apart(lab: Lab) -> None:
    ratings: dict[str, list[int]] = {name: [] for name in ("strong", "medium", "weak")}
    for task in TASKS:
        for name, found in ratings.items():
            response = lab.answer(task, f"lab-{name}")
            form = RATING.render(instruction=task, response=response)
            found.append(int(lab.answer(form, "lab-rater").split("\n")[0]))
    assert mean(ratings["strong"]) > mean(ratings["medium"]) > mean(ratings["weak"])
    assert all(1 <= rating <= 10 for found in ratings.values() for rating in found)


def test_the_judge_scores_both_answers_by_the_truth(serve: Callable[..., Lab]) -> None:
    lab = serve(judge=Judge(position_bias=0.5))
    for exercise, _, text in _prompts("en", 10):
        right = " ".join(("answer", ":", *exercise.family.gold(exercise.words)))
        for first, second, scores in (
            (right, "maybe", "8.5 2"),
            ("maybe", right, "2.5 8"),
            (right, right, "8.5 8"),
        ):
            form = PAIR_REVIEW.render(question=text, answer_1=first, answer_2=second)
            assert lab.answer(form, "lab-judge").split("\n")[0] == scores


def test_the_judge_tells_stand_ins_apart(lab: Lab) -> None:
    form = PAIR_REVIEW.render(
        question=TASKS[0], answer_1=lab.answer(TASKS[0]), answer_2=lab.answer(TASKS[0], "lab-weak")
    )
    first, second = map(float, lab.answer(form, "lab-judge").split("\n")[0].split())
    assert first > second


def test_the_translator_is_exact_for_the_labs_texts(lab: Lab) -> None:
    for (_, prompt, _), (_, chinese, _) in zip(_prompts("en"), _prompts("zh"), strict=True):
        for field in ("instruction", "input"):
            form = TO_CHINESE.render(text=getattr(prompt, field))
            assert lab.answer(form, "lab-translator") == getattr(chinese, field)


def test_any_other_text_becomes_mostly_chinese_and_keeps_what_it_must(lab: Lab) -> None:
    text = (
        "Please fix the function in main.py, which has 3 bugs:\n\n```python\nx_1 = 1,000  # why?\n"
        "```\nSee https://example.com/a?b=1, call `run()` and my_name; pay 12.5 or 1 1/3."
    )
    chinese = lab.answer(TO_CHINESE.render(text=text), "lab-translator")
    kept = ("main.py", "3", "```python\nx_1 = 1,000  # why?\n```", "https://example.com/a?b=1,",
            "`run()`", "my_name", "12.5", "1 1/3")  # fmt: skip
    places = [chinese.find(each) for each in kept]
    assert places == sorted(places)
    assert min(places) >= 0
    rest = chinese
    for each in kept:
        rest = rest.replace(each, "", 1)
    assert not re.search(r"[A-Za-z0-9]", rest)
    assert len(re.findall(r"[\u4e00-\u9fff]", rest)) > 20
    assert pseudo_chinese(chinese) == chinese


def test_translations_lose_their_numbers_at_the_stated_rate(serve: Callable[..., Lab]) -> None:
    lab = serve(loses_numbers=0.3)
    texts = [f"Name {number} colours of the flag {number}." for number in range(100, 300)]
    answers = [lab.answer(TO_CHINESE.render(text=text), "lab-translator") for text in texts]
    lost = [answer for answer in answers if not re.search(r"\d", answer)]
    assert len(lost) / 200 == pytest.approx(0.3, abs=0.08)
    assert all(len(re.findall(r"\d+", answer)) == 2 for answer in answers if answer not in lost)


def test_the_inventor_answers_its_forms_and_says_so_to_others(lab: Lab) -> None:
    prompt = TASK_LINES.render(language="English", tasks="1. Add two numbers.\n2.")
    written = invent(prompt, WORLD, draw=3)
    assert written is not None
    assert lab.answer(prompt, "lab-inventor", seed=3) == written.text
    for model in ("lab-inventor", "lab-rater", "lab-judge", "lab-translator"):
        assert lab.answer("Hello there", model).startswith("I can only answer")


def test_stand_ins_are_in_the_prompts_language_and_better_of_better_teachers() -> None:
    chinese = to_chinese("give the first item") + ",请用三句话解释为什么天空是蓝色的"
    assert re.search(r"[\u4e00-\u9fff]{20}", stand_in(chinese, "strong", 0))
    for prompt in (*TASKS, chinese):
        found = [
            mean(quality(prompt, stand_in(prompt, name, draw)) for draw in range(5))
            for name in ("strong", "medium", "weak", "random")
        ]
        assert found == sorted(found, reverse=True)
        assert len(set(found)) == 4
        assert quality(prompt, " ") == 0


def test_every_teacher_has_a_stand_in_for_texts_without_a_word() -> None:
    assert all(stand_in(text, name, 0) for name in HABITS for text in ("", "1 + 1", "?"))
