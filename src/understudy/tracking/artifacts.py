"""What runs hand to each other, as W&B artifacts: data set, checkpoint and predictions.

An artifact is known by the sha256 of its files, which the manifests hold already, so nothing is
hashed or copied for it, and a checkpoint has one digest as output of the run that trained it and as
input of the run that asks it. Offline, W&B takes no inputs: there the manifests alone carry them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from understudy.records import InputFile
from understudy.tracking.manifest import file_sha256, text_sha256

if TYPE_CHECKING:
    from wandb import Artifact as WandbArtifact
    from wandb import Run as WandbRun

_log = logging.getLogger(__name__)
LONGEST_NAME = 100  # W&B allows 128 characters
_CHECKPOINTS = "checkpoints"
_NO_TEXT = ("id", "task", "lang", "split", "author", "decoding", "finish", "scores")
_LONGEST_ARM = 60
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file by its name in the artifact; ``path`` is null where it is not on this machine.

    ``is_sent`` is True where W&B gets the file, False where it gets the place where it lies.
    """

    name: str
    sha256: str
    path: Path | None
    is_sent: bool = False


@dataclass(frozen=True, slots=True)
class RunArtifact:
    """What a run reads or leaves as a whole; ``type`` is "dataset", "model" or "predictions"."""

    type: str
    name: str
    files: tuple[ArtifactFile, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ("latest",)

    @property
    def digest(self) -> str:
        """The sha256 of its files' names and contents; where they lie does not matter."""
        return text_sha256({file.name: file.sha256 for file in self.files})

    def entry(self, role: str) -> dict[str, str]:
        """Its row in a manifest; ``role`` is "input" or "output"."""
        return {"type": self.type, "name": self.name, "role": role, "digest": self.digest}


def artifact_name(kind: str, of: str, ending: str = "") -> str:
    """A name that W&B takes: readable, the same for the same arguments; ``ending`` stays whole.

    What was cut from ``of``, or is not of the ASCII letters, is told apart by a hash.

    >>> artifact_name("data", "gpt4/alpaca")
    'data-gpt4-alpaca'
    >>> artifact_name("checkpoint", "data=lab_weak,model=lab", "-seed1")
    'checkpoint-data-lab_weak-model-lab-seed1'
    """
    name = f"{kind}-{_NOT_IN_A_NAME.sub('-', of).strip('-')}"
    if of.isascii() and len(name) <= LONGEST_NAME:
        return name + ending
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(of.encode()).hexdigest()[:8]}{ending}"


def data_of(teacher: str, files: Iterable[InputFile], source: object, folder: Path) -> RunArtifact:
    """A teacher's data set, by its files.

    What does not lie in files on this machine (the lab's data, the Hub's) is described in
    ``data.json``, which is written into ``folder``.
    """
    read = list(files)
    names = [PurePosixPath(file.path).name for file in read]
    if len(set(names)) < len(names):
        names = [file.path.lstrip("/") for file in read]
    found = [_file(name, file.sha256, file.path) for name, file in zip(names, read, strict=True)]
    if not found or any(file.path is None for file in found):
        description = {
            "teacher": teacher,
            "source": source,
            "sha256": {file.name: file.sha256 for file in found},
        }
        path = folder / "data.json"
        path.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", "utf-8")
        found.append(ArtifactFile(path.name, file_sha256(path), path, is_sent=True))
    metadata = {"teacher": teacher, "source": source, "rows": sum(file.rows for file in read)}
    return RunArtifact("dataset", artifact_name("data", teacher), tuple(found), metadata)


def checkpoint_of(
    manifest: Mapping[str, Any], run_folder: Path, inside: str, *, is_sent: bool
) -> RunArtifact:
    """The checkpoint at ``inside`` (``checkpoints/last``) of the run of ``manifest``."""
    below = PurePosixPath(inside)
    files = tuple(
        _file(str(path.relative_to(below)), each["sha256"], run_folder / path, is_sent=is_sent)
        for each in manifest["outputs"]
        if (path := PurePosixPath(each["path"])).is_relative_to(below)
    )
    return RunArtifact(
        "model",
        _name("checkpoint", manifest),
        files,
        _facts(manifest, "base_model", "budget", "comparable"),
        ("latest", below.name),
    )


