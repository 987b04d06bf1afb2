"""Folders on the Hub: a repository is made, private unless asked, and a folder put into it.

The token comes from ``HF_TOKEN`` alone and is in no message. A repository that holds what somebody
else put there is refused, and so is a public one where a private one was asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.records import InputError, RunError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TOKEN = "HF_TOKEN"
MARK = "saved_by_understudy.json"
"""A file of every folder that we save: what tells it from others'."""

_GITS_OWN = (".gitattributes",)
_REPLACED = ("*.safetensors", "*.safetensors.index.json", "data/*.parquet")


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A repository on the Hub.

    Args:
        id: OWNER/NAME.
        kind: "model" or "dataset".
        is_private: Whether it is made private.
    """

    id: str
    kind: str
    is_private: bool = True

    def check(self) -> None:
        """Refuses what cannot work, before anything is made.

        Raises:
            InputError: The name is none, there is no token, or the Hub is switched off.
        """
        from huggingface_hub import constants  # noqa: PLC0415 - heavy
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # noqa: PLC0415 - re-exported

        try:
            validate_repo_id(self.id)
        except HFValidationError as error:
            raise InputError(f"repo={self.id}: {_line(error)}; type repo=OWNER/NAME") from error
        if self.id.count("/") != 1:
            raise InputError(f"repo={self.id} names no owner; type repo=OWNER/NAME")
        if not os.environ.get(TOKEN):
            raise InputError(
                f"repo={self.id} needs a token that may write there; export {TOKEN}=TOKEN "
                "(huggingface.co/settings/tokens), or leave repo out to save the folder only"
            )
        if constants.HF_HUB_OFFLINE:
            raise InputError(f"repo={self.id}: HF_HUB_OFFLINE is set; unset it to push")

    def push(self, folder: Path, message: str) -> str:
        """Puts the files of ``folder`` into the repository and returns the commit's address.

        Weights and tables of an earlier push that are no more are removed there; all else stays.

        Raises:
            InputError: The repository is somebody else's, or public.
            RunError: The Hub did not take it.
        """
        from huggingface_hub import HfApi  # noqa: PLC0415 - heavy

        api = HfApi(token=os.environ[TOKEN])
        try:
            api.create_repo(self.id, repo_type=self.kind, private=self.is_private, exist_ok=True)
            self._refuse_others(api)
            commit = api.upload_folder(
                repo_id=self.id,
                repo_type=self.kind,
                folder_path=folder,
                commit_message=message,
                delete_patterns=list(_REPLACED),
            )
        except InputError:
            raise
        except Exception as error:  # of HTTP, of the connection, of the Hub's own checks
            raise RunError(
                f"repo={self.id}: the Hub did not take it ({_line(error)}); the folder is whole, "
                f"in {folder}"
            ) from None
        return str(commit.commit_url)

    def _refuse_others(self, api: HfApi) -> None:
        there = api.model_info(self.id) if self.kind == "model" else api.dataset_info(self.id)
        if self.is_private and not there.private:
            raise InputError(
                f"repo={self.id} is there already and public; type private=false, or another repo"
            )
        names = [each.rfilename for each in there.siblings or ()]
        if MARK not in names and any(name not in _GITS_OWN for name in names):
            raise InputError(
                f"repo={self.id} holds files that were not saved here; give another repo"
            )


def _line(error: BaseException) -> str:
    """The error without its address list and without the token."""
    cause = "" if error.__cause__ is None else f"\n{error.__cause__}"
    lines = [line.strip() for line in f"{error}{cause}".splitlines() if line.strip()]
    said = " ".join(lines[:2]) or type(error).__name__
    token = os.environ.get(TOKEN)
    return (said.replace(token, "***") if token else said).rstrip(".")
