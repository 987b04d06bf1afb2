"""What is asked is one thing however it is spelled, and no secret gets among the parameters."""

from __future__ import annotations

import pytest

from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest
from understudy.records import InputError

ASKED = ChatRequest.of_user("Name a colour.")


def test_equal_numbers_are_one_request() -> None:
    whole = ChatModel("t", "m", params={"temperature": 1, "top_p": 0.5, "logit_bias": {"7": -100}})
    same = ChatModel("t", "m", params={"temperature": 1.0, "top_p": 0.5, "logit_bias": {"7": -1e2}})
    other = ChatModel(
        "t", "m", params={"temperature": 1.5, "top_p": 0.5, "logit_bias": {"7": -1e2}}
    )
    assert whole.key_of(ASKED) == same.key_of(ASKED) != other.key_of(ASKED)


@pytest.mark.parametrize("name", ["api_key", "apikey", "Authorization", "extra_headers", "token"])
def test_a_parameter_that_looks_like_a_secret_is_refused_without_its_value(name: str) -> None:
    with pytest.raises(InputError, match=name) as refused:
        ChatModel("t", "m", params={name: "sk-12345678"})
    assert "sk-12345678" not in str(refused.value)


def test_two_bounds_of_an_answer_are_refused_but_one_may_be_renamed() -> None:
    with pytest.raises(InputError, match="set one to null"):
        ChatModel("t", "m", params={"max_tokens": 5, "max_completion_tokens": 500})
    renamed = ChatModel(
        "t", "m", params={"max_tokens": 5}, renamed={"max_tokens": "max_completion_tokens"}
    )
    assert renamed.sent_params() == {"max_completion_tokens": 5}
    assert renamed.max_tokens == 5
