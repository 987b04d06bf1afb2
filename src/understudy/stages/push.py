"""``stage=push``: a run's arm as a data set, or its checkpoint as a model, with a filled card.

The folder suffices for others: ``datasets`` or ``transformers`` load it without Understudy. With
``repo=OWNER/NAME`` it goes to the Hub, too, private unless asked otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.data.uploads import MARK, HubRepo
from understudy.durable import replace_folder
from understudy.records import InputError, read_json_object
from understudy.report.cards.text import UNKNOWN, Licence
from understudy.stages import pushed_model
from understudy.stages.printing import print_facts
from understudy.stages.pushed_data import KINDS, PushedData
from understudy.stages.pushed_model import Origin, PushedModel
from understudy.tracking.manifest import file_sha256, read_manifest, run_folder_of

if TYPE_CHECKING:
    from understudy.tracking.run import Run

FOLDER = "push"


def run(
    *,
    run: Run,
    of_run: str,
    path: str | None,
    repo: str | None,
    private: bool,
    license: str | None,
    origin: Mapping[str, Any],
) -> None:
    """Saves the folder and, with ``repo``, pushes it.

    Args:
        run: The run to record in.
        of_run: The run whose arm or checkpoint is saved.
        path: Where the folder goes; null is ``push`` in the run folder.
        repo: OWNER/NAME on the Hub, null for none.
        private: Whether a new repository is private.
        license: What the user says; null is unknown.
        origin: See :class:`~understudy.stages.pushed_model.Origin`.

    Raises:
        InputError: There is nothing to save, no token, or the folder is somebody else's.
        RunError: The Hub did not take it; the folder is whole.
    """
    check(of_run=of_run, path=path, repo=repo, private=private, license=license, origin=origin)
    pushed = _pushed(of_run, origin)
    run.inherit(pushed.manifest)
    target = _target(path, run.folder)
    licence = Licence(license or UNKNOWN, repo)
    with run.timed("saving"):
        replace_folder(target, lambda new: _write(pushed, new, licence))
    if target.is_relative_to(run.folder):
        for file in sorted(each for each in target.rglob("*") if each.is_file()):
            run.add_output(file)
    facts = {**pushed.facts(), "folder": str(target), "card": str(target / pushed_model.README)}
    if repo is not None:
        with run.timed("pushing"):
            message = f"{pushed.manifest['stage']} run {pushed.manifest['id']}"
            facts["pushed to"] = HubRepo(repo, pushed.kind, private).push(target, message)
    print_facts(f"Saved as a {pushed.kind}", facts)


def check(
    *,
    of_run: str,
    path: str | None,
    repo: str | None,
    private: bool,
    license: str | None,
    origin: Mapping[str, Any],
) -> None:
    """Refuses what cannot work before anything is written.

    Raises:
        InputError: There is nothing to save, no token, or the folder is somebody else's.
    """
    del license
    pushed = _pushed(of_run, origin)
    if repo is not None:
        HubRepo(repo, pushed.kind, private).check()
    if path is not None:
        _refuse_others(Path(path).expanduser())
    pushed.check()


def plan(
    *,
    seed: int,
    of_run: str,
    path: str | None,
    repo: str | None,
    private: bool,
    license: str | None,
    origin: Mapping[str, Any],
) -> None:
    """Prints what would be saved and pushed, and how large it is; writes nothing."""
    del seed
    pushed = _pushed(of_run, origin)
    pushed.check()
    visible = "private" if private else "public"
    print_facts(
        f"Plan: push {of_run}",
        {
            **pushed.facts(),
            "folder": path or f"{FOLDER} in the run folder",
            "size": f"about {_size(pushed.num_bytes)}",
            "licence": license or "unknown; type license=NAME",
            "pushed to": f"{repo}, {visible}, as a {pushed.kind}" if repo else "nowhere",
        },
    )


def _pushed(of_run: str, origin: Mapping[str, Any]) -> PushedModel | PushedData:
    """What the run left to be saved.

    Raises:
        InputError: It is no finished run, or of a stage that leaves nothing of the kind.
    """
    folder = run_folder_of(of_run)
    if folder is None:
        raise InputError(f"run={of_run} is no run folder; give the folder that holds manifest.json")
    manifest = read_manifest(folder)
    if manifest["status"] != "finished":
        raise InputError(
            f"run={of_run} is {manifest['status']}, not finished; go on with it first: "
            f"python run.py resume={folder}"
        )
    if manifest["stage"] in pushed_model.STAGES:
        return PushedModel(folder, manifest, Origin(**origin))
    if manifest["stage"] in KINDS:
        return PushedData(folder, manifest)
    raise InputError(
        f"run={of_run} is of stage={manifest['stage']}, which leaves neither an arm nor a model; "
        f"give a run of stage={', '.join((*pushed_model.STAGES, *KINDS))}"
    )


def _target(path: str | None, run_folder: Path) -> Path:
    return run_folder / FOLDER if path is None else Path(path).expanduser().absolute()


def _write(pushed: PushedModel | PushedData, new: Path, licence: Licence) -> None:
    """Fills the folder, and marks it as ours with the hashes of what is in it."""
    pushed.write(new, licence)
    files = sorted(each for each in new.rglob("*") if each.is_file())
    mark: dict[str, Any] = {
        "run": pushed.manifest["id"],
        "is_lab": pushed.is_lab,
        "files": {file.relative_to(new).as_posix(): file_sha256(file) for file in files},
    }
    (new / MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")


def _refuse_others(target: Path) -> None:
    """Refuses a folder that would be replaced and holds what was not saved here, or was edited."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"path={target} is a file; give a folder")
    there = {
        each.relative_to(target).as_posix(): each for each in target.rglob("*") if each.is_file()
    }
    if not there:
        return
    if MARK not in there:
        raise InputError(f"path={target} holds files that were not saved here; give another folder")
    known = read_json_object(target / MARK, remedy="give another folder")["files"]
    for name, file in there.items():
        if name != MARK and known.get(name) != file_sha256(file):
            raise InputError(
                f"path={target}: {name} was changed or put there since it was saved; move it away, "
                "or give another folder"
            )


def _size(num_bytes: float) -> str:
    """A size for people.

    >>> _size(900), _size(25_300_000)
    ('900 bytes', '25.3 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} bytes"
