"""Flags tell what is known of an answer's surface, in both languages, and no more."""

from __future__ import annotations

import pytest

from understudy.chat.requests import Reply
from understudy.teacher.flags import REFUSAL_OPENINGS, flags_of, is_in_another_language, is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, but I cannot open links.",  # noqa: RUF001 - a typographic apostrophe
        "  “I am unable to see images.”",
        "As an AI language model, I do not have feelings.",
        "**Unfortunately, I cannot** do this.",
        "I cannot   browse the web.",
        "很抱歉，我无法回答这个问题。",  # noqa: RUF001 - a Chinese comma
        "作为一个 AI 语言模型，我没有个人观点。",  # noqa: RUF001 - as above
        "我不能提供这种信息。",
    ],
)
def test_refusals_are_told_by_how_they_begin(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I can't believe how fast the year went by!",
        "I cannot thank you enough for your help.",
        "I am sorry for your loss. She was a wonderful person.",
        "Sorry is a short word.",
        "As an aid to memory, write it down.",
        "Say: I'm sorry, but I can't come.",
        "Icann is an organisation.",
        "抱歉信应当简短。",
        "无论如何,我都会来。",
        "",
    ],
)
def test_answers_that_only_look_like_refusals_are_none(text: str) -> None:
    assert not is_refusal(text)


def test_every_stated_opening_is_found_whatever_its_case() -> None:
    for opening in REFUSAL_OPENINGS:
        assert is_refusal(f"{opening.upper()} ..."), opening


@pytest.mark.parametrize(
    ("text", "lang", "is_flagged"),
    [
        ("巴黎是法国的首都。", "zh", False),
        ("Paris is the capital of France.", "zh", True),
        ("Paris 是首都", "zh", False),  # 3 of 8 letters are Chinese
        ("42", "zh", False),
        ("用法:\n```python\nprint('code that is not Chinese')\n```", "zh", False),
        ("Paris is the capital of France.", "en", False),
        ("巴黎是法国的首都。", "en", False),
    ],
)  # fmt: skip
def test_answers_in_another_language(text: str, lang: str, is_flagged: bool) -> None:
    assert is_in_another_language(text, lang) is is_flagged


def test_flags_of_a_reply() -> None:
    reply = Reply("k", "I'm sorry, but I", "length", "m")
    assert flags_of(reply, "zh") == {"truncated": True, "refused": True, "wrong_language": True}
    assert flags_of(Reply("k", "Paris.", "stop", "m"), "en") == {
        "truncated": False, "refused": False, "wrong_language": False,
    }  # fmt: skip
