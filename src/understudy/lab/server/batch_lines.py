"""A batch as files: its requests as they are sent, replies and errors as they come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_REQUESTS = 50_000
"""What OpenAI takes in one batch."""

Problem = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """A request of a batch."""

    custom_id: str
    body: Mapping[str, Any]


def read_lines(content: bytes, endpoint: str) -> tuple[list[Line], list[Problem]]:
    """The requests of a file, and all that is wrong with it; a batch with a problem fails whole."""
    lines: list[Line] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for number, text in enumerate(content.splitlines(), start=1):
        if not text.strip():
            continue
        found = _read(text, endpoint)
        if isinstance(found, Line) and found.custom_id in seen:
            found = ("duplicate_custom_id", f"The custom_id '{found.custom_id}' is there twice.")
        if isinstance(found, Line):
            seen.add(found.custom_id)
            lines.append(found)
        else:
            problems.append(_problem(*found, line=number))
    if not lines and not problems:
        problems.append(_problem("empty_file", "The file holds no requests."))
    if len(lines) > MOST_REQUESTS:
        problems.append(
            _problem("too_many_requests", f"A batch has {MOST_REQUESTS:,} requests at most.")
        )
    return lines, problems


def written(
    line: Line, line_id: str, status: int, request_id: str, body: Mapping[str, Any]
) -> bytes:  # fmt: skip
    """A line of the output or error file."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    row = {"id": line_id, "custom_id": line.custom_id, "response": response, "error": None}
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _read(text: bytes, endpoint: str) -> Line | tuple[str, str]:
    """The request of a line, or what is wrong with it: a code and a sentence."""
    try:
        row = json.loads(text)
    except ValueError:
        return "invalid_json_line", "This line is not parseable as valid JSON."
    if not isinstance(row, dict) or not isinstance(row.get("custom_id"), str):
        return "missing_required_parameter", "Missing required parameter: 'custom_id'."
    if row.get("method") != "POST":
        return "invalid_method", "The method must be POST."
    if row.get("url") != endpoint:
        return "invalid_url", f"The url must be the batch's endpoint, {endpoint}."
    if not isinstance(row.get("body"), dict):
        return "missing_required_parameter", "Missing required parameter: 'body'."
    return Line(row["custom_id"], row["body"])


def _problem(code: str, message: str, line: int | None = None) -> Problem:
    return {"code": code, "message": message, "param": None, "line": line}
