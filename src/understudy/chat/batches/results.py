"""What a batch's files of replies and errors say of each request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy.chat.requests import Failure, Reply
from understudy.chat.wire.errors import Fault, one_line
from understudy.chat.wire.replies import reply_of
from understudy.tracking.manifest import now

EXPIRED = "expired"
_FILTERED = ("content_filter", "content_policy_violation")


def outcome_of(row: Mapping[str, Any], key: str, api_key: str | None) -> Reply | Failure:
    """The reply to a request, or why there is none; a line of either file."""
    response = row.get("response")
    response = response if isinstance(response, dict) else {}
    status, body = response.get("status_code"), response.get("body")
    if status == 200 and isinstance(body, dict):
        try:
            return reply_of(json.dumps(body).encode(), key, api_key)
        except Fault as fault:
            return _failure(key, fault.kind, fault.said, status)
    error = row.get("error") or (body.get("error") if isinstance(body, dict) else body) or {}
    error = error if isinstance(error, dict) else {"message": str(error)}
    code = str(error.get("code") or "")
    said = one_line(error.get("message") or code or "no reply and no reason", api_key)
    return _failure(key, _kind(status, code), said, status)


def left_over(key: str, state: str) -> Failure:
    """Of a request that the files of an ended batch do not name."""
    kind = state if state in (EXPIRED, "cancelled") else "no_text"
    return _failure(key, kind, f"the batch is {state} and says nothing of this request", None)


def _kind(status: object, code: str) -> str:
    if code == "batch_expired":
        return EXPIRED
    if code == "batch_cancelled":
        return "cancelled"
    if code in _FILTERED:
        return "content_filter"
    if status == 429:
        return "rate_limit"
    if not isinstance(status, int) or status >= 500:
        return "server"
    return "bad_request"


def _failure(key: str, kind: str, said: str, status: object) -> Failure:
    number = status if isinstance(status, int) else None
    return Failure(key, kind, said, number, attempts=1, created=now())
