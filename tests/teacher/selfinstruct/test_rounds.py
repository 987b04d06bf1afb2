"""Rounds against the lab's server: the same replies make the same tasks, and it ends."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.chat.asking.asker import Asker
from understudy.chat.asking.prices import PriceList
from understudy.chat.chat_model import ChatModel
from understudy.chat.ledger.ledger import Ledger
from understudy.forms.selfinstruct_instances import INPUT_FIRST, OUTPUT_FIRST
from understudy.lab.invention.instances import is_label_task
from understudy.lab.invention.inventor import invent
from understudy.lab.invention.seed_tasks import LabSeeds
from understudy.lab.server.app import lab_app
from understudy.lab.server.faults import FaultRates
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.world import World
from understudy.records import InputError, RunError
from understudy.teacher.selfinstruct.instances import Instances, with_instances
from understudy.teacher.selfinstruct.journal import Journal
from understudy.teacher.selfinstruct.pool import InventionPool
from understudy.teacher.selfinstruct.recipes import Alpaca, InstanceSteps, Recipe, SelfInstruct
from understudy.teacher.selfinstruct.rounds import Course, Patience, Rounds
from understudy.teacher.selfinstruct.seeds import Seeds

WORLD = World()
ALPACA = Alpaca({"temperature": 1.0, "max_tokens": 3072})
STEPS = InstanceSteps({"max_tokens": 5}, {"max_tokens": 300}, {"max_tokens": 350})
SELF_INSTRUCT = SelfInstruct({"temperature": 0.7, "max_tokens": 1024}, STEPS)


@pytest.fixture(scope="module")
def lab_url() -> Iterator[str]:
    with running(lab_app(ServerConfig(WORLD))) as url:
        yield url


def asker_of(url: str, ledger: Path, recipe: Recipe = ALPACA) -> Asker:
    model = ChatModel(
        "inventor", "lab-inventor", url, identity="lab", key_env=None,
        params=recipe.params(None), retry_seconds=0.01, max_attempts=1,
    )  # fmt: skip
    prices = PriceList(date="today", source="test", usd_per_million={})
    return Asker(model, str(ledger), prices, max_failed=1.0)


def invented(
    asker: Asker,
    recipe: Recipe = ALPACA,
    *,
    wanted: int = 60,
    journal: Path | None = None,
    patience: Patience | None = None,
) -> tuple[InventionPool, Course]:
    seeds = Seeds(None, LabSeeds(WORLD)).read(num_shown=8, with_instances=True).tasks
    pool = InventionPool(
        [task.instruction for task in seeds],
        wanted=wanted,
        rules=recipe.filter,
        max_rouge_l=recipe.max_rouge_l,
    )
    course = Course()
    rounds = Rounds(recipe, seeds, asker, seed=0, patience=patience or Patience())
    rounds.fill(pool, Journal(journal), course, lambda: None)
    return pool, course


def prompts_in(ledger: Path) -> list[str]:
    """Every prompt that was answered."""
    connection = sqlite3.connect(ledger)
    found = [json.loads(row[0]) for row in connection.execute("select messages from replies")]
    connection.close()
    return [messages[0]["content"] for messages in found]


@pytest.mark.parametrize("recipe", [ALPACA, SELF_INSTRUCT, replace(ALPACA, lang="zh")])
def test_every_fault_that_was_planted_is_found_and_nothing_else(
    lab_url: str, tmp_path: Path, recipe: Recipe
) -> None:
    """Three whole rounds, so that all of their candidates are judged."""
    ledger = tmp_path / "l.sqlite"
    asker = asker_of(lab_url, ledger, recipe)
    pool, course = invented(asker, recipe, wanted=10_000, patience=Patience(max_rounds=3))
    stop = 20 if recipe is not SELF_INSTRUCT else 16
    planted: Counter[str | None] = Counter()
    free = set()
    for prompt in prompts_in(ledger):
        invention = invent(prompt, WORLD)
        assert invention is not None
        items = [item for item in invention.items if item.number < stop]
        planted.update(item.fault for item in items)
        free |= {item.instruction for item in items if item.fault == ""}
    assert (course.rounds, course.requests, course.failures) == (3, 15, [])
    assert course.ended_early == "max_rounds=3 are over"
    found = Counter(pool.reasons)
    resembling = found.pop("too_similar") - planted.pop("too_similar")
    assert len(pool.accepted) + resembling == planted.pop("") + planted.pop(None)
    assert free <= {each.instruction for each in pool.accepted}
    assert found == planted
    assert len(found) >= (7 if recipe is SELF_INSTRUCT else 9)


def test_a_broken_off_run_goes_on_from_the_ledger_to_the_same_tasks(
    lab_url: str, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole.sqlite", tmp_path / "broken.sqlite"
    asker = asker_of(lab_url, whole, SELF_INSTRUCT)
    expected, course = invented(asker, SELF_INSTRUCT, wanted=120)
    assert course.rounds > 4

    first = asker_of(lab_url, broken, SELF_INSTRUCT)
    invented(first, SELF_INSTRUCT, wanted=120, patience=Patience(max_rounds=2))
    pool, again = invented(first, SELF_INSTRUCT, wanted=120)
    assert pool.accepted == expected.accepted
    assert pool.rejected == expected.rejected
    assert (again.tally.cached, again.tally.asked) == (10, course.requests - 10)

    pool, twice = invented(asker, SELF_INSTRUCT, wanted=120)
    assert pool.accepted == expected.accepted
    assert (twice.tally.asked, twice.tally.cached) == (0, course.requests)


def test_a_prompt_that_recurs_is_asked_as_another_sample(lab_url: str, tmp_path: Path) -> None:
    """Three of three seeds have six orders, so the first 20 prompts must repeat some."""
    rounds = Rounds(
        ALPACA,
        Seeds(None, LabSeeds(WORLD)).read(num_shown=3, with_instances=True).tasks[:3],
        asker_of(lab_url, tmp_path / "l.sqlite"),
        seed=0,
        patience=Patience(),
    )
    asked = [each for number in range(1, 5) for each in rounds.requests((), number)]
    texts = Counter(each.messages[0].content for each in asked)
    assert len(texts) <= 6
    for text, count in texts.items():
        samples = [each.sample for each in asked if each.messages[0].content == text]
        assert samples == list(range(count))


def test_another_seed_asks_otherwise(lab_url: str, tmp_path: Path) -> None:
    seeds = Seeds(None, LabSeeds(WORLD)).read(num_shown=3, with_instances=True).tasks
    asker = asker_of(lab_url, tmp_path / "l.sqlite")
    one, two, three = (
        Rounds(ALPACA, seeds, asker, seed=seed, patience=Patience()).requests((), 1)
        for seed in (0, 0, 1)
    )
    assert one == two != three


def test_a_failed_request_leaves_its_round_as_it_was_when_the_run_goes_on(tmp_path: Path) -> None:
    """The server has recovered, and would answer now: what was built on the gap stays."""
    ledger, journal = tmp_path / "l.sqlite", tmp_path / "rounds.jsonl"
    faults = FaultRates(rate_content_filter_400=0.3)
    with running(lab_app(ServerConfig(WORLD, faults=faults))) as url:
        asker = asker_of(url, ledger, SELF_INSTRUCT)
        pool, course = invented(
            asker, SELF_INSTRUCT, wanted=200, journal=journal, patience=Patience(max_rounds=4)
        )
    failed = [each.request for each in course.failures]
    assert 0 < len(failed) < course.requests
    assert {each.missing for each in course.failures} == {"content_filter"}
    assert course.tally.failed == {"content_filter": len(failed)}

    with running(lab_app(ServerConfig(WORLD))) as url:
        asker = asker_of(url, ledger, SELF_INSTRUCT)
        again, anew = invented(
            asker, SELF_INSTRUCT, wanted=200, journal=journal, patience=Patience(max_rounds=4)
        )
        assert (again.accepted, anew.tally.asked) == (pool.accepted, 0)
        assert [each.request for each in anew.failures] == failed
        other, fresh = invented(asker, SELF_INSTRUCT, wanted=200, patience=Patience(max_rounds=4))
    assert fresh.tally.asked >= 1
    assert fresh.failures == []
    assert len(other.accepted) > len(pool.accepted)


def test_too_few_new_ones_end_it(lab_url: str, tmp_path: Path) -> None:
    """At a bound of .1 whatever shares a small word is rejected; the rounds stop."""
    strict = replace(ALPACA, max_rouge_l=0.1)
    pool, course = invented(
        asker_of(lab_url, tmp_path / "l.sqlite"),
        strict,
        patience=Patience(min_acceptance=0.3, rounds=2),
    )
    assert course.rounds == 2
    assert "the last 2 rounds brought" in course.ended_early
    assert "less than min_acceptance=0.3" in course.ended_early
    assert pool.reasons["too_similar"] > 50


def test_a_server_that_answers_nothing_ends_it_after_three_rounds(tmp_path: Path) -> None:
    faults = FaultRates(rate_content_filter=1.0)
    with running(lab_app(ServerConfig(WORLD, faults=faults))) as url:
        pool, course = invented(asker_of(url, tmp_path / "l.sqlite"))
    assert (course.rounds, pool.num_candidates) == (3, 0)
    assert course.ended_early == "every request of the last 3 rounds failed"


def test_too_large_a_share_of_failed_requests_ends_it(tmp_path: Path) -> None:
    faults = FaultRates(rate_content_filter=0.3)
    with running(lab_app(ServerConfig(WORLD, faults=faults))) as url:
        asker = replace(asker_of(url, tmp_path / "l.sqlite"), max_failed=0.1)
        _, course = invented(asker, replace(ALPACA, request_batch=50), wanted=100_000)
    assert (course.rounds, course.requests) == (2, 100)
    assert course.ended_early == f"{course.failed} of 100 requests failed, more than max_failed=0.1"


def test_empty_replies_are_said_and_end_it_too(tmp_path: Path) -> None:
    with running(lab_app(ServerConfig(WORLD, faults=FaultRates(rate_empty=1.0)))) as url:
        patience = Patience(rounds=2)
        _, course = invented(asker_of(url, tmp_path / "l.sqlite"), patience=patience)
    assert (course.empty, len(course.failures)) == (10, 10)
    assert {each.missing for each in course.failures} == {"empty"}
    assert "not one readable candidate" in course.ended_early


def test_the_budget_ends_it_and_the_same_line_goes_on(lab_url: str, tmp_path: Path) -> None:
    ledger = tmp_path / "l.sqlite"
    expected, _ = invented(asker_of(lab_url, tmp_path / "other.sqlite"))
    prices = PriceList(
        date="today", source="test",
        usd_per_million={"lab-inventor": {"input": 1.0, "output": 1.0}},
    )  # fmt: skip
    poor = replace(asker_of(lab_url, ledger), prices=prices, budget_usd=0.009)
    with pytest.raises(RunError, match=r"budget_usd=0\.009 is reached"):
        invented(poor, wanted=200)
    with Ledger.open(ledger) as read:
        assert 0 < read.spent_usd() <= 0.009
    pool, course = invented(replace(poor, budget_usd=None))
    assert course.tally.cached >= 1
    assert pool.accepted == expected.accepted


@pytest.mark.parametrize(
    ("values", "said"),
    [({"min_acceptance": 1.0}, "min_acceptance=1.0"), ({"rounds": 0}, "patience=0"),
     ({"max_rounds": 0}, "max_rounds=0")],
)  # fmt: skip
def test_no_patience_at_all_is_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Patience(**values)  # type: ignore[arg-type]


def made_of(asker: Asker, pool: InventionPool) -> Instances:
    return with_instances(
        pool.accepted,
        STEPS,
        asker,
        lambda who, requests, title, total: who.ask(requests, title=title, total=total),
    )


def test_each_task_gets_its_kind_and_what_the_filters_leave_of_its_examples(
    lab_url: str, tmp_path: Path
) -> None:
    asker = asker_of(lab_url, tmp_path / "l.sqlite", SELF_INSTRUCT)
    pool, _ = invented(asker, SELF_INSTRUCT, wanted=100)
    made = made_of(asker, pool)
    planted: Counter[str] = Counter()
    expected = {}
    for each in pool.accepted:
        form = OUTPUT_FIRST if is_label_task(each.instruction) else INPUT_FIRST
        prompt = form.render(instruction=each.instruction, number="5")
        invention = invent(prompt, WORLD)
        assert invention is not None
        last = 5 if form is INPUT_FIRST else None  # a sixth example is where the reply stops
        planted.update(example.fault for example in invention.examples[:last])
        good = [(e.input, e.output) for e in invention.examples if not e.fault]
        if good:
            expected[each.instruction] = good
    found = {
        task.invented.instruction: [(e.input, e.output) for e in task.instances]
        for task in made.tasks
    }
    assert found == expected
    assert list(found) == [e.instruction for e in pool.accepted if e.instruction in expected]
    for task in made.tasks:
        assert task.is_classification == is_label_task(task.invented.instruction)
    reasons = Counter(each.reason for each in made.rejected)
    assert reasons.pop("no_instance") == len(pool.accepted) - len(expected)
    del planted[""]
    assert reasons == planted
    assert len(planted) >= 6


def test_a_task_whose_requests_fail_has_no_instances_until_they_are_answered(
    lab_url: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "l.sqlite"
    asker = asker_of(lab_url, ledger, SELF_INSTRUCT)
    pool, _ = invented(asker, SELF_INSTRUCT, wanted=60)
    faults = FaultRates(rate_content_filter=0.3, rate_empty=0.1)
    with running(lab_app(ServerConfig(WORLD, faults=faults))) as url:
        broken = made_of(asker_of(url, ledger, SELF_INSTRUCT), pool)
    reasons = Counter(each.reason for each in broken.rejected)
    assert reasons["not_answered"] == len(broken.failures) > 5
    assert {each.missing for each in broken.failures} == {"content_filter", "empty"}
    assert len(broken.tasks) + reasons["not_answered"] + reasons["no_instance"] == 60
    mended = made_of(asker, pool)
    assert {each.missing for each in mended.failures} == {"empty"}
    assert len(mended.tasks) > len(broken.tasks)
