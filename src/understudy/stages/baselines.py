"""The floor and the ceiling of a table: the untuned base, and the teacher's own answers.

The base is the same for every arm that shares it, so it is asked once and kept; it is not even
loaded where all it would say is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.data.arm import DataArm
from understudy.eval.evaluate import Evaluation, KnownLosses, Measured
from understudy.eval.record import (
    BASE,
    cached_answers,
    cached_losses,
    questions_sha256,
    without_author,
)
from understudy.models.source import ModelSource
from understudy.records import Prediction
from understudy.stages.prepare import Work
from understudy.stages.printing import answering

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OF_THE_BASE = ("base_model", "tokenizer", "template")


class Base:
    """The untuned base of a run, asked or remembered."""

    def __init__(
        self,
        model: ModelSource,
        work: Work,
        evaluation: Evaluation,
        *,
        comparable: Mapping[str, str | None],
        seed: int,
        cache_dir: str | None,
    ) -> None:
        """Keeps what the base's answers depend on; nothing is loaded yet."""
        self._model, self._work, self._evaluation = model, work, evaluation
        self._seed = seed
        self._cache = None if cache_dir is None else Path(cache_dir).expanduser()
        self._decoding = comparable["decoding"]
        self._key = {name: comparable[name] for name in _OF_THE_BASE}
        self._key |= {"seed": str(seed), "dtype": model.dtype, "encoder": work.encoder.sha256}

    def losses(self) -> KnownLosses:
        """Its loss on every teacher's held-out answers."""
        held_out = self._work.held_out

        def measure() -> KnownLosses:
            return self._evaluation.losses(self._policy, self._work.encoder, held_out)

        if self._cache is None:
            return measure()
        key = {**self._key, "held_out": questions_sha256(held_out)}
        return cached_losses(self._cache, key, measure, num_rows=len(held_out))

    def answers(self, losses: KnownLosses) -> list[Prediction]:
        """Its answers, scored; ``losses`` are those of :meth:`losses`."""
        questions, evaluation = self._work.questions, self._evaluation
        num_rows = evaluation.num_answers(questions)

        def answer() -> list[Prediction]:
            with answering(BASE, num_rows) as progress:
                return evaluation.evaluate(
                    self._policy,
                    self._work.encoder,
                    questions,
                    author=BASE,
                    seed=self._seed,
                    progress=progress,
                    known_losses=Measured(self._work.held_out, losses),
                )

        if self._cache is None:
            return answer()
        key = self._key | {
            "questions": questions_sha256(questions),
            "decoding": self._decoding,
            "reference_loss": str(evaluation.reference_loss),
        }
        kept = cached_answers(self._cache, key, answer, num_rows=num_rows)
        return evaluation.score_rows(kept)

    @cached_property
    def _policy(self) -> PreTrainedModel:
        return self._model.load(self._work.tokenizer, seed=self._seed)


def named_answers(work: Work, evaluation: Evaluation) -> list[Prediction]:
    """The answers that question sets name, each scored against the others, never against itself.

    Where the held-out rows are asked, these are the teachers', which :func:`teacher_answers` has.
    """
    if list(work.questions) == list(work.held_out):
        return []
    rows = []
    for author in sorted({name for each in work.questions for name in each.references}):
        questions = without_author(work.questions, author)
        answers = {
            each.prompt.id: each.references[author]
            for each in work.questions
            if each.references.get(author, "").strip()
        }
        rows += evaluation.score_answers(questions, answers, f"reference {author}")
    return rows


def teacher_answers(work: Work, arm: DataArm, evaluation: Evaluation) -> list[Prediction]:
    """The teacher's own answers to the questions, never scored against themselves."""
    questions = without_author(work.questions, work.arm.teacher)
    answers = arm.source.answers([question.prompt for question in questions])
    return evaluation.score_answers(questions, answers, f"teacher {work.arm.teacher}")
