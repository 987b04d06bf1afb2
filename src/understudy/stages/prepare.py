"""What a training stage needs before its first step: tokenizer, encoder, arm and questions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.data.arm import DataArm, PreparedArm
from understudy.data.comparison_arm import ComparisonArm, PreparedComparisons
from understudy.encoding import Encoder, Encoding
from understudy.eval.evaluate import Evaluation
from understudy.models.checkpoint import Checkpoint
from understudy.models.folders import read_template
from understudy.models.positions import num_positions
from understudy.models.source import ModelSource
from understudy.prompts import Template
from understudy.records import Question, QuestionSource

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained on and asked, ready.

    ``held_out`` are the arm's held-out instructions with every teacher's answers, ``questions``
    what is asked in the end; they may be the same.
    """

    tokenizer: PreTrainedTokenizerBase
    encoder: Encoder
    arm: PreparedArm
    held_out: Sequence[Question]
    questions: Sequence[Question]


def prepare(
    arm: DataArm,
    model: ModelSource,
    encoding: Encoding,
    questions: QuestionSource,
    evaluation: Evaluation,
) -> Work:
    """Reads and encodes the arm, and the questions that it will be asked."""
    encoder, prepared = encoded(arm, model, encoding)
    held_out = prepared.held_out_questions()
    asked = evaluation.asked(questions.questions(held_out))
    _warn_of_other_languages(prepared, asked)
    return Work(encoder.tokenizer, encoder, prepared, held_out, asked)


def _warn_of_other_languages(arm: PreparedArm, asked: Sequence[Question]) -> None:
    """Says when none of the questions is in a language that the arm learns."""
    learned = {row.prompt.lang for row in arm.held_out}
    spoken = {question.prompt.lang for question in asked}
    if learned and spoken and not learned & spoken:
        _log.warning(
            "the arm is in %s and all questions are in %s; for questions in its own language type "
            "questions=held_out, or questions=lab_bilingual in the lab",
            " and ".join(sorted(learned)), " and ".join(sorted(spoken)),
        )  # fmt: skip


def encoded(arm: DataArm, model: ModelSource, encoding: Encoding) -> tuple[Encoder, PreparedArm]:
    """The encoder, with a tokenizer trained on the arms' texts where one is, and the arm."""
    encoder = _encoder(arm.corpus, model, encoding)
    return encoder, arm.prepare(encoder)


def encoded_comparisons(
    arm: ComparisonArm, model: ModelSource, encoding: Encoding
) -> tuple[Encoder, PreparedComparisons]:
    """The same for comparisons."""
    encoder = _encoder(arm.corpus, model, encoding)
    return encoder, arm.prepare(encoder)


def _encoder(
    corpus: Callable[[Template], Iterator[str]], model: ModelSource, encoding: Encoding
) -> Encoder:
    encoding = encoding_of(encoding, model)
    texts = corpus(encoding.template) if encoding.template else iter(())
    return encoding.encoder(model.tokenizer(texts))


def encoding_of(encoding: Encoding, model: ModelSource) -> Encoding:
    """The encoding with the checkpoint's own template where none was chosen."""
    if encoding.template is not None or not isinstance(model, Checkpoint):
        return encoding
    return replace(encoding, template=read_template(Path(model.path).expanduser()))


def within_positions(encoder: Encoder, model: ModelSource) -> Encoder:
    """The encoder with a window that the model has positions for: longer texts are cut."""
    most = num_positions(model.model_config(encoder.tokenizer))
    return replace(encoder, max_length=min(encoder.max_length, most or encoder.max_length))
