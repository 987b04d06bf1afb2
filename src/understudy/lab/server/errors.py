"""What the server says when it does not answer: OpenAI's error bodies, with their status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Headers = Sequence[tuple[str, str]]


class ApiError(Exception):
    """A request that is not answered.

    Attributes:
        status: Of HTTP.
        headers: Of the response, beside those that every response has.
        body: The error as OpenAI says it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Headers = (),
    ) -> None:
        """``type``, ``param`` and ``code`` are the fields of OpenAI's error object."""
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = {"error": {"message": message, "type": type, "param": param, "code": code}}

    def encoded(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.body).encode()


def bad_json() -> ApiError:
    """The body is no JSON object."""
    return ApiError(
        400, "We could not parse the JSON body of your request: it must be one JSON object."
    )


def missing(param: str) -> ApiError:
    """A parameter that must be there is not."""
    return ApiError(
        400,
        f"Missing required parameter: '{param}'.",
        param=param,
        code="missing_required_parameter",
    )


def wrong(param: str, what: str) -> ApiError:
    """A parameter's value cannot be used; ``what`` says what can."""
    return ApiError(
        400, f"Invalid value for '{param}': {what}.", param=param, code="invalid_value"
    )  # fmt: skip


def unsupported(param: str) -> ApiError:
    """A parameter that this server refuses, as some models do."""
    return ApiError(
        400,
        f"Unsupported parameter: '{param}' is not supported with this model.",
        param=param,
        code="unsupported_parameter",
    )


def wrong_key() -> ApiError:
    """No key, or another than the server's; the key itself is not repeated."""
    return ApiError(401, "Incorrect API key provided.", code="invalid_api_key")


def unknown_model(name: object, known: Mapping[str, Any]) -> ApiError:
    """No model of that name; names those there are."""
    return ApiError(
        404,
        f"The model '{name}' does not exist or you do not have access to it. "
        f"There are {', '.join(known)}.",
        param="model",
        code="model_not_found",
    )


def not_found(what: str) -> ApiError:
    """A file, batch or bill that is not there."""
    return ApiError(404, f"No such {what}.", code="not_found")


def unknown_url(method: str, path: str) -> ApiError:
    """A path that the API does not have."""
    return ApiError(404, f"Invalid URL ({method} {path})", code="unknown_url")


def too_many(seconds: float | None, headers: Headers = ()) -> ApiError:
    """A limit is reached; ``seconds`` until a new try makes sense, null leaves the header out."""
    retry = (
        []
        if seconds is None
        else [("retry-after", f"{max(seconds, 0.001):.3f}".rstrip("0").rstrip("."))]
    )
    return ApiError(
        429,
        "Rate limit reached: more requests or tokens in a minute than this server allows.",
        type="requests",
        code="rate_limit_exceeded",
        headers=[*headers, *retry],
    )


def quota_spent() -> ApiError:
    """The account has no money left; a later try is of no use."""
    return ApiError(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
        code="insufficient_quota",
    )


def broken(status: int) -> ApiError:
    """A failure of the server's own, for a moment."""
    said = {
        500: "The server had an error while processing your request.",
        503: "The server is overloaded or not ready yet.",
    }
    return ApiError(status, said[status], type="server_error")


def filtered() -> ApiError:
    """The prompt is one that the content filter does not let through."""
    return ApiError(
        400,
        "The response was filtered due to the prompt triggering the content management policy.",
        param="prompt",
        code="content_filter",
    )
