"""Unfair pairs are refused by name; what the arms ask about is allowed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from understudy.records import InputError
from understudy.report.axes import TEACHER, asked_about
from understudy.report.guard import ASKABLE, Verdict, check_ask, judge, unfair
from understudy.report.read.runs import RunRecord, load_runs

AddRun = Callable[..., Path]
Unfair = Callable[..., list[str]]


@pytest.fixture
def refusals(tmp_path: Path, add_run: AddRun) -> Unfair:
    """The reasons against comparing the strong arm with one that differs as given."""

    def run_of(name: str, **changes: object) -> Sequence[RunRecord]:
        add_run(tmp_path / name, num_questions=1, **changes)
        return load_runs(tmp_path / name).runs

    def reasons(ask: Sequence[str] = (), **changes: object) -> list[str]:
        return unfair(run_of("one"), run_of("other", **{"arm": "data=b", **changes}), ask)

    return reasons


def test_equal_arms_are_fair(refusals: Unfair) -> None:
    assert refusals() == []


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("prompts", "prompts"), ("template", "template"), ("base_model", "base model"),
        ("tokenizer", "tokenizer"), ("judge", "judge"), ("questions", "evaluation set"),
        ("decoding", "decoding"),
    ],
)  # fmt: skip
def test_each_field_is_guarded_and_can_be_asked_about(
    refusals: Unfair, field: str, name: str
) -> None:
    (reason,) = refusals(comparable={field: "another"})
    assert reason.startswith(f"{name}: ")
    assert reason.endswith("against another")
    assert refusals(comparable={field: "another"}, ask=(field,)) == []


@pytest.mark.parametrize(
    ("budget", "reasons"),
    [
        ({"examples": 7999}, ["budget: 8,000 against 7,999 examples"]),
        ({"steps": 400}, []),
        ({"supervised_tokens": 90_000}, []),
        ({"kind": "steps"}, ["budget: held equal in examples against steps"]),
        ({"kind": None}, ["budget: held equal in examples against not recorded"]),
    ],
)
def test_only_the_chosen_budget_counts(
    refusals: Unfair, budget: dict[str, object], reasons: list[str]
) -> None:
    assert refusals(budget=budget) == reasons
    assert refusals(budget=budget, ask=("budget",)) == []


def test_runs_that_learned_nothing_have_the_same_budget(tmp_path: Path, add_run: AddRun) -> None:
    nothing = dict.fromkeys(("kind", "examples", "supervised_tokens", "steps"))
    unknown = {"prompts": None, "tokenizer": None}
    for name in "ab":
        add_run(tmp_path / name, num_questions=1, arm=f"model.path={name}", budget=nothing,
                comparable=unknown, stage="evaluate")  # fmt: skip
    one, other = (load_runs(tmp_path / name).runs for name in "ab")
    assert unfair(one, other) == []
    add_run(tmp_path / "c", num_questions=1, arm="data=c", comparable={"tokenizer": None})
    reasons = unfair(load_runs(tmp_path / "c").runs, other)
    assert [reason.partition(":")[0] for reason in reasons] == ["prompts", "budget"]


@pytest.mark.parametrize(
    ("tokens", "longest", "is_fair"),
    [
        (101_999, None, True), (102_100, None, False), (102_100, 10, False),
        (103_000, 3_000, True), (103_001, 3_000, False),
    ],
)  # fmt: skip
def test_token_budgets_may_differ_by_two_percent_or_a_row(
    tmp_path: Path, add_run: AddRun, tokens: int, longest: int | None, is_fair: bool
) -> None:
    runs = []
    for amount in (100_000, tokens):
        budget = {
            "kind": "supervised_tokens", "supervised_tokens": amount, "longest_row_tokens": longest
        }  # fmt: skip
        add_run(tmp_path / str(amount), num_questions=1, budget=budget)
        runs.append(load_runs(tmp_path / str(amount)).runs)
    one, other = runs
    assert (unfair(one, other) == []) is is_fair


def test_what_the_arms_vary_is_what_is_asked(refusals: Unfair) -> None:
    arm = "data=lab_strong,experiment=quickstart,model=large"
    assert refusals(arm=arm, comparable={"base_model": "large", "tokenizer": "other"}) == []
    (reason,) = refusals(arm=arm, comparable={"base_model": "large", "template": "other"})
    assert reason.startswith("template: ")


@pytest.mark.parametrize(
    ("arm", "asked"),
    [
        ("data=b", set()),
        ("data=a,prompt=alpaca", {"template", "encoding"}),
        ("data=a,prompt.template=alpaca", {"template", "encoding"}),
        ("data=a,prompt.max_length=60", {"encoding", "prompts", "examples"}),
        ("data=a,prompt.overlength=drop", {"encoding", "prompts", "examples"}),
        ("data=a,prompt.train_on_inputs=true", {"encoding", "prompts", "examples"}),
        ("data=a,data.num_examples=10", {"budget", "prompts"}),
        ("data=a,trainer.max_steps=10", {"budget"}),
        ("data=a,model.path=x", {"base_model", "tokenizer"}),
        ("data=a,eval=rouge", {"decoding"}),
        ("data=a,eval.decodings.0.max_new_tokens=16", {"decoding"}),
        ("data=a,+x.top_p.y=1", {"decoding"}),
        ("data=a,max_new_tokens=1", {"decoding"}),
        ("data=a,x.temperature=1", {"decoding"}),
        ("data=a,data.budget=steps", {"budget"}),
        ("data=a,data.num_supervised_tokens=10", {"budget"}),
        ("data=a,questions=file", {"questions"}),
        ("data=a,lab=full", {"prompts", "questions", "tokenizer", "base_model"}),
        ("data=a,lab.sizes.x=1", {"prompts", "questions", "tokenizer", "base_model"}),
        ("data=a,data.train_lang=en", {"prompts", "examples"}),
        ("data=a,data.max_length_ratio=1.5", {"prompts", "examples"}),
        ("data=a,data.decontaminate=drop", {"prompts", "examples"}),
        ("data=a,optimizer=scratch", {"recipe"}),
        ("data=a,optimizer.lr=1e-4", {"recipe"}),
        ("data=a,trainer.batch_size=64", {"recipe"}),
    ],
)
def test_override_keys_ask(arm: str, asked: set[str]) -> None:
    assert asked_about("data=a", arm) == asked


def test_a_parents_own_model_path_asks_nothing(tmp_path: Path, add_run: AddRun) -> None:
    for name in "ab":
        add_run(tmp_path / name, num_questions=1, arm="data=a", stage="evaluate",
                overrides=["stage=evaluate", f"model.path=runs/{name}", f"eval={name}"],
                comparable={"tokenizer": name, "decoding": name})  # fmt: skip
    one, other = (load_runs(tmp_path / name).runs for name in "ab")
    (reason,) = unfair(one, other)
    assert reason == "tokenizer: a against b"


def test_fingerprints_that_go_with_the_seed_are_compared_seed_by_seed(
    tmp_path: Path, add_run: AddRun
) -> None:
    for seed in (1, 2):
        add_run(tmp_path / "a" / str(seed), num_questions=1, seed=seed)
    add_run(tmp_path / "b" / "2", num_questions=1, seed=2)
    one, other = (load_runs(tmp_path / name).runs for name in "ab")
    assert unfair(one, other) == []


def test_an_arm_whose_runs_differ_is_compared_with_nobody(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "a" / "1", num_questions=1)
    add_run(tmp_path / "a" / "2", num_questions=1, seed=2, comparable={"template": "other"})
    add_run(tmp_path / "b", num_questions=1)
    reasons = unfair(load_runs(tmp_path / "a").runs, load_runs(tmp_path / "b").runs)
    assert any("runs of one arm" in reason for reason in reasons)


def test_unrecorded_fields_are_not_taken_for_equal(tmp_path: Path, add_run: AddRun) -> None:
    add_run(tmp_path / "0", num_questions=1)
    (run,) = load_runs(tmp_path).runs
    run.manifest["comparable"].pop("template")
    (reason,) = unfair([run], [run])
    assert reason.startswith("template: not recorded")


def test_another_window_is_refused_unless_it_is_the_question(
    tmp_path: Path, add_run: AddRun
) -> None:
    windows = {"a": "512 tokens", "b": "60 tokens", "old": None}
    for name, window in windows.items():
        add_run(tmp_path / name, num_questions=1, arm=f"data={name}",
                comparable={"encoding": window})  # fmt: skip
    one, other, old = (load_runs(tmp_path / name).runs for name in windows)
    assert unfair(one, other) == ["encoding: 512 tokens against 60 tokens"]
    assert unfair(one, other, ask=["encoding"]) == []
    assert unfair(one, old) == []
    asked = {"arm": "data=a,prompt.max_length=60", "comparable": {"encoding": "60 tokens"}}
    add_run(tmp_path / "asked", num_questions=1, **asked)
    add_run(tmp_path / "both", num_questions=1, **asked | {"arm": "data=b,prompt.max_length=60"})
    assert unfair(one, load_runs(tmp_path / "asked").runs) == []
    verdict = judge(one, load_runs(tmp_path / "both").runs)
    assert verdict.axes == {"teacher", "encoding"}
    assert verdict.is_of_a_grid


def test_asking_about_nothing_known_is_refused() -> None:
    check_ask(ASKABLE)
    with pytest.raises(InputError, match="ask=colour: choose among prompts"):
        check_ask(("budget", "colour"))


def test_teacher_and_budget_at_once_tell_neither(refusals: Unfair) -> None:
    (reason,) = refusals(arm="data=b,trainer.max_steps=60", budget={"examples": 3840, "steps": 60})
    assert reason.startswith("budget and teacher differ at once")
    assert refusals(arm="data=b,trainer.max_steps=400") == []


def test_one_thing_that_is_asked_about_may_differ(refusals: Unfair) -> None:
    arm = "data=lab_strong,experiment=quickstart,trainer.max_steps=60"
    assert refusals(arm=arm, budget={"examples": 3840, "steps": 60}) == []


def test_another_recipe_is_refused_unless_it_is_the_question(
    tmp_path: Path, add_run: AddRun
) -> None:
    recipes = {"a": "adamw 1e-3", "b": "adamw 1e-4"}
    for name, recipe in recipes.items():
        add_run(tmp_path / name, num_questions=1, arm=f"data={name}",
                comparable={"recipe": recipe})  # fmt: skip
    add_run(tmp_path / "old", num_questions=1, arm="data=c")
    a, b, old = (load_runs(tmp_path / name).runs for name in ("a", "b", "old"))
    assert unfair(a, b) == ["recipe: adamw 1e-3 against adamw 1e-4"]
    assert unfair(a, b, ("recipe",)) == []
    assert unfair(a, old) == []


def test_fewer_examples_are_part_of_a_length_limit_but_fewer_steps_are_not(
    refusals: Unfair,
) -> None:
    arm = "data=lab_strong,data.max_length_ratio=1.5,experiment=quickstart"
    prompts = {"prompts": "matched"}
    assert refusals(arm=arm, comparable=prompts, budget={"examples": 5000}) == []
    (reason,) = refusals(arm=arm, comparable=prompts, budget={"kind": "steps"})
    assert reason.startswith("budget: held equal in examples against steps")


def test_a_grid_is_known_by_its_axes(tmp_path: Path, add_run: AddRun) -> None:
    arms = {
        "a": "data=a", "b": "data=b,data.train_lang=zh", "c": "data=c,prompt=other",
    }  # fmt: skip
    for name, arm in arms.items():
        fields = {"prompts": name} if name == "b" else {"template": name}
        fields = {} if name == "a" else fields
        add_run(tmp_path / name, num_questions=1, arm=arm, comparable=fields)
    a, b, c = (load_runs(tmp_path / name).runs for name in "abc")
    verdict = judge(a, b)
    assert verdict.reasons == ()
    assert verdict.axes == {"teacher", "training language"}
    assert verdict.is_of_a_grid
    assert not judge(a, c).is_of_a_grid
    reasons = unfair(a, c)
    assert reasons[0] == "template: bbbbbbbbbbbb against c"
    assert reasons[1].startswith("teacher and template differ at once")


LORA = {"recipe": "AdamW (lr 0.001); LoRA rank 8"}
FULL = {"recipe": "AdamW (lr 0.001)"}


def compared(tmp_path: Path, add_run: AddRun, *arms: tuple[str, dict[str, str]]) -> Verdict:
    """The verdict over two arms of these overrides and recipes."""
    groups: list[Sequence[RunRecord]] = []
    for number, (arm, comparable) in enumerate(arms):
        add_run(tmp_path / str(number), arm=arm, comparable=comparable, num_questions=1)
        groups.append(load_runs(tmp_path / str(number)).runs)
    first, second = groups
    return judge(first, second)


def test_an_adapter_asks_about_the_recipe(tmp_path: Path, add_run: AddRun) -> None:
    """It is the one thing that the arms were told to differ in; unasked, it is a reason."""
    verdict = compared(
        tmp_path, add_run, ("data=a,adapter=none", FULL), ("data=a,adapter=lora", LORA)
    )
    assert verdict.axes == {"adapter"}
    assert not verdict.reasons
    (reason,) = compared(tmp_path, add_run, ("data=a", FULL), ("data=b", LORA)).reasons
    assert reason.startswith("recipe: ")


def test_adapters_may_be_crossed_with_teachers(tmp_path: Path, add_run: AddRun) -> None:
    """A grid of both asks about each; a cell against its opposite tells neither."""
    verdict = compared(
        tmp_path, add_run, ("data=a,adapter=none", FULL), ("data=b,adapter=lora", LORA)
    )
    assert verdict.is_of_a_grid
    assert verdict.is_confounded


@pytest.mark.parametrize(
    "override", ["trainer.devices=2", "trainer.strategy=fsdp", "trainer.micro_batch_tokens=512"]
)
def test_where_an_arm_trained_is_no_question(
    tmp_path: Path, add_run: AddRun, override: str
) -> None:
    """Devices change nothing that is learned: no reason, no axis, and no licence for the recipe."""
    assert compared(tmp_path, add_run, ("data=a", FULL), (f"data=b,{override}", FULL)).axes == {
        TEACHER
    }
    verdict = compared(tmp_path, add_run, ("data=a", FULL), (f"data=a,{override}", LORA))
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["recipe"]


def test_answers_that_were_asked_for_in_other_ways_are_not_compared(
    tmp_path: Path, add_run: AddRun
) -> None:
    """Published answers say nothing of how they were asked for, so nothing is held against them."""

    def run_of(name: str, collection: str | None) -> Sequence[RunRecord]:
        comparable = {"collection": collection}
        add_run(tmp_path / name, num_questions=1, arm=f"data.path={name}", comparable=comparable)
        return load_runs(tmp_path / name).runs

    cold, warm = (run_of(f"t{t}", f"alpaca, temperature {t}") for t in (0, 1))
    assert unfair(cold, warm) == [
        "how answers were collected: alpaca, temperature 0 against alpaca, temperature 1"
    ]
    assert unfair(cold, warm, ["collection"]) == []
    assert unfair(cold, run_of("published", None)) == []
