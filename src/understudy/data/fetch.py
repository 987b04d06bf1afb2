"""Published files: fetched once, kept in a cache folder, held to the bytes that were published.

Pooch downloads to a temporary file, compares the hash and moves the file into place, so a cache
never holds half a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from understudy.records import InputError, RunError

_TIMEOUTS = (5.0, 20.0)  # seconds to connect, and between two pieces of an answer


def fetch(name: str, url: str, *, sha256: str | None, folder: Path) -> Path:
    """The file at ``url``, from ``folder`` when it is there, else downloaded.

    Args:
        name: What the file is called in the cache.
        url: Where it was published.
        sha256: Of the published bytes; null takes whatever comes.
        folder: The cache. A file in it whose bytes have changed is fetched anew.

    Raises:
        RunError: It could not be fetched or stored, or other bytes came.
    """
    import pooch  # type: ignore[import-untyped]  # has none  # noqa: PLC0415 - seldom needed

    pooch.get_logger().setLevel("WARNING")  # it would print the path and hash of every file
    known = None if sha256 is None else f"sha256:{sha256.lower()}"
    edition = (sha256 or hashlib.sha256(url.encode()).hexdigest())[:12].lower()
    file = f"{name}-{edition}{PurePosixPath(urlsplit(url).path).suffix}"
    try:
        stored = pooch.retrieve(
            url,
            known,
            fname=file,
            path=folder,
            # read at once, so that no connection stays open behind an error
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUTS, stream=False),
        )
    except OSError as error:
        raise RunError(f"{url} could not be fetched ({_reason(error)})") from error
    except ValueError as error:
        hashes = str(error).partition("known hash: ")[2].partition(". ")[0]  # of pooch's paragraph
        raise RunError(f"{url} gave other bytes than the published ({hashes})") from error
    return Path(stored)


def require_sha256(path: Path, sha256: str, *, way_out: str) -> None:
    """Refuses a file that holds other bytes than were published.

    Raises:
        InputError: Its sha256 is another; ends in ``way_out``.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return  # whoever reads the rows says what is wrong with the path
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise InputError(
            f"{path}: not the published file (its sha256 is {found[:12]}…, the published one "
            f"{sha256[:12]}…); {way_out}"
        )


def _reason(error: Exception) -> str:
    """Why in a few words: what the innermost cause says, else what the server answered."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}".strip()
    inner = list(_causes(error))[-1]
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(text.split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
