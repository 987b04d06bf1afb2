"""Two lines and two configs: the same for a run, or not, and in which keys."""

from __future__ import annotations

from understudy.config.line import differences, line_of, with_harmless_of

RUN = {
    "seed": 1,
    "trainer": {"max_steps": 4, "progress": True, "save_every": 0.25},
    "recipe": {"max_steps": 4, "progress": True, "save_every": 0.25},
    "tracking": {"mode": "auto", "project": "p"},
    "data": {"peers": None, "parts": [1, 2]},
}


def _changed(**nodes: object) -> dict[str, object]:
    return {**RUN, **nodes}


def test_the_same_config_has_no_differences() -> None:
    assert differences(RUN, dict(RUN)) == []


def test_what_cannot_change_a_result_is_no_difference() -> None:
    line = _changed(
        trainer={"max_steps": 4, "progress": False, "save_every": 10},
        recipe={"max_steps": 4, "progress": False, "save_every": 10},
        tracking={"mode": "offline", "project": "p"},
    )
    assert differences(RUN, line) == []
    assert with_harmless_of(RUN, line) == RUN


def test_a_difference_is_named_by_the_key_that_one_types() -> None:
    """recipe.max_steps repeats trainer.max_steps; only the latter can be typed."""
    line = _changed(
        trainer={**RUN["trainer"], "max_steps": 5},  # type: ignore[dict-item]
        recipe={**RUN["recipe"], "max_steps": 5},  # type: ignore[dict-item]
    )
    assert differences(RUN, line) == ["trainer.max_steps=4 there, trainer.max_steps=5 here"]


def test_keys_that_one_side_lacks_and_lists_differ() -> None:
    line = _changed(data={"peers": None, "parts": [2, 1], "new": 1})
    assert differences(RUN, line) == [
        "data.parts=[1, 2] there, data.parts=[2, 1] here",
        "no data.new there, data.new=1 here",
    ]


def test_differences_of_an_object_alone_are_named_too() -> None:
    line = _changed(recipe={**RUN["recipe"], "max_steps": 5})  # type: ignore[dict-item]
    assert differences(RUN, line) == ["recipe.max_steps=4 there, recipe.max_steps=5 here"]


def test_a_line_is_the_same_in_any_order_and_however_it_is_started() -> None:
    plain = line_of(["data=a,b", "seed=1"])
    assert line_of(["seed=1", "data=a,b", "launcher=slurm", "trainer.progress=false"]) == plain
    assert line_of(["seed=1", "data=a,b", "objective=val/loss"]) == plain
    assert line_of(["seed=1", "data=a,b", "trainer.max_steps=2"]) != plain


def test_of_hydras_keys_only_a_searchs_belong_to_the_line() -> None:
    search = ["sweeper=optuna", "objective=val/loss"]
    assert line_of([*search, "hydra.sweeper.n_trials=4"]) != line_of(search)
    assert line_of([*search, "hydra.launcher.n_jobs=4"]) == line_of(search)
    assert "objective=val/loss" in line_of(search)


def test_a_server_that_has_a_name_may_be_elsewhere_by_now() -> None:
    def config(port: int, identity: str | None) -> dict[str, object]:
        teacher = {"base_url": f"http://127.0.0.1:{port}/v1", "identity": identity}
        return _changed(teacher=teacher, stage={"asker": {"model": teacher}})

    assert differences(config(1, "lab"), config(2, "lab")) == []
    assert with_harmless_of(config(1, "lab"), config(2, "lab")) == config(1, "lab")
    for other in (config(2, None), config(2, "other")):
        (differing,) = differences(config(1, None), other)[:1]
        assert differing.startswith("teacher.base_url=http://127.0.0.1:1/v1 there")
        assert with_harmless_of(config(1, None), other) == other
