"""``stage=sft``: fine-tune on one arm's answers, then ask the student what it learned.

Peng et al. 2023, section 3.1. The untuned base and the teacher's own answers are scored on the same
questions, so that every table has a floor and a ceiling.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from understudy import ranks
from understudy.data.arm import DataArm
from understudy.data.collected import CollectedAnswers
from understudy.encoding import Encoding
from understudy.eval.evaluate import Evaluation, KnownLosses, Measured
from understudy.eval.record import (
    BASE,
    HELD_OUT,
    STUDENT,
    questions_sha256,
    record_losses,
    record_predictions,
)
from understudy.models.checkpoint import Checkpoint
from understudy.models.learner import Learner
from understudy.models.source import ModelSource
from understudy.records import NotAtHand, Prediction, QuestionSource, at_hand, question_to_json
from understudy.stages import training
from understudy.stages.baselines import Base, named_answers, teacher_answers
from understudy.stages.evaluate import decodings_in_words, evaluation_facts
from understudy.stages.memory import memory_with_data, parameters_in_words
from understudy.stages.plans import (
    cut_in_words,
    facts_without_data,
    steps_in_words,
    tokens_in_words,
)
from understudy.stages.prepare import Work, prepare
from understudy.stages.printing import (
    answering,
    contamination_in_words,
    in_words,
    print_facts,
    print_result,
    unevenly_cut,
)
from understudy.stages.training import Lesson, record_model, record_times_and_checkpoints
from understudy.tracking.followed import FollowedRun
from understudy.train.fit import FitResult
from understudy.train.recipe import Recipe
from understudy.train.sft import sft_training

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from understudy.tracking.run import Run

_log = logging.getLogger(__name__)
_VAL_METRICS = ("val/loss", "val/loss_best", "val/perplexity")


def run(
    *,
    run: Run,
    arm: DataArm,
    model: ModelSource,
    encoding: Encoding,
    questions: QuestionSource,
    recipe: Recipe,
    evaluation: Evaluation,
) -> None:
    """Trains the student and records its answers and losses beside the base's and the teacher's."""
    recipe.check()
    recipe.check_device()
    with run.timed("data"), ranks.main_first():
        at_hand(model.check, arm.read, questions.inputs)
        work = prepare(arm, model, encoding, questions, evaluation)
        learner = Learner(model, recipe.adapter, run.folder / "checkpoints")
        learner.check(work.tokenizer)
    _record_setting(run, work, arm, model, recipe, evaluation)
    run.manifest.num_trainable_parameters = learner.num_trainable(work.tokenizer)
    _record_rows(run, work, arm)
    avoided = arm.selection.decontamination.inputs()
    run.add_inputs([*work.arm.inputs, *questions.inputs(), *avoided])
    run.use_data(work.arm.teacher, arm.source.read().inputs)
    with run.timed("training"):
        student, fitted = _train(run, work, learner, recipe)
    _record_training(run, work, recipe, fitted, budget=arm.budget)
    with run.timed("losses"):
        losses = evaluation.losses(student, work.encoder, work.held_out)
    with run.timed("evaluation"):
        predictions = _answers(run, work, student, evaluation, losses)
    del student  # and its weights
    with run.timed("baselines"):
        base = Base(
            model,
            work,
            evaluation,
            comparable=run.manifest.comparable,
            seed=run.seed,
            cache_dir=arm.cache_dir,
        )
        base_losses = base.losses()
        baselines = [
            *base.answers(base_losses),
            *teacher_answers(work, arm, evaluation),
            *named_answers(work, evaluation),
        ]
        del base
    record_losses(run, {BASE: base_losses, STUDENT: losses}, sorted(work.arm.references))
    summary = record_predictions(run, predictions, baselines)
    print_result(run, summary, baselines)


def follow(
    *,
    run: FollowedRun,
    arm: DataArm,
    model: ModelSource,
    encoding: Encoding,
    questions: QuestionSource,
    recipe: Recipe,
    evaluation: Evaluation,
) -> None:
    """What a rank other than the main one does of :func:`run`: it trains, and records nothing."""
    recipe.check()
    with ranks.main_first():
        at_hand(model.check, arm.read, questions.inputs)
        work = prepare(arm, model, encoding, questions, evaluation)
    learner = Learner(model, recipe.adapter, run.folder / "checkpoints")
    training.follow(run, _lesson(work, learner, recipe, seed=run.seed))


def _lesson(work: Work, learner: Learner, recipe: Recipe, *, seed: int) -> Lesson:
    trained = sft_training(lambda: learner.load(work.tokenizer, seed=seed), work.arm)
    return Lesson(trained, recipe, learner, work.encoder)


def plan(
    *,
    seed: int,
    arm: DataArm,
    model: ModelSource,
    encoding: Encoding,
    questions: QuestionSource,
    recipe: Recipe,
    evaluation: Evaluation,
) -> None:
    """Prints steps, tokens, memory and evaluation calls of the run, and trains nothing.

    Raises:
        NotAtHand: Data or weights cannot be had; what is known without them was printed.
    """
    recipe.check()
    title = f"Plan: sft on {arm.source.teacher}'s answers, seed {seed}"
    try:
        at_hand(model.check, arm.read, questions.inputs)
        work = prepare(arm, model, encoding, questions, evaluation)
    except NotAtHand:
        print_facts(title, facts_without_data(arm, model, recipe))
        raise
    learner = Learner(model, recipe.adapter, Path())
    learner.check(work.tokenizer)
    num_rows = len(work.arm.train)
    print_facts(
        title,
        {
            "training rows": f"{num_rows:,}",
            "left out": in_words(work.arm.dropped),
            "contaminated": contamination_in_words(
                work.arm.matches, arm.selection.decontamination.mode
            ),
            f"cut to {work.encoder.max_length} tokens": cut_in_words(work),
            "optimizer steps": steps_in_words(recipe, num_rows),
            "recipe": recipe.in_words,
            "supervised tokens": tokens_in_words(work, recipe),
            "parameters": parameters_in_words(model.model_config(work.tokenizer), recipe.adapter),
            **memory_with_data(work, model, recipe, seed=seed),
            **evaluation_facts(evaluation, work.questions),
        },
    )


def _record_setting(
    run: Run,
    work: Work,
    arm: DataArm,
    model: ModelSource,
    recipe: Recipe,
    evaluation: Evaluation,
) -> None:
    """What must be equal between arms."""
    run.manifest.teacher = work.arm.teacher
    record_model(run, model, work.encoder, recipe)
    run.manifest.comparable |= {
        "prompts": work.arm.prompts_sha256,
        "questions": questions_sha256(work.questions),
        "decoding": decodings_in_words(evaluation),
        "held_out": questions_sha256(work.held_out),
        "collection": arm.source.collection if isinstance(arm.source, CollectedAnswers) else None,
    }


def _record_rows(run: Run, work: Work, arm: DataArm) -> None:
    """The questions that will be asked, and the rows that were left out, cut or contaminated."""
    run.add_dropped(work.arm.dropped)
    run.manifest.truncated = dict(work.arm.truncated)
    matches = work.arm.matches
    kinds = Counter(match.kind for match in matches)
    mode = arm.selection.decontamination.mode
    run.manifest.contamination = {"mode": mode, "exact": kinds["exact"], "near": kinds["near"]}
    _log.info(
        "%s: %d rows to train on, left out: %s; cut to %d tokens: %s",
        work.arm.teacher,
        len(work.arm.train),
        in_words(work.arm.dropped),
        work.encoder.max_length,
        in_words(work.arm.truncated),
    )
    if arm.num_val and not len(work.arm.val):
        _log.warning(
            "no held-out row fits the window of %d tokens, so there is neither a validation loss "
            "nor a loss matrix; raise prompt.max_length or choose another prompt.overlength",
            work.encoder.max_length,
        )
    if uneven := unevenly_cut(work.arm.cut_shares, work.encoder.max_length):
        _log.warning("%s", uneven)
    if matches:
        run.write_rows("contamination.jsonl", map(asdict, matches))
        _log.warning("%s", contamination_in_words(matches, mode))
    run.write_rows(HELD_OUT, map(question_to_json, work.held_out))
    run.write_rows("questions.jsonl", map(question_to_json, work.questions))


def _answers(
    run: Run, work: Work, policy: PreTrainedModel, evaluation: Evaluation, losses: KnownLosses
) -> list[Prediction]:
    with answering(STUDENT, evaluation.num_answers(work.questions)) as progress:
        return evaluation.evaluate(
            policy,
            work.encoder,
            work.questions,
            author=STUDENT,
            seed=run.seed,
            progress=progress,
            known_losses=Measured(work.held_out, losses),
        )


def _train(
    run: Run, work: Work, learner: Learner, recipe: Recipe
) -> tuple[PreTrainedModel, FitResult]:
    """The student as its last checkpoint holds it, and how training went.

    Not the best by ``val/loss``: arms whose training ended at different steps would differ in
    their budget.
    """
    lesson = _lesson(work, learner, recipe, seed=run.seed)
    fitted = training.train(run, lesson)
    saved = Checkpoint(str(fitted.last), dtype=learner.model.dtype)
    student = saved.load(work.tokenizer, seed=run.seed)
    fitted.probe.check(student, lesson.training.probe)
    return student, fitted


def _record_training(
    run: Run, work: Work, recipe: Recipe, fitted: FitResult, *, budget: str
) -> None:
    run.add_metrics(
        {
            "val/loss": fitted.val_loss,
            "val/loss_best": fitted.best_val_loss,
            "val/perplexity": None if fitted.val_loss is None else math.exp(fitted.val_loss),
            "train/tokens_per_second": fitted.per_second,
        },
        {} if fitted.val_loss is not None else dict.fromkeys(_VAL_METRICS, "no rows held out"),
    )
    run.manifest.budget = {
        "kind": budget,
        "examples": recipe.batching.num_examples_in(fitted.num_steps, len(work.arm.train)),
        "supervised_tokens": fitted.learned["supervised_tokens"],
        "tokens": fitted.learned["tokens"],
        "steps": fitted.num_steps,
        "longest_row_tokens": int(work.arm.train.lengths.max()),
    }
    record_times_and_checkpoints(run, fitted)
