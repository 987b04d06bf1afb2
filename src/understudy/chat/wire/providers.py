"""The official client for a model's provider: OpenAI and what speaks as it does, or Azure."""

from __future__ import annotations

import logging
import os

import openai

from understudy.chat.chat_model import OPENAI_URL, ChatModel
from understudy.chat.wire.errors import CannotAskError, no_key

_log = logging.getLogger(__name__)
_CONNECT_SECONDS = 15.0


def key_for(model: ChatModel) -> str | None:
    """The key of the environment; null where the server wants none.

    Raises:
        CannotAskError: The variable is not set, or holds what no header can.
    """
    if model.key_env is None:
        return None
    key = os.environ.get(model.key_env, "").strip()
    if not key:
        raise no_key(model)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CannotAskError(
            f"the environment variable {model.key_env} holds spaces, line breaks or letters that "
            f"no key has; type export {model.key_env}=KEY"
        )
    return key


def opened(model: ChatModel) -> openai.AsyncOpenAI:
    """The official client, on aiohttp, without retries of its own and without redirects.

    A redirect would turn a question into a mere fetch, or send the key elsewhere.

    Raises:
        CannotAskError: There is no key.
    """
    key = key_for(model)
    timeout = openai.Timeout(model.timeout_seconds, connect=_CONNECT_SECONDS)
    http = openai.DefaultAioHttpClient(timeout=timeout, follow_redirects=False)
    if model.api == "azure":
        return openai.AsyncAzureOpenAI(
            azure_endpoint=model.url,
            api_version=model.api_version,
            api_key=key or "none",
            max_retries=0,
            timeout=timeout,
            http_client=http,
        )
    if model.base_url is None and os.environ.get("OPENAI_BASE_URL"):
        _log.warning(
            "OPENAI_BASE_URL is set and not read; %s is asked at %s. To ask elsewhere type "
            "teacher.base_url=URL",
            model.name,
            OPENAI_URL,
        )
    client = openai.AsyncOpenAI(
        base_url=model.url, api_key=key or "none", max_retries=0, timeout=timeout, http_client=http
    )
    if model.base_url is not None:  # what the variables of an OpenAI account say is for OpenAI
        client.organization = client.project = None
    return client