def checkpoints_of(
    manifest: Mapping[str, Any], run_folder: Path, *, is_sent: bool
) -> list[RunArtifact]:
    """The checkpoints among a run's outputs; equal ones are one artifact with both aliases."""
    paths = (PurePosixPath(each["path"]) for each in manifest["outputs"])
    folders = sorted({str(path.parents[-3]) for path in paths if path.parts[0] == _CHECKPOINTS})
    found: dict[str, RunArtifact] = {}
    for inside in folders:
        each = checkpoint_of(manifest, run_folder, inside, is_sent=is_sent)
        known = found.get(each.digest, each)
        aliases = tuple(dict.fromkeys((*known.aliases, *each.aliases)))
        found[each.digest] = replace(known, aliases=aliases)
    return list(found.values())


def predictions_of(manifest: Mapping[str, Any], run_folder: Path, filename: str) -> RunArtifact:
    """The predictions that the run wrote to ``filename``."""
    sha256, rows = next(
        (each["sha256"], each["rows"]) for each in manifest["outputs"] if each["path"] == filename
    )
    return RunArtifact(
        "predictions",
        _name("predictions", manifest),
        (_file(filename, sha256, run_folder / filename, is_sent=True),),
        {**_facts(manifest, "stage", "comparable", "metrics"), "rows": rows},
    )


def without_text(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of predictions with what was asked and answered left out."""
    return ({key: row[key] for key in _NO_TEXT} for row in rows)


def _file(name: str, sha256: str, path: str | Path, *, is_sent: bool = False) -> ArtifactFile:
    place = Path(path)
    return ArtifactFile(name, sha256, place if place.is_file() else None, is_sent)


def _name(kind: str, manifest: Mapping[str, Any]) -> str:
    """By the arm; by the teacher and a hash of the arm where that is too long to read."""
    of = manifest["arm"] or manifest["name"]
    if len(of) > _LONGEST_ARM and manifest["teacher"]:
        of = f"{manifest['teacher']}-{hashlib.sha256(of.encode()).hexdigest()[:8]}"
    return artifact_name(kind, of, f"-seed{manifest['seed']}")


def _facts(manifest: Mapping[str, Any], *names: str) -> dict[str, Any]:
    kept = ("arm", "teacher", "seed", "sweep_id", *names)
    return {"run": manifest["id"], **{name: manifest[name] for name in kept}}


def log_output(run: WandbRun, artifact: RunArtifact) -> None:
    """Logs what the run leaves; offline, ``wandb sync`` sends it later."""
    with _only_a_warning(artifact):
        run.log_artifact(_to_wandb(artifact), aliases=list(artifact.aliases))


def log_input(run: WandbRun, artifact: RunArtifact) -> None:
    """Declares what the run reads, where W&B can be asked: it refuses inputs offline."""
    if not run.offline:
        with _only_a_warning(artifact):
            run.use_artifact(_to_wandb(artifact))


@contextmanager
def _only_a_warning(artifact: RunArtifact) -> Iterator[None]:
    """Lets the run go on whatever W&B's server says: the manifest has the artifact."""
    import wandb  # noqa: PLC0415 - loaded by now; a ground module does not load it for others

    try:
        yield
    except (wandb.Error, ValueError, OSError, RuntimeError) as error:
        _log.warning("W&B did not take %s (%s)", artifact.name, " ".join(str(error).split()))


def _to_wandb(artifact: RunArtifact) -> WandbArtifact:
    import wandb  # noqa: PLC0415 - see above

    files = [{"name": file.name, "sha256": file.sha256} for file in artifact.files]
    metadata = {**artifact.metadata, "digest": artifact.digest, "files": files}
    made = wandb.Artifact(artifact.name, type=artifact.type, metadata=metadata)
    for file in artifact.files:
        if file.path is None:
            continue
        if file.is_sent:
            # it stays in the run folder: no copy in wandb's staging folder or cache
            made.add_file(str(file.path), name=file.name, policy="immutable", skip_cache=True)
            continue
        for entry in made.add_reference(file.path.absolute().as_uri(), file.name, checksum=False):
            entry.digest = file.sha256  # wandb's own would be the path's
    return made
