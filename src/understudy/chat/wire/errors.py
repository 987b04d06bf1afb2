"""What can go wrong when a model is asked, and what follows from it.

Four things can follow. What may pass is tried again (``RETRY``); a 429 pauses the whole client and
is no attempt (``PAUSE``); what no second try will change is given up (``GIVE_UP``); and what would
befall every request ends the asking (``FATAL``). No key ever reaches a message: see ``redacted``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import Failure
from understudy.records import RunError

_MAX_SAID = 300
_SHORTEST_KEY = 4
_LONGEST_DUMMY = 15  # "EMPTY" and the like, which an answer may well contain
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk)-[\w*-]{6,}|(?i:\b(?:bearer|api-key:?)\s+)[^\s\"',;]+")


class RequestFailedError(Exception):
    """One request cannot be answered; others may be.

    Attributes:
        failure: What the ledger keeps of it.
    """

    def __init__(self, failure: Failure) -> None:
        """The message is the failure's."""
        super().__init__(failure.message)
        self.failure = failure


class CannotAskError(RunError):
    """Nothing can be asked of this model; the text says what to type, and holds no key."""


class Then(enum.Enum):
    """What follows from a fault."""

    RETRY = "retry"
    PAUSE = "pause"
    GIVE_UP = "give up"
    FATAL = "fatal"


@dataclass(eq=False)
class Fault(Exception):  # noqa: N818 - what is the case; not all of them are errors
    """An attempt that gave no reply.

    Attributes:
        then: What follows.
        kind: As in :class:`understudy.chat.requests.Failure`.
        said: The server's words or ours, in one line without keys.
        status: Of HTTP, where there was one.
        headers: Of the answer, in lower case, where there was one.
        refused: The parameter that the server named, where it named one.
        is_unreachable: Nobody answered at all: wrong address, or the server is not up.
        attempts: How often it was asked when this was the last of it.
    """

    then: Then
    kind: str
    said: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: str | None = None
    is_unreachable: bool = False
    attempts: int = 1


def redacted(text: str, key: str | None) -> str:
    """The text without the key, whole or in the way that URLs and servers' echoes hold it."""
    if key and len(key) >= _SHORTEST_KEY:
        for form in {key, quote(key, safe="")}:
            text = text.replace(form, "***")
    return _KEY_LIKE.sub("***", text)


def without_key(text: str, key: str | None) -> str:
    """A reply's own text without the key; a dummy such as "EMPTY" is no secret and stays."""
    return text.replace(key, "***") if key and len(key) > _LONGEST_DUMMY else text


def one_line(text: Any, key: str | None) -> str:  # noqa: ANN401 - whatever a server sent
    """A server's words in one line of bounded length, without keys."""
    said = redacted(" ".join(str(text).split()), key)
    return said if len(said) <= _MAX_SAID else said[: _MAX_SAID - 3] + "..."


def no_key(model: ChatModel) -> CannotAskError:
    """The variable is not set."""
    return CannotAskError(
        f"teacher {model.name} needs a key, and the environment variable {model.key_env} is not "
        f"set; type export {model.key_env}=KEY, or teacher.key_env=null for a server without one"
    )
