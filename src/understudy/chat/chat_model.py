"""Who is asked, where and how: one model behind an API that speaks as OpenAI's does.

A model may call a parameter otherwise (``renamed``) or not take it at all (``refused``). Both are
said in the config, sent accordingly, and stated in the facts: nothing is left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from understudy.chat.requests import ChatRequest, request_key
from understudy.records import InputError

OPENAI_URL = "https://api.openai.com/v1"
_APIS = ("openai", "azure")
_OURS_TO_SET = ("model", "messages", "stream", "stream_options", "n")
_SECRET = re.compile(r"api.?key|authori[sz]ation|password|secret|headers|^token$", re.IGNORECASE)
_MOST_AT_ONCE = 1000  # connections that the official client keeps at most


def _alpacas() -> dict[str, Any]:
    return {"temperature": 1.0, "top_p": 1.0, "max_tokens": 512}


@dataclass(frozen=True)
class ChatModel:
    """A model and the limits within which it is asked.

    Args:
        name: What rows and reports call it.
        model: What is sent: the provider's name for it, or Azure's deployment.
        base_url: Where its API is, ``/v1`` included; null is OpenAI's own, whatever
            ``OPENAI_BASE_URL`` says. For Azure the resource: ``https://NAME.openai.azure.com``.
        api: "openai", also for everything that speaks as it does, or "azure".
        api_version: Azure's, such as "2024-10-21".
        key_env: The environment variable that holds the key; null for a server without one.
        identity: What stands for the server in the ledger; null is ``base_url``.
        params: Sent with each request; null leaves one out. ``seed`` becomes ``seed`` plus the
            number of the sample.
        renamed: Our name of a parameter to the model's.
        refused: Parameters that the model does not take; they are not sent.
        requests_per_minute: Kept below it in every minute; null is no limit.
        tokens_per_minute: The same for prompt and completion tokens.
        max_concurrent: Requests at once.
        max_attempts: How often a request is made that fails for a moment. A 429 is no attempt.
        timeout_seconds: How long one attempt may take.
        tokenizer: Of tiktoken, an encoding or a model, for estimates; null is the fallback.
        retry_seconds: The longest wait before the second attempt; it doubles with each.
        max_wait_seconds: How long a provider may refuse by 429 before asking ends.
        server: What the config found ``base_url`` by, where it did; it is nothing else.

    Raises:
        InputError: A value is out of range or does not go with another.
    """

    name: str
    model: str
    base_url: str | None = None
    api: str = "openai"
    api_version: str | None = None
    key_env: str | None = "OPENAI_API_KEY"
    identity: str | None = None
    params: Mapping[str, Any] = field(default_factory=_alpacas)
    renamed: Mapping[str, str] = field(default_factory=dict)
    refused: Sequence[str] = ()
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_concurrent: int = 32
    max_attempts: int = 5
    timeout_seconds: float = 120.0
    tokenizer: str | None = None
    retry_seconds: float = 1.0
    max_wait_seconds: float = 3600.0
    server: str | int | None = None

    def __post_init__(self) -> None:
        """Refuses values that mean nothing."""
        for name in ("name", "model"):
            if not str(vars(self)[name] or "").strip():
                raise InputError(f"teacher.{name} is empty; type teacher.{name}=NAME")
        self._check_server()
        self._check_params()
        self._check_numbers()

    @property
    def url(self) -> str:
        """Where it is asked, without a slash at the end."""
        return (self.base_url or OPENAI_URL).rstrip("/")

    @property
    def endpoint(self) -> str:
        """What stands for the server in the keys of the ledger."""
        return self.identity or self.url

    @property
    def max_tokens(self) -> int | None:
        """What the model writes at most in an answer; null where that is not bounded."""
        for name in ("max_tokens", "max_completion_tokens"):
            if name not in self.refused and self.params.get(name) is not None:
                return int(self.params[name])
        return None

    def sent_params(self) -> dict[str, Any]:
        """What goes beside model and messages, by the model's own names."""
        return {
            self.renamed.get(name, name): value
            for name, value in self.params.items()
            if value is not None and name not in self.refused
        }

    def key_of(self, request: ChatRequest) -> str:
        """The key of a request in the ledger."""
        return request_key(self.endpoint, self.model, self.sent_params(), request)

    def body_of(self, request: ChatRequest) -> dict[str, Any]:
        """What is sent for a request; a seed moves on with the number of the sample."""
        sent, seed = self.sent_params(), self.renamed.get("seed", "seed")
        if seed in sent:
            sent[seed] += request.sample
        messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        return {"model": self.model, "messages": messages, **sent}

    def facts(self) -> dict[str, Any]:
        """For manifests: who was asked where and how, without the key."""
        left_out = [name for name in self.refused if self.params.get(name) is not None]
        return {
            "name": self.name,
            "model": self.model,
            "api": self.api if self.api_version is None else f"{self.api} {self.api_version}",
            "base_url": self.url,
            "endpoint": self.endpoint,
            "params": self.sent_params(),
            "renamed": dict(self.renamed),
            "refused": list(self.refused),
            "left_out": {name: self.params[name] for name in left_out},
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
        }

    def with_params(self, **params: Any) -> ChatModel:  # noqa: ANN401 - any of the API's
        """The same with other values of some parameters; null leaves one out."""
        return replace(self, params={**self.params, **params})

    def _check_server(self) -> None:
        if self.api not in _APIS:
            raise InputError(
                f"teacher.api={self.api} is unknown; type teacher.api=openai (vLLM, Ollama and "
                "others speak it too) or teacher.api=azure"
            )
        if self.api == "azure" and (self.base_url is None or not self.api_version):
            raise InputError(
                "teacher.api=azure needs teacher.base_url=https://NAME.openai.azure.com and "
                "teacher.api_version=2024-10-21"
            )
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or not url.hostname or not _has_port(url):
            raise InputError(
                f"teacher.base_url={self.base_url} is no address; type "
                "teacher.base_url=http://HOST:PORT/v1"
            )
        if url.username or url.password or url.query or url.fragment:
            raise InputError(
                "teacher.base_url holds a password, a query or a fragment; type only the address, "
                "and put the key into the variable that teacher.key_env names"
            )

    def _check_params(self) -> None:
        if ours := [name for name in self.params if name in _OURS_TO_SET]:
            raise InputError(
                f"teacher.params.{ours[0]} is set by each request itself; leave it out"
            )
        if both := [name for name in self.refused if name in self.renamed]:
            raise InputError(
                f"teacher.refused and teacher.renamed both name {both[0]}; leave one out"
            )
        sent = [
            self.renamed.get(name, name)
            for name, value in self.params.items()
            if value is not None and name not in self.refused
        ]
        if twice := [name for name in sent if sent.count(name) > 1]:
            raise InputError(f"teacher.params would send {twice[0]} twice; set one of them to null")
        if len({"max_tokens", "max_completion_tokens"} & set(sent)) > 1:
            raise InputError(
                "teacher.params would send max_tokens and max_completion_tokens; set one to null"
            )
        if secret := [name for name in self.params if _SECRET.search(name)]:
            raise InputError(
                f"teacher.params.{secret[0]} looks like a secret, and parameters are written into "
                "manifests and ledger; put it into the variable that teacher.key_env names"
            )
        bound = self.max_tokens
        if bound is not None and bound < 1:
            raise InputError(f"teacher.params.max_tokens={bound} leaves no room for an answer")

    def _check_numbers(self) -> None:
        above_zero = ("requests_per_minute", "tokens_per_minute", "timeout_seconds")
        for name in above_zero:
            value = vars(self)[name]
            if value is not None and not value > 0:
                raise InputError(f"teacher.{name}={value} must be above 0")
        least = {"max_concurrent": 1, "max_attempts": 1, "retry_seconds": 0, "max_wait_seconds": 0}
        for name, value in least.items():
            if not vars(self)[name] >= value:
                raise InputError(f"teacher.{name}={vars(self)[name]} must be at least {value}")
        if self.max_concurrent > _MOST_AT_ONCE:
            raise InputError(
                f"teacher.max_concurrent={self.max_concurrent} is more than the client's "
                f"{_MOST_AT_ONCE} connections"
            )


def _has_port(url: SplitResult) -> bool:
    """Whether its port is one, or it has none."""
    try:
        return url.port != 0
    except ValueError:
        return False
