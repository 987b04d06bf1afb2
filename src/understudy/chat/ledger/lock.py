"""One writer at a time: a lock on a file beside the ledger, which the kernel frees at any end.

The file is there only while it is held, or after a writer was killed; then it binds nobody.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO

from understudy.records import RunError

_NOT_OFFERED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_log = logging.getLogger(__name__)


class LedgerLock:
    """Held by the process that writes; folders that it has to make for it are taken back."""

    def __init__(self, ledger: Path) -> None:
        """Takes nothing yet."""
        self._ledger = ledger
        self.path = ledger.with_name(f"{ledger.name}.lock")
        self._stream: IO[str] | None = None
        self._made: list[Path] = []

    @property
    def is_held(self) -> bool:
        """Whether this object holds it."""
        return self._stream is not None

    def take(self) -> None:
        """Takes the lock.

        Raises:
            RunError: Another process, or another ledger of this one, holds it; or no file can be
                made there.
        """
        try:
            self._make_folder()
            self._stream = self._taken()
        except OSError as error:
            self._remove_folders()
            raise RunError(
                f"{self._ledger} cannot be written ({error.strerror}); type ledger=FILE elsewhere"
            ) from error

    def free(self) -> None:
        """Gives the lock back; what is empty of what was made for it goes."""
        if self._stream is None:
            return
        self.path.unlink(missing_ok=True)
        self._stream.close()
        self._stream = None
        self._remove_folders()

    def _taken(self) -> IO[str]:
        while True:
            stream = self.path.open("a+", encoding="utf-8")
            try:
                self._lock(stream)
            except BaseException:
                stream.close()
                raise
            if self._is_in_place(stream):
                return stream
            stream.close()  # its holder has just removed it

    def _lock(self, stream: IO[str]) -> None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise RunError(
                f"the ledger {self._ledger} is being written by {holder}; wait for it to end, or "
                "end it, or type ledger=FILE for another"
            ) from None
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            _log.warning("%s: the file system has no locks; start no other run on it", self._ledger)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()

    def _is_in_place(self, stream: IO[str]) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(stream.fileno()), self.path.stat())
        return False

    def _make_folder(self) -> None:
        folder = self._ledger.parent
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made = missing

    def _remove_folders(self) -> None:
        for folder in self._made:
            with suppress(OSError):  # there is something in it: the ledger
                folder.rmdir()
        self._made = []
