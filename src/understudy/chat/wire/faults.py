"""What an error of the client means, in the four ways of :mod:`understudy.chat.wire.errors`.

Servers that speak as OpenAI's does agree on the status and little else, so the body is read with
care: OpenAI and Azure name a code and a parameter, vLLM and Ollama a message, others a list.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import aiohttp
import httpx2
import openai

from understudy.chat.wire.errors import Fault, Then, one_line

# What the client and its transport raise; a ValueError is a text that UTF-8 or JSON cannot hold.
ERRORS = (openai.OpenAIError, aiohttp.ClientError, httpx2.HTTPError, OSError, ValueError)
_FILTERED = {"content_filter", "content_policy_violation", "moderation_blocked"}
_SPENT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_NO_MODEL = {"model_not_found", "deploymentnotfound", "invalid_model"}
_TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
_REFUSAL = re.compile(
    r"unsupported|unknown|unrecognized|not supported|not permitted|does not support|deprecated",
    re.IGNORECASE,
)
_PASSING = {409, 425}


def fault_of(error: Exception, key: str | None, sent: Collection[str]) -> Fault:
    """What follows from an error; ``sent`` are the parameters beside model and messages."""
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, key, sent)
    if isinstance(error, TimeoutError):
        return Fault(Then.RETRY, "timeout", "no answer within timeout_seconds")
    if isinstance(error, ValueError):
        return Fault(Then.GIVE_UP, "bad_request", one_line(f"cannot be sent: {error}", key))
    return _of_connection(error, key)


def _of_connection(error: Exception, key: str | None) -> Fault:
    causes = list(_causes(error))
    said = next((text for each in reversed(causes) if (text := str(each))), "connection lost")
    certificate = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)
    if any(isinstance(each, certificate) for each in causes):
        return Fault(Then.FATAL, "connection", one_line(said, key), is_unreachable=True)
    for each in causes:
        if isinstance(each, aiohttp.ClientConnectorError):
            said = one_line(str(each).replace(" ssl:default", ""), key)
            return Fault(Then.RETRY, "connection", said, is_unreachable=True)
    lost = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)
    is_lost = any(isinstance(each, lost) for each in causes)
    if isinstance(error, openai.APITimeoutError) and not is_lost:
        return Fault(Then.RETRY, "timeout", "no answer within timeout_seconds")
    if isinstance(error, aiohttp.ClientResponseError):
        said = error.message  # its text opens with a status that nobody sent
    return Fault(Then.RETRY, "connection", one_line(said, key))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _of_status(error: openai.APIStatusError, key: str | None, sent: Collection[str]) -> Fault:
    then, kind = _follows(error)
    refused = _refused(error, sent) if kind == "bad_request" else None
    if refused:
        then, kind = Then.FATAL, "parameter"
    said = one_line(_said(error), key)
    return Fault(then, kind, said, error.status_code, error.response.headers, refused)


def _follows(error: openai.APIStatusError) -> tuple[Then, str]:
    """What follows from a status, and its kind: the first of the claims that holds."""
    status, code = error.status_code, str(error.code or "").lower()
    claims = (
        (status == 402 or bool({code, str(error.type).lower()} & _SPENT), Then.FATAL, "quota"),
        (status == 429, Then.PAUSE, "rate_limit"),
        (status in (408, 504), Then.RETRY, "timeout"),
        (status >= 500 or status in _PASSING, Then.RETRY, "server"),
        (status < 400, Then.FATAL, "redirect"),
        (_is_filtered(error, code), Then.GIVE_UP, "content_filter"),
        (code in _NO_MODEL or _is_about_a_model(error), Then.FATAL, "model"),
        (status == 401, Then.FATAL, "key"),
        (status == 403, Then.FATAL, "forbidden"),
        (status in (404, 405), Then.FATAL, "url"),
    )
    found = ((then, kind) for holds, then, kind in claims if holds)
    return next(found, (Then.GIVE_UP, "bad_request"))


def _is_filtered(error: openai.APIStatusError, code: str) -> bool:
    inner = error.body.get("innererror") if isinstance(error.body, dict) else None
    policy = inner.get("code") if isinstance(inner, dict) else None
    flagged = error.status_code == 403 and "flagged" in _said(error).lower()
    return code in _FILTERED or policy == "ResponsibleAIPolicyViolation" or flagged


def _is_about_a_model(error: openai.APIStatusError) -> bool:
    """A 404 in the API's own form that speaks of the model, not of the address."""
    if error.status_code != 404 or not isinstance(error.body, dict):
        return False
    said = str(error.body.get("message")).lower()
    return ("model" in said or "deployment" in said) and "invalid url" not in said


def _refused(error: openai.APIStatusError, sent: Collection[str]) -> str | None:
    """The parameter that this model does not take, or not with this value."""
    said = _said(error)
    if str(error.code).lower() in _TOO_LONG or "context length" in said.lower():
        return None
    named = {str(error.param), *_named_in_a_list(error.body)} & set(sent)
    if named:
        return min(named)
    if not _REFUSAL.search(said):
        return None
    quoted = set(re.findall(r"['\"`](\w+)['\"`]", said)) & set(sent)
    return min(quoted) if quoted else None


def _named_in_a_list(body: object) -> Iterator[str]:
    """The fields that a 422 names: {"detail": [{"loc": ["body", "seed"], ...}]}."""
    details = body.get("detail") if isinstance(body, dict) else None
    for each in details if isinstance(details, list) else ():
        where = each.get("loc") if isinstance(each, dict) else None
        yield from (str(part) for part in where or ())


def _said(error: openai.APIStatusError) -> str:
    """The server's own words, or what there is instead."""
    body: Any = error.body
    if isinstance(body, Mapping):
        words = body.get("message") or body.get("detail") or body.get("error") or dict(body)
        return str(words)
    text = str(body or "").strip()
    if text.startswith("<"):
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return f"a web page{f' ({title.group(1).strip()})' if title else ''}"
    return text or error.response.reason_phrase or "nothing said"
