"""Run folders as stages leave them: synthetic arms of known quality in a small lab."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from understudy.records import (
    Instruction,
    Prediction,
    Question,
    prediction_to_json,
    write_jsonl,
)
from understudy.tracking.manifest import Manifest

FAMILIES = ("first", "last", "compare", "max", "majority", "member", "count")
SPLITS = ("iid", "unseen_paraphrase", "unseen_length")
_BUCKETS = ("0-2", "3-5", "6-10", ">10")


@dataclass(frozen=True)
class FakeRun:
    """What a run folder says; ``quality`` is the chance that its student answers right."""

    arm: str = "data=lab_strong,experiment=quickstart"
    seed: int = 1
    quality: float = 0.95
    num_questions: int = 70
    teacher: str = "strong"
    teacher_quality: float = 0.98
    status: str = "finished"
    error: str | None = None
    stage: str = "sft"
    started: str = "2026-11-20T10:00:00.000+00:00"
    id: str = ""
    comparable: Mapping[str, str | None] = field(default_factory=dict)
    budget: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=lambda: {"empty_output": 2, "too_long": 1})
    outputs: Mapping[str, str] = field(default_factory=dict)
    overrides: Sequence[str] | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    parts: Sequence[str] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)

    def but(self, **changes: object) -> FakeRun:
        """The same run with other values."""
        return replace(self, **changes)  # type: ignore[arg-type]  # names are checked by replace


def write_run(folder: Path, run: FakeRun) -> Path:
    """Writes a run folder and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _manifest(run).write(folder)
    if run.extra:
        manifest = json.loads(path.read_text(encoding="utf-8")) | dict(run.extra)
        path.write_text(json.dumps(manifest), encoding="utf-8")
    if run.status == "finished":
        write_jsonl(folder / "predictions.jsonl", map(prediction_to_json, predictions(run)))
        write_jsonl(folder / "baselines.jsonl", map(prediction_to_json, _baselines(run)))
        (folder / "metrics.csv").write_text(_history(run), encoding="utf-8")
        if run.losses:
            write_jsonl(folder / "losses.jsonl", _losses(run))
    return folder


def _losses(run: FakeRun) -> Iterator[dict[str, object]]:
    """The student's and the base's losses on each teacher's held-out answers; some undefined."""
    noise = np.random.default_rng([run.seed, 11]).normal(0, 0.1, 40)
    for author in ("student", "base"):
        for number, shift in enumerate(noise.tolist()):
            scores = {
                f"eval/loss/{teacher}": (mean if author == "student" else 5.0) + shift
                for teacher, mean in run.losses.items()
            }
            if number == 0:
                scores = dict.fromkeys(scores)
            yield {"id": f"h{number:03d}", "author": author, "scores": scores}


def _manifest(run: FakeRun) -> Manifest:
    comparable = {
        "prompts": "aa" * 32, "template": "bb" * 32, "base_model": f"llama-0.3m seed {run.seed}",
        "tokenizer": "cc" * 32, "questions": "dd" * 32, "judge": None,
        "decoding": "greedy, temperature 1",
    }  # fmt: skip
    budget = {"kind": "examples", "examples": 8000, "supervised_tokens": 71_000, "steps": 500}
    is_done = run.status == "finished"
    own = {"val/loss": 0.2 + 0.1 * run.seed, "train/tokens_per_second": 10_000.0 + run.seed}
    return Manifest(
        id=run.id or f"{run.teacher}-{run.seed}",
        stage=run.stage,
        name="quickstart",
        arm=run.arm,
        seed=run.seed,
        teacher=run.teacher,
        base_model="llama-0.3m",
        overrides=list(run.overrides or [*run.arm.split(","), f"seed={run.seed}"]),
        status=run.status,
        error=run.error,
        git={"commit": "0123456789abcdef", "dirty": False},
        dropped=dict(run.dropped),
        metrics={**own, **run.metrics} if is_done else {},
        reasons={"eval/undefined": "the answers have no tokens"},
        budget={**budget, **run.budget},
        comparable={**comparable, **run.comparable},
        timings=dict(run.timings),
        started=run.started,
    )


