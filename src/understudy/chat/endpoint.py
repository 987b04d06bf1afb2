"""Samples of an OpenAI-compatible server, such as vLLM, through the official client.

One call a sample, with a seed that depends on the run's seed, the prompt and the sample's number;
whether equal seeds give equal answers is the server's affair. What fails for a moment is asked
again and what is refused for now waits, as :mod:`understudy.chat.wire.client` has it; a call that
cannot succeed ends the run in one line. The key is read from ``OPENAI_API_KEY``, where it is set,
and appears in no message.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest
from understudy.chat.wire.client import Call, ChatClient
from understudy.chat.wire.errors import Fault, Then
from understudy.prompts import ChatTemplate, Message, Template
from understudy.records import InputError, Instruction, RunError
from understudy.samples import GREEDY, SAMPLED, Draw, Drawn, Keep

KEY = "OPENAI_API_KEY"
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Endpoint:
    """A server that answers.

    Args:
        base_url: Where its API is, ``/v1`` included.
        model: What the server calls the model.
        template: Of the prompts: a chat template sends messages to ``chat/completions``, any other
            its text to ``completions``. Null is the checkpoint's own.
        checkpoint: The checkpoint that the server has loaded, where it is known.
        temperature: Above 0; a greedy answer beside the samples is asked for by its own name.
        top_p: Samples from the likeliest tokens that together have this probability.
        top_k: Samples from so many of the likeliest tokens, all when 0; not every server can.
        max_new_tokens: Where an answer without an end is cut.
        max_concurrent: Calls at once.
        max_retries: How often a call is made again.
        retry_seconds: The wait before the first time; it doubles each time.
        timeout_seconds: How long a call may take.

    Raises:
        InputError: A value is out of range, or the URL holds a password.
    """

    base_url: str
    model: str
    template: Template | None = None
    checkpoint: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 256
    max_concurrent: int = 16
    max_retries: int = 4
    retry_seconds: float = 1.0
    timeout_seconds: float = 600.0

    def __post_init__(self) -> None:
        """Refuses values that mean nothing."""
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InputError(
                f"sampler.base_url={self.base_url} is no address; type http://HOST:PORT/v1"
            )
        if url.username or url.password:
            raise InputError(f"sampler.base_url holds a password; put the key into {KEY} instead")
        if self.temperature <= 0:
            raise InputError(f"sampler.temperature={self.temperature} draws no samples; type 1.0")
        if not 0 < self.top_p <= 1:
            raise InputError(f"sampler.top_p={self.top_p} is no probability above 0")
        least = {"top_k": 0, "max_new_tokens": 1, "max_concurrent": 1, "max_retries": 0,
                 "retry_seconds": 0, "timeout_seconds": 0}  # fmt: skip
        for name, value in least.items():
            if vars(self)[name] < value:
                raise InputError(f"sampler.{name}={vars(self)[name]} must be at least {value}")

    @property
    def author(self) -> str:
        """The server's name for the model."""
        return self.model

    @property
    def in_words(self) -> str:
        """How answers are chosen."""
        top_k = f", top_k {self.top_k}" if self.top_k else ""
        return (
            f"{SAMPLED}: temperature {self.temperature:g}, top_p {self.top_p:g}{top_k}, "
            f"{self.max_new_tokens} tokens"
        )

    def with_template(self, template: Template | None) -> Endpoint:
        """The same with another template."""
        return replace(self, template=template)

    def check(self) -> None:
        """Refuses to ask without a template."""
        _ = self._chosen_template

    def facts(self) -> Mapping[str, str]:
        """Template, decoding, and who answered where."""
        return {
            "template": self._chosen_template.sha256,
            "decoding": self.in_words,
            "base_model": f"{self.model} at {self.base_url}",
        }

    def weights(self) -> Mapping[str, str]:
        """None: they are the server's."""
        return {}

    def num_calls(self, num_answers: int) -> int:
        """One for each answer, where none has to be made again."""
        return num_answers

    def draw(self, wanted: Sequence[Draw], *, seed: int, keep: Keep) -> None:
        """Asks; see :class:`understudy.samples.Sampler`.

        Raises:
            InputError: A template of one turn is given a conversation.
            RunError: The server refuses, or a call fails again and again.
        """
        prompts = [self._prompt(each.prompt) for each in wanted]
        asyncio.run(self._draw(list(zip(wanted, prompts, strict=True)), seed, keep))

    async def _draw(
        self, wanted: Sequence[tuple[Draw, Mapping[str, Any]]], seed: int, keep: Keep
    ) -> None:
        """So many workers at once, each taking the next answer that is wanted."""
        waiting = iter(wanted)

        async def work(client: ChatClient) -> None:
            for draw, prompt in waiting:
                keep([await self._answer(client, draw, prompt, seed)])

        async with ChatClient(self._model) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.max_concurrent, len(wanted))):
                        group.create_task(work(client))
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None

    @property
    def _model(self) -> ChatModel:
        """The server as the client knows it; each call has its own parameters."""
        return ChatModel(
            name=self.model,
            model=self.model,
            base_url=self.base_url,
            key_env=KEY if os.environ.get(KEY, "").strip() else None,
            params={},
            max_concurrent=self.max_concurrent,
            max_attempts=self.max_retries + 1,
            retry_seconds=self.retry_seconds,
            timeout_seconds=self.timeout_seconds,
        )

    async def _answer(
        self, client: ChatClient, draw: Draw, prompt: Mapping[str, Any], seed: int
    ) -> Drawn:
        body = {
            "model": self.model,
            "temperature": 0.0 if draw.decoding == GREEDY else self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_new_tokens,
            "seed": _seed_of(draw, seed),
            **({"top_k": self.top_k} if self.top_k else {}),
            **prompt,
        }
        path = "/chat/completions" if "messages" in prompt else "/completions"
        nobody = ChatRequest(())  # no limit, so no estimate
        try:
            return await client.call(Call(path, body, partial(_drawn, draw), nobody))
        except Fault as fault:
            raise self._failure(draw, fault) from None

    def _prompt(self, prompt: Instruction) -> dict[str, str | list[Message]]:
        """What the call says of the prompt."""
        template = self._chosen_template
        if isinstance(template, ChatTemplate):
            return {"messages": template.messages(prompt)}
        if prompt.history:
            raise InputError(
                f"row {prompt.id} is a conversation, and template {template.name!r} has room for "
                "one turn; type prompt=chat_template"
            )
        return {"prompt": template.render(prompt.instruction, prompt.input)}

    @property
    def _chosen_template(self) -> Template:
        if self.template is None:
            raise InputError(
                "the endpoint's prompts have no template; type prompt=alpaca, prompt=chat_template "
                "for messages, or model.path=RUN for that run's own"
            )
        return self.template

    def _failure(self, draw: Draw, fault: Fault) -> RunError:
        """One line without the key."""
        asked = f"sample {draw.sample} of question {draw.prompt.id}"
        tries = f" after {fault.attempts} calls" if fault.attempts > 1 else ""
        status = f"{fault.status}: " if fault.status else ""
        hint = f"; {_HINTS[fault.kind]}" if fault.kind in _HINTS else ""
        return RunError(
            f"{self.base_url} gave no answer for {asked}{tries}: {status}{fault.said}{hint}"
        )


