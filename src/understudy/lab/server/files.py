"""Files of the API: sent as multipart forms, kept in memory as long as the server runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from understudy.lab.server.errors import ApiError, missing, not_found

_BREAK = b"\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a form; ``filename`` is "" where it is no file."""

    filename: str
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was sent, or made."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int

    def listed(self) -> dict[str, Any]:
        """The file as the API says it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """All files there are."""

    def __init__(self, prefix: str) -> None:
        """``prefix`` is what the names of this server's objects begin with."""
        self._prefix = prefix
        self._files: dict[str, StoredFile] = {}
        self._next = 0

    def add(self, content: bytes, filename: str, purpose: str) -> StoredFile:
        """Keeps a file."""
        file = StoredFile(
            f"file-{self._prefix}-{self._next}", filename, purpose, content, int(time.time())
        )
        self._next += 1
        self._files[file.id] = file
        return file

    def add_sent(self, form: Mapping[str, Part]) -> StoredFile:
        """Keeps the file of a form with ``purpose`` and ``file``.

        Raises:
            ApiError: One of them is missing.
        """
        for name in ("purpose", "file"):
            if name not in form:
                raise missing(name)
        return self.add(
            form["file"].content, form["file"].filename, form["purpose"].content.decode()
        )

    def get(self, file_id: str) -> StoredFile:
        """A file by its id.

        Raises:
            ApiError: There is none.
        """
        if file_id not in self._files:
            raise not_found(f"File object: {file_id}")
        return self._files[file_id]

    def delete(self, file_id: str) -> None:
        """Forgets a file.

        Raises:
            ApiError: There is none.
        """
        self.get(file_id)
        del self._files[file_id]

    def all(self) -> list[StoredFile]:
        """All files, the newest first."""
        return list(self._files.values())[::-1]


def read_form(body: bytes, content_type: str) -> dict[str, Part]:
    """The fields of a multipart form by their names.

    Raises:
        ApiError: It is none.
    """
    boundary = _parameter(content_type, "content-type", "boundary")
    if not boundary:
        raise ApiError(400, "The body must be a multipart/form-data form.")
    form = {}
    for piece in body.split(b"--" + boundary.encode())[1:]:
        head, gap, content = piece.removeprefix(_BREAK).partition(_BREAK * 2)
        if not gap:
            continue  # the form's end
        said = _disposition(head)
        form[_parameter(said, "content-disposition", "name")] = Part(
            _parameter(said, "content-disposition", "filename"), content.removesuffix(_BREAK)
        )
    return form


def _disposition(head: bytes) -> str:
    for line in head.decode(errors="replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-disposition":
            return value.strip()
    return ""


def _parameter(value: str, header: str, name: str) -> str:
    """A parameter of a header's value, such as a boundary; "" where it is not there."""
    message = Message()
    message[header] = value
    found = message.get_param(name, "", header=header)
    return found if isinstance(found, str) else found[2]
