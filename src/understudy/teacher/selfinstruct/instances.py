"""Self-Instruct's further steps: is a task a classification, and what are examples of it.

A classification's examples are asked for label first, all others' input first. What cannot be told
apart by the reply is taken for no classification, as in the released script, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.asking.asker import Answers, Asker
from understudy.chat.requests import ChatRequest, Reply
from understudy.forms.selfinstruct_instances import INPUT_FIRST, IS_CLASSIFICATION, OUTPUT_FIRST
from understudy.teacher.rows import Outcome, outcomes
from understudy.teacher.selfinstruct.filters import Instance, sifted
from understudy.teacher.selfinstruct.parsing import read_examples, read_labelled, read_yes_or_no
from understudy.teacher.selfinstruct.pool import Invented, Rejected
from understudy.teacher.selfinstruct.recipes import InstanceSteps

REASONS = (
    "malformed", "cut_by_length", "empty_output", "input_is_output", "ends_with_colon",
    "duplicate_instance", "contradictory", "more_than_max",
)  # fmt: skip
"""Why an instance may be left out."""

TASK_REASONS = ("no_instance", "not_answered")
"""Why a task may be left out for want of instances."""

Ask = Callable[[Asker, Iterable[ChatRequest], str, int], Answers]
"""Asks so many requests under a title."""


@dataclass(frozen=True, slots=True)
class Task:
    """An accepted task with its instances; ``is_classification`` is null where no reply said."""

    invented: Invented
    is_classification: bool | None
    instances: Sequence[Instance]


@dataclass
class Instances:
    """What came of the further steps.

    Attributes:
        tasks: Those with at least one instance.
        rejected: Instances that were left out, and tasks that have none.
        failures: Requests that brought no text.
        unreadable: Replies that are neither yes nor no.
    """

    tasks: list[Task] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    failures: list[Outcome[Any]] = field(default_factory=list)
    unreadable: int = 0


def with_instances(
    accepted: Sequence[Invented], steps: InstanceSteps, asker: Asker, ask: Ask
) -> Instances:
    """Asks both steps for each task, and keeps what the filters let through.

    Raises:
        RunError: The budget is spent, too many requests fail, or nothing can be asked.
    """
    made = Instances()
    kinds = _kinds(made, accepted, steps, asker, ask)
    for is_one in (False, True):
        some = [each for each in accepted if kinds.get(each.instruction, not is_one) is is_one]
        _generate(made, some, steps, asker, ask, labels_first=is_one)
    place = {each.instruction: number for number, each in enumerate(accepted)}
    made.tasks.sort(key=lambda task: place[task.invented.instruction])
    made.rejected.sort(key=lambda each: place[each.instruction])
    return made


def classification_requests(instructions: Iterable[str]) -> Iterator[ChatRequest]:
    """Asks of each instruction whether it is a classification."""
    for number, each in enumerate(instructions, start=1):
        prompt = IS_CLASSIFICATION.render(instruction=each)
        yield ChatRequest.of_user(prompt, id=f"classification {number}")


def instance_requests(
    instructions: Iterable[str], most: int, *, labels_first: bool
) -> Iterator[ChatRequest]:
    """Asks for examples of each instruction."""
    form = OUTPUT_FIRST if labels_first else INPUT_FIRST
    for number, each in enumerate(instructions, start=1):
        prompt = form.render(instruction=each, number=str(most))
        yield ChatRequest.of_user(prompt, id=f"{form.name} {number}")


def instance_params(steps: InstanceSteps, *, labels_first: bool) -> Mapping[str, Any]:
    """The parameters with which examples are asked for."""
    chosen = steps.labelled if labels_first else steps.generation
    return {**chosen, "stop": steps.stop}


def _kinds(
    made: Instances, accepted: Sequence[Invented], steps: InstanceSteps, asker: Asker, ask: Ask
) -> dict[str, bool]:
    """Whether each task is a classification; one without a reply is not there."""
    asked = list(
        zip(accepted, classification_requests(e.instruction for e in accepted), strict=True)
    )
    answers = ask(
        asker.with_params(**steps.classification),
        (request for _, request in asked),
        "classification or not",
        len(asked),
    )
    kinds = {}
    for outcome in outcomes(asked, answers):
        if outcome.reply is None or outcome.is_empty:
            _without_reply(made, outcome)
            continue
        said = read_yes_or_no(outcome.reply.text)
        made.unreadable += said is None
        kinds[outcome.row.instruction] = bool(said)
    answers.close()
    return kinds


def _generate(
    made: Instances,
    some: Sequence[Invented],
    steps: InstanceSteps,
    asker: Asker,
    ask: Ask,
    *,
    labels_first: bool,
) -> None:
    if not some:
        return
    instructions = (each.instruction for each in some)
    requests = instance_requests(instructions, steps.most, labels_first=labels_first)
    asked = list(zip(some, requests, strict=True))
    answers = ask(
        asker.with_params(**instance_params(steps, labels_first=labels_first)),
        (request for _, request in asked),
        "labelled examples" if labels_first else "examples",
        len(asked),
    )
    for outcome in outcomes(asked, answers):
        if outcome.reply is None or outcome.is_empty:
            _without_reply(made, outcome)
        else:
            _sift(made, outcome.row, outcome.reply, steps.most, labels_first=labels_first)
    answers.close()


def _sift(made: Instances, task: Invented, reply: Reply, most: int, *, labels_first: bool) -> None:
    is_cut = reply.finish_reason == "length"
    read = read_labelled if labels_first else read_examples
    found = read(reply.text, is_cut=is_cut)
    kept, dropped = sifted((each for each in found if each is not None), most=most)
    for place, each in enumerate(found):
        if each is None:
            is_last = is_cut and place == len(found) - 1
            made.rejected.append(
                Rejected("cut_by_length" if is_last else "malformed", task.instruction)
            )
    made.rejected += [Rejected(reason, task.instruction, each) for each, reason in dropped]
    if kept:
        made.tasks.append(Task(task, labels_first, kept))
    else:
        made.rejected.append(Rejected("no_instance", task.instruction))


def _without_reply(made: Instances, outcome: Outcome[Invented]) -> None:
    made.failures.append(outcome)
    made.rejected.append(Rejected("not_answered", outcome.row.instruction))