_HINTS = {
    "key": f"export {KEY}=KEY",
    "forbidden": f"export {KEY}=KEY",
    "model": "check sampler.model and sampler.base_url",
    "url": "check sampler.model and sampler.base_url",
    "redirect": "check sampler.base_url",
    "connection": "is the server up?",
    "timeout": "raise sampler.timeout_seconds",
    "no_text": "raise sampler.max_new_tokens, or leave the question out",
}


def _drawn(draw: Draw, body: bytes) -> Drawn:
    """The sample that an answer holds.

    Raises:
        Fault: It holds none.
    """
    try:
        reply = json.loads(body)
        choices, usage = reply.get("choices"), reply.get("usage") or {}
        choice = choices[0] if choices else None
        text = choice and (choice["message"]["content"] if "message" in choice else choice["text"])
        finish = choice and choice.get("finish_reason")
        num_tokens = usage.get("completion_tokens")
    except (ValueError, AttributeError, LookupError, TypeError):
        raise Fault(Then.RETRY, "unreadable", "an answer that cannot be read") from None
    if choice is None:
        raise Fault(Then.RETRY, "unreadable", "no choices in the reply")
    if text is None or finish not in ("stop", "length") or (finish == "length" and not text):
        raise Fault(Then.RETRY, "no_text", f"no text (finish_reason={finish})")
    return Drawn(draw, text, finish, num_tokens)


def _seed_of(draw: Draw, seed: int) -> int:
    """A seed that servers take: 31 bits of the run's seed, the prompt and the sample's number."""
    digest = hashlib.sha256(repr((seed, *draw.stream)).encode()).digest()
    return int.from_bytes(digest[:8], "big") & _LARGEST_SEED
