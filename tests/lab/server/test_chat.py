"""Chat and text completions as the official client sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import openai
import pytest

from lab.server.asking import FIRST, Lab
from understudy.forms.rating import RATING
from understudy.lab.exercises import train_prompts
from understudy.lab.teachers import HABITS, LabTeacher
from understudy.lab.world import World
from understudy.prompts import ALPACA, ALPACA_COMPACT, ChatTemplate

TALK = "Name three things that make a good teacher, and why."


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ["strong", "weak"])
def test_a_teacher_answers_as_in_its_own_rows_in_any_wording(
    name: str, lang: str, lab: Lab
) -> None:
    rows = LabTeacher(World(), name, num_rows=40, lang=lang).read().rows
    for number, row in enumerate(rows):
        template = (ALPACA, ALPACA_COMPACT, ChatTemplate())[number % 3]
        prompt = template.render(row.prompt.instruction, row.prompt.input)
        assert lab.answer(prompt, f"lab-{name}") == row.output


def test_the_first_choice_is_the_teachers_own_and_others_slip_elsewhere_reproducibly(
    lab: Lab,
) -> None:
    exercises = train_prompts(World(), 60, 0, "en")
    teacher = LabTeacher(World(), "strong")
    answers = {}
    for exercise, prompt in exercises:
        text = ChatTemplate().render(prompt.instruction, prompt.input)
        choices = lab.ask(text, n=20).choices
        answers[prompt.id] = [choice.message.content for choice in choices]
        assert answers[prompt.id][0] == teacher.answer(exercise, "en")
        assert lab.answer(text, seed=7) == answers[prompt.id][7]
        assert lab.answer(text, seed=7, temperature=0) == answers[prompt.id][0]
    slips = [sum(text != given[0] for text in given) for given in answers.values()]
    assert 0 < sum(slips) < 60 * 20 * 0.06  # 2 of 100, on both sides


def test_the_teachers_and_their_helpers_are_listed_as_models(lab: Lab) -> None:
    names = {model.id for model in lab.client.models.list()}
    assert {f"lab-{name}" for name in HABITS} <= names
    assert {"lab-rater", "lab-judge", "lab-translator", "lab-inventor"} <= names
    assert lab.client.models.retrieve("lab-weak").id == "lab-weak"
    with pytest.raises(openai.NotFoundError, match="'lab-none' does not exist"):
        lab.client.models.retrieve("lab-none")


def test_usage_counts_words_and_sums_over_choices(lab: Lab) -> None:
    one, three = lab.ask(FIRST), lab.ask(FIRST, n=3)
    assert one.usage is not None
    assert one.choices[0].message.content == "c a b answer : c"
    assert (one.usage.prompt_tokens, one.usage.completion_tokens) == (7, 6)
    assert one.usage.total_tokens == 13
    assert three.usage is not None
    assert (three.usage.prompt_tokens, three.usage.completion_tokens) == (7, 18)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert one.id != three.id
    assert (one.object, one.system_fingerprint) == ("chat.completion", "fp_lab")


def test_a_chinese_character_is_a_token(lab: Lab) -> None:
    reply = lab.ask("翻译 this\n你好", "lab-translator")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 5


@pytest.mark.parametrize("param", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_so_many_tokens(param: str, lab: Lab) -> None:
    options: dict[str, Any] = {param: 4}
    cut = lab.ask(FIRST, **options)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == (
        "c a b answer",
        "length",
    )
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 4
    options[param] = 6
    whole = lab.ask(FIRST, **options)
    assert whole.choices[0].finish_reason == "stop"


def test_an_answer_ends_before_the_first_stop(lab: Lab) -> None:
    for stop in (" answer", ["nowhere", ":", " answer"]):
        choice = lab.ask(FIRST, stop=stop).choices[0]
        assert (choice.message.content, choice.finish_reason) == ("c a b", "stop")


def test_log_probabilities_spell_the_answer(lab: Lab) -> None:
    reply = lab.ask(FIRST, logprobs=True, top_logprobs=2).choices[0]
    assert reply.logprobs is not None
    tokens = reply.logprobs.content or []
    assert "".join(each.token for each in tokens) == reply.message.content
    assert bytes(b for each in tokens for b in each.bytes or ()).decode() == reply.message.content
    assert all(each.logprob == 0 and len(each.top_logprobs) == 1 for each in tokens)
    assert lab.ask(FIRST).choices[0].logprobs is None


def test_the_first_token_of_a_rating_has_the_distribution_of_the_raters_noise(lab: Lab) -> None:
    form = RATING.render(instruction=FIRST, response="answer : c")
    choice = lab.ask(form, "lab-rater", logprobs=True, top_logprobs=5).choices[0]
    assert choice.logprobs is not None
    first = (choice.logprobs.content or [])[0]
    chances = {each.token: math.exp(each.logprob) for each in first.top_logprobs}
    assert chances == pytest.approx({"8": 0.8, "7": 0.1, "9": 0.1})
    assert (choice.message.content or "").startswith(f"{first.token}\n")
    drawn = lab.ask(form, "lab-rater", n=100).choices
    ratings = [(each.message.content or "").partition("\n")[0] for each in drawn]
    assert set(ratings) == {"7", "8", "9"}
    assert 65 <= ratings.count("8") <= 95


def test_a_stream_adds_up_to_the_reply(lab: Lab) -> None:
    whole = lab.ask(TALK, "lab-medium", n=2)
    texts = {0: "", 1: ""}
    finishes: dict[int, str | None] = {}
    usage = None
    stream = lab.client.chat.completions.create(
        model="lab-medium", messages=[{"role": "user", "content": TALK}], n=2, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes.get(choice.index)
    assert list(texts.values()) == [choice.message.content for choice in whole.choices]
    assert finishes == {0: "stop", 1: "stop"}
    assert usage == whole.usage


def test_texts_are_completed_for_the_sampler(lab: Lab) -> None:
    prompts = [ALPACA_COMPACT.render("give the first item", items) for items in ("c a b", "d e f")]
    reply = lab.client.completions.create(
        model="lab-strong", prompt=prompts, n=2, seed=0, logprobs=1
    )
    assert [choice.text[-1] for choice in reply.choices[::2]] == ["c", "d"]
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 20
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == reply.choices[0].text
    assert (logprobs.text_offset or [])[:3] == [0, 1, 3]


def test_what_is_not_the_labs_gets_a_stand_in_that_depends_on_the_draw_alone(lab: Lab) -> None:
    one, other = lab.answer(TALK), lab.answer(TALK, seed=1)
    assert one == lab.answer(TALK)
    assert one == lab.answer(ALPACA.render(TALK))
    assert one != other
    assert len(one.split()) > 40


def test_azures_paths_name_the_model_as_deployment(lab: Lab) -> None:
    endpoint = lab.url.removesuffix("/v1")
    with openai.AzureOpenAI(
        azure_endpoint=endpoint, api_key="none", api_version="2025-01-01", max_retries=0
    ) as client:
        reply = client.chat.completions.create(
            model="lab-strong", messages=[{"role": "user", "content": FIRST}]
        )
    assert reply.choices[0].message.content == "c a b answer : c"


def test_a_key_is_wanted_where_the_server_has_one(
    serve: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "sk-secret")
    lab = serve(key_env="LAB_KEY")
    for path in ("/v1/models", "/v1/files", "/v1/batches"):
        refused = lab.get(path)
        assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        assert lab.get(path, authorization="Bearer sk-secret").status == 200
    refused = lab.chat(authorization="Bearer sk-wrong")
    assert refused.status == 401
    assert b"sk-" not in refused.content
    assert lab.chat(authorization="Bearer sk-secret").status == 200
    assert lab.chat(api_key="sk-secret").status == 200
    assert lab.bill()["billed"] == 2
