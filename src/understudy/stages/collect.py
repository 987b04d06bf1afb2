"""``stage=collect``: a teacher behind an API answers the instructions of a data set or a file.

Algorithm 1 of Peng et al. 2023, section 2. Every reply is in the ledger before it counts, so the
same line goes on where it was stopped, and a second time it asks nothing and writes the same rows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from understudy.chat.asking.asker import Answers, Asker
from understudy.data.collected import ARM
from understudy.data.instructions import ANSWERS
from understudy.data.published import num_published
from understudy.lab.families import FAMILIES
from understudy.prompts import Template
from understudy.records import Instruction, NotAtHand
from understudy.stages.printing import in_words, print_facts, print_next
from understudy.teacher.arm_manifest import write_arm
from understudy.teacher.collect import (
    COUNTS,
    Collecting,
    request_of,
    requests_of,
    template_in_words,
    template_sha256,
)
from understudy.teacher.expected import expected_tokens, stand_ins
from understudy.teacher.instructions import (
    AnySource,
    AskedInstructions,
    read_instructions,
    require_template,
)
from understudy.teacher.record import (
    NOT_PRICED,
    UNCOUNTED,
    ask,
    collection_of,
    record_used,
    used_facts,
)
from understudy.teacher.rows import FAILURES, in_order_of, keeping_first, outcomes, write_failures
from understudy.tracking.manifest import file_sha256, now

if TYPE_CHECKING:
    from understudy.tracking.run import Run

_log = logging.getLogger(__name__)
_IDENTICAL = "identical_output"
_FILES = f"{ANSWERS}, {FAILURES}, {ARM}"
_TEXT = ("instruction", "input", "output")


def run(
    *,
    run: Run,
    asker: Asker,
    source: AnySource,
    template: Template | None,
    data: str,
    lang: str | None,
    limit: int | None,
) -> None:
    """Asks what the ledger lacks, then writes all rows in the order of the instructions.

    ``data`` is what the source is called.

    Raises:
        InputError: The source is wrong, or holds no instruction in ``lang``.
        RunError: Asking ended early; what came is in the ledger, and the same line goes on.
    """
    template = require_template(template)
    asked = read_instructions(source, lang=lang, limit=limit)
    _record_setting(run, asker, asked, template)
    requests = (request for _, request in requests_of(asked.prompts, template))
    title = f"{asker.model.name} answers"
    answers = ask(run, asker, requests, title=title, total=len(asked.prompts))
    collecting = _write_rows(run, asked, template, answers, teacher=asker.model.name)
    record_used(run, answers.tally.used)
    arm = _arm(run, asker, asked, template, answers, collecting) | {"data": data, "language": lang}
    run.add_output(write_arm(run.folder, arm))
    _record_counts(run, arm)
    run.log_data(asker.model.name, ANSWERS)
    facts = {**_facts(arm["counts"]), **used_facts(answers.tally), "files": _FILES}
    print_facts(f"{arm['counts']['rows']:,} answers of {asker.model.name}", facts)
    if arm["counts"]["rows"]:
        print_next(f"stage=sft {_student(asked.prompts)} data.path={{}}", run.folder)


def check(
    *,
    asker: Asker,
    source: AnySource,
    template: Template | None,
    data: str,
    lang: str | None,
    limit: int | None,
) -> None:
    """Refuses what could not be asked, before there is a run folder.

    Raises:
        InputError: The source is wrong, or holds no instruction in ``lang``.
        RunError: No key, a wrong one, no such model or server, or the ledger is in use.
    """
    del data
    template = require_template(template)
    asked = read_instructions(source, lang=lang, limit=limit)
    asker.check(request_of(asked.prompts[0], template))


def plan(
    *,
    seed: int,
    asker: Asker,
    source: AnySource,
    template: Template | None,
    data: str,
    lang: str | None,
    limit: int | None,
) -> None:
    """Prints calls, tokens, dollars and hours; asks nobody and writes nothing.

    Where the data cannot be had, what is known without it is printed, and what is missing said.
    """
    del seed
    template = require_template(template)
    title = f"Plan: collect {asker.model.name}'s answers to {data}"
    try:
        asked = read_instructions(source, lang=lang, limit=limit)
    except NotAtHand as missing:
        print_facts(title, _facts_without_data(asker, source, template, lang=lang, limit=limit))
        _log.warning("the data is missing for the run itself: %s", missing)
        return
    expected, assumed = expected_tokens(source, asked, asker.model.tokenizer)
    requests = (request for _, request in requests_of(asked.prompts, template))
    planned = asker.plan(requests, expected_tokens=expected)
    print_facts(
        title,
        {
            "instructions": f"{len(asked.prompts):,}",
            "left out": in_words(asked.left_out),
            "template": template_in_words(template),
            **planned.facts(),
            "assumed": assumed,
        },
    )


def _facts_without_data(
    asker: Asker, source: AnySource, template: Template, *, lang: str | None, limit: int | None
) -> dict[str, str]:
    """What is known before the data is there: how many rows were published."""
    count = num_published(source)
    if count is None:
        return {"instructions": "unknown until the data is there"}
    count = min(count, limit or count)
    stand_in = stand_ins(count, lang or "en")
    requests = (request for _, request in requests_of(stand_in.prompts, template))
    planned = asker.plan(requests, expected_tokens=stand_in.expected_tokens)
    return {
        "instructions": f"{count:,} if all published rows can be asked",
        "template": template_in_words(template),
        **planned.facts(),
        "assumed": stand_in.in_words,
    }


def _record_setting(run: Run, asker: Asker, asked: AskedInstructions, template: Template) -> None:
    run.manifest.teacher = asker.model.name
    run.add_inputs(asked.inputs)
    run.add_dropped(asked.left_out)
    run.manifest.comparable |= {
        "prompts": asked.sha256,
        "template": template_sha256(template),
        "collection": collection_of(asker.model, template_in_words(template)),
    }
    _log.info(
        "%d instructions to ask %s, left out: %s",
        len(asked.prompts), asker.model.name, in_words(asked.left_out),
    )  # fmt: skip


def _write_rows(
    run: Run, asked: AskedInstructions, template: Template, answers: Answers, *, teacher: str
) -> Collecting:
    """Writes answers and failures, and shows the first rows on W&B."""
    collecting = Collecting(teacher)
    shown: list[dict[str, Any]] = []

    rows = collecting.rows(outcomes(requests_of(asked.prompts, template), answers))
    with run.timed("rows"):
        run.write_rows(ANSWERS, keeping_first(rows, shown))
        write_failures(run, collecting.failed)
    collecting.counts["duplicate_instruction"] = asked.left_out["duplicate_instruction"]
    flat = [{key: row[key] for key in row if key != "history"} for row in shown]
    run.log_table("collect/answers", flat, text=_TEXT)
    return collecting


def _arm(
    run: Run,
    asker: Asker,
    asked: AskedInstructions,
    template: Template,
    answers: Answers,
    collecting: Collecting,
) -> dict[str, Any]:
    """The arm's facts for ``arm.json``."""
    facts, used = asker.facts(), answers.tally.used.facts()
    answers_file = run.folder / ANSWERS
    return {
        "teacher": asker.model.name,
        "models": used["models"],
        "asked": facts,
        "template": {"name": template.name, "sha256": template_sha256(template)},
        "collection": run.manifest.comparable["collection"],
        "prompts_sha256": asked.sha256,
        "inputs": list(run.manifest.inputs),
        "left_out": dict(asked.left_out),
        "counts": in_order_of(collecting.counts, COUNTS),
        "tokens": {"prompt": used["prompt_tokens"], "completion": used["completion_tokens"]},
        "usd": {"arm": used["usd"], "this_run": answers.tally.facts()["spent_usd"]},
        "ledger": asker.ledger,
        "prices_of": facts["prices_of"],
        "run": run.manifest.id,
        "started": run.manifest.started,
        "finished": now(),
        "answers": {
            "file": ANSWERS,
            "sha256": file_sha256(answers_file),
            "rows": collecting.counts["rows"],
        },
    }