def predictions(run: FakeRun) -> Iterator[Prediction]:
    """A run's answers: greedy and sampled, right with its quality, items harder or easier alike."""
    rng = np.random.default_rng([run.seed, round(1000 * run.quality)])
    yield from _rows(run, run.arm, run.quality, rng, "greedy")
    yield from _rows(run, run.arm, 0.9 * run.quality, rng, "t1")


def _baselines(run: FakeRun) -> Iterator[Prediction]:
    base = np.random.default_rng([run.seed, 7])
    yield from _rows(run, "base", 0.05, base, "greedy")
    teacher = np.random.default_rng(round(1000 * run.teacher_quality))
    name = f"teacher {run.teacher}"
    yield from _rows(run, name, run.teacher_quality, teacher, "greedy")


def _rows(
    run: FakeRun, author: str, quality: float, rng: np.random.Generator, decoding: str
) -> Iterator[Prediction]:
    hardness = np.random.default_rng(3).random(run.num_questions)
    suffix = "" if decoding == "greedy" else f"@{decoding}"
    for number in range(run.num_questions):
        family = FAMILIES[number % len(FAMILIES)]
        chance = 0.5 * quality + 0.5 * float(hardness[number] < quality)
        is_right = bool(rng.random() < chance)
        answer = " ".join(["abc", "def", "ghi", "jkl"][: 1 + number % 4])
        question = Question(
            Instruction(
                id=f"q{number:04d}", instruction=f"say the {family} of these", input="k m r t",
                task=family, split=SPLITS[number % len(SPLITS)],
            ),
            {"gold": answer},
        )  # fmt: skip
        rouge = 1.0 if is_right else float(rng.random() * 0.6)
        yield Prediction(
            question, author, run.outputs.get(question.prompt.id, answer if is_right else "x y"),
            decoding, "stop",
            {f"{name}{suffix}": value for name, value in _scores(run, question, is_right, rouge)},
        )  # fmt: skip


def _scores(
    run: FakeRun, question: Question, is_right: bool, rouge: float
) -> Sequence[tuple[str, float | None]]:
    right = float(is_right)
    bucket = _BUCKETS[int(question.prompt.id[1:]) % 3]
    scores: list[tuple[str, float | None]] = [
        ("eval/lab_accuracy", right),
        (f"eval/lab_accuracy/{question.prompt.task}", right),
        (f"eval/lab_accuracy/split:{question.prompt.split}", right),
        ("eval/rouge_l", rouge),
        (f"eval/rouge_l/{bucket}", rouge),
        ("eval/rouge_1", rouge),
        ("eval/rouge_2", rouge * 0.8),
        ("eval/undefined", None),
    ]
    if run.parts:
        part = run.parts[int(question.prompt.id[1:]) % len(run.parts)]
        words = 3.0 + right
        scores += [
            (f"eval/lab_accuracy/{part}", right), (f"eval/rouge_l/{part}", rouge),
            ("eval/answer_words", words), (f"eval/answer_words/{part}", words),
        ]  # fmt: skip
    return scores if is_right else [*scores, ("eval/lab_inherited_errors", float(rouge > 0.3))]


def _history(run: FakeRun) -> str:
    rng = np.random.default_rng(run.seed)
    lines = ["step,supervised_tokens,train/loss,val/loss"]
    for step in range(0, 500, 5):
        loss = 0.15 + (1 - run.quality) * 0.3 + 2.5 * np.exp(-step / 60) + 0.1 * rng.random()
        lines.append(f"{step},{step * 142},{loss:.4f},")
        if step % 100 == 95:
            lines.append(f"{step},{step * 142},,{loss + 0.05:.4f}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def add_run() -> Callable[..., Path]:
    """Writes a run folder: a finished run of the strong arm, but for the named changes."""

    def add(folder: Path, **changes: object) -> Path:
        return write_run(folder, FakeRun().but(**changes))

    return add


ARMS = (
    FakeRun(),
    FakeRun(arm="data=lab_medium,experiment=quickstart", quality=0.7, teacher="medium",
            teacher_quality=0.8),
    FakeRun(arm="data=lab_weak,experiment=quickstart", quality=0.4, teacher="weak",
            teacher_quality=0.33),
)  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three arms by two seeds: jobs 0 to 5."""
    folder = tmp_path / "sweep"
    jobs = [run.but(seed=seed) for run in ARMS for seed in (1, 2)]
    for number, run in enumerate(jobs):
        write_run(folder / str(number), run)
    return folder
