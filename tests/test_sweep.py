"""What the jobs of a sweep know of each other, composed from the configs as Hydra would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from understudy.app import conf_dir
from understudy.config.schema import register
from understudy.config.sweep import add_peers, expand, from_json, sources, to_json
from understudy.records import InputError

Sweep = Callable[..., list[DictConfig]]


@pytest.fixture
def sweep() -> Iterator[Sweep]:
    """The configs of a sweep's jobs, with their peers."""
    register()

    def jobs(*overrides: str) -> list[DictConfig]:
        master = hydra.compose("config", ["hydra.job.config_name=config"], return_hydra_config=True)
        lines = expand(overrides)
        found = from_json(to_json(sources(master, lines)))
        configs = [hydra.compose("config", line) for line in lines]
        for config, line in zip(configs, lines, strict=True):
            add_peers(config, line, found)
        return configs

    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield jobs


def peers(config: DictConfig) -> list[str]:
    """The teachers of a job's peers."""
    key = "name" if "lab" in config.data.source["_target_"] else "teacher"
    return [peer[key] for peer in config.data.peers or []]


def test_every_other_teacher_is_a_peer(sweep: Sweep) -> None:
    found = sweep("data=lab_strong,lab_medium,lab_weak", "seed=1,2")
    assert [peers(each) for each in found] == [
        ["medium", "weak"], ["medium", "weak"], ["strong", "weak"],
        ["strong", "weak"], ["strong", "medium"], ["strong", "medium"],
    ]  # fmt: skip
    source = OmegaConf.to_container(found[0].data.peers[0])
    assert isinstance(source, dict)
    assert source["_target_"] == "understudy.lab.teachers.LabTeacher"
    assert source["world"]["_target_"] == "understudy.lab.world.World"


def test_files_are_named_by_what_tells_them_apart(sweep: Sweep) -> None:
    found = sweep("data=alpaca_json", "data.path=gpt4/a.json,gpt35/a.json")
    assert [each.data.teacher for each in found] == ["gpt4/a", "gpt35/a"]
    assert [peers(each) for each in found] == [["gpt35/a"], ["gpt4/a"]]
    assert found[0].data.source.teacher == "gpt4/a"


def test_two_files_of_one_teacher_by_name_are_refused(sweep: Sweep) -> None:
    with pytest.raises(
        InputError, match=r"data\.teacher=gpt4 names the answers of x/a\.json and of y"
    ):
        sweep("data=alpaca_json", "data.path=x/a.json,y/a.json", "data.teacher=gpt4")


@pytest.mark.parametrize("line", [["data=lab_strong", "seed=1,2"], ["model=lab", "seed=1"]])
def test_one_source_has_no_peers(sweep: Sweep, line: list[str]) -> None:
    assert [each.data.peers for each in sweep(*line)] == [None] * len(expand(line))


def test_of_several_sources_of_a_teacher_the_most_like_is_the_peer(sweep: Sweep) -> None:
    """Teacher x rows: each arm is compared with the other teacher's arm of the same rows."""
    found = sweep("data=lab_strong,lab_weak", "data.source.num_rows=100,200")
    sizes = [(each.data.source.num_rows, each.data.peers[0].num_rows) for each in found]
    assert sizes == [(100, 100), (200, 200), (100, 100), (200, 200)]


def test_peers_that_were_given_stay(sweep: Sweep) -> None:
    found = sweep("data=lab_strong,lab_weak", "data.peers=[]")
    assert [list(each.data.peers) for each in found] == [[], []]


def test_a_job_that_does_not_compose_does_not_hide_the_others(sweep: Sweep) -> None:
    """Which teachers there are is found out before the broken job says what is wrong with it."""
    register()
    master = hydra.compose("config", ["hydra.job.config_name=config"], return_hydra_config=True)
    found = sources(master, expand(["data=lab_strong,lab_weak,lab_nobody"]))
    assert [each.teacher for each in found] == ["strong", "weak"]


def test_the_last_of_two_sweeps_over_a_key_counts_as_in_hydra() -> None:
    """An experiment's choices give way to the command line's."""
    assert expand(["data=a,b", "seed=1", "data=c,d"]) == [
        ["data=c", "seed=1"],
        ["data=d", "seed=1"],
    ]


def test_collected_arms_are_called_by_their_runs_teachers(sweep: Sweep, tmp_path: Path) -> None:
    """Two runs of one teacher have their folders' names, too."""
    for name, teacher in (("one", "gpt4"), ("two", "gpt4"), ("three", "gpt35")):
        arm = {"teacher": teacher, "collection": "alpaca", "answers": {"sha256": ""}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "arm.json").write_text(json.dumps(arm), encoding="utf-8")
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    found = sweep("data=collected", f"data.path={one},{three}", "seed=1,2")
    assert [(each.data.teacher, peers(each)) for each in found] == [
        ("gpt4", ["gpt35"]), ("gpt4", ["gpt35"]), ("gpt35", ["gpt4"]), ("gpt35", ["gpt4"]),
    ]  # fmt: skip
    found = sweep("data=collected", f"data.path={one},{two},{three}")
    assert [each.data.teacher for each in found] == ["gpt4/one", "gpt4/two", "gpt35"]
    assert found[0].data.source.teacher == "gpt4/one"
    assert peers(found[2]) == ["gpt4/one", "gpt4/two"]