def _record_counts(run: Run, arm: dict[str, Any]) -> None:
    metrics = {f"collect/{name}": count for name, count in arm["counts"].items()}
    tokens = {f"collect/{kind}_tokens": count for kind, count in arm["tokens"].items()}
    all_metrics = {**metrics, **tokens, "collect/usd": arm["usd"]["arm"]}
    why = NOT_PRICED if arm["tokens"]["prompt"] is not None else UNCOUNTED
    reasons = {name: why for name, value in all_metrics.items() if value is None}
    run.add_metrics(all_metrics, reasons)


def _student(prompts: Sequence[Instruction]) -> str:
    """What trains on the rows: the lab's model on the lab's tasks, in their language."""
    if not all(prompt.task in FAMILIES for prompt in prompts):
        return "model=scratch_10m data=collected"
    is_english = all(prompt.lang == "en" for prompt in prompts)
    return "data=lab_collected" + ("" if is_english else " questions=lab_bilingual")


def _facts(counts: Mapping[str, int]) -> dict[str, str]:
    """What the user is told of the rows."""
    beside = ("rows", "failed", _IDENTICAL)
    flagged = {name: counts[name] for name in counts if name not in beside and counts[name]}
    facts = {"flagged or missing": in_words(flagged)}
    if counts[_IDENTICAL]:
        facts["same text as an earlier row"] = f"{counts[_IDENTICAL]:,}"
    if counts["failed"]:
        facts["failed"] = f"{counts['failed']:,}; the same line asks them again ({FAILURES})"
    return facts
