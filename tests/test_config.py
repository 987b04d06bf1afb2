"""Every shipped config composes and builds; a wrong one is refused in one line that helps."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import hydra
import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from understudy.app import conf_dir
from understudy.config.checks import check
from understudy.config.explain import explain
from understudy.tracking.manifest import normalised_arm

ALLOWED_TARGETS = ("understudy.", "torch.", "pytorch_lightning.", "transformers.", "peft.",
                   "torchmetrics.")  # fmt: skip
NEEDED = {
    "asker/default": ["stage=collect"],
    "data/alpaca_json": ["data.path=a.json"],
    "data/chat_json": ["data.path=a.json"],
    **{
        f"data/{name}": ["data.path=a.json", "stage=reward"]
        for name in (
            "comparison_json",
            "comparison_v1",
            "comparison_v2",
            "pairs_alpaca_eval",
            "preference_json",
            "rewardbench",
        )
    },
    "data/collected": ["data.path=folder"],
    "data/hub": ["data.source.repo=owner/name"],
    "data/instructions": ["data.path=a.json", "stage=collect"],
    "data/lab_collected": ["data.path=folder"],
    "data/lab_rated": ["data.path=a.json", "stage=reward"],
    **{
        f"data/lab_comparisons{variant}": ["stage=reward"]
        for variant in ("", "_shuffled", "_spurious")
    },
    "experiment/lab_reward_model": ["model.path=folder"],
    **{f"prices/{name}": ["stage=collect"] for name in ("default", "local")},
    "server/lab": ["stage=serve"],
    "stage/tour": ["tour=lab_reward"],
    **{f"tour/{name}": ["stage=tour"] for name in ("lab_collect", "lab_reward")},
    "eval/run": ["model=checkpoint", "model.path=folder"],
    "model/checkpoint": ["model.path=folder"],
    "model/encoder": ["model.path=folder"],
    "questions/file": ["questions.path=q.json"],
    "questions/run": ["model=checkpoint", "model.path=folder"],
    "prompt/checkpoint": ["model=checkpoint", "model.path=folder"],
    "recipe/alpaca": ["stage=selfinstruct"],
    "recipe/self_instruct": ["stage=selfinstruct"],
    "sampler/endpoint": [
        "stage=sample",
        "sampler.base_url=http://127.0.0.1:1/v1",
        "sampler.model=m",
        "eval=rouge",
        "prompt=alpaca",
    ],
    "sampler/in_process": ["stage=sample", "model.path=folder"],
    "stage/dashboard": ["runs=folder"],
    "stage/evaluate": ["model.path=folder"],
    "stage/inspect_comparisons": ["data=comparison_json", "data.path=a.json"],
    "stage/rate": ["answers=[a.json,b.json]"],
    "stage/push": ["run=folder", "path=saved"],
    "stage/rank": ["samples=folder", "reward.path=folder"],
    "stage/report": ["runs=folder"],
    "stage/sample": ["model.path=folder"],
    "stage/reward_eval": ["reward.path=folder", "data=comparison_json", "data.path=a.json"],
    "stage/score": ["answers=file.jsonl"],
    "trainer/deepspeed": ["plan=true"],
    **{
        f"teacher/{path.stem}": ["stage=collect"]
        for path in (conf_dir() / "teacher").glob("*.yaml")
    },
    **{f"teacher/{name}": ["stage=collect", "teacher.model=m"] for name in ("ollama", "vllm")},
    "teacher/azure": [
        "stage=collect",
        "teacher.model=m",
        "teacher.base_url=https://name.openai.azure.com",
    ],
}
NOT_INSTALLED = ("launcher/ray",)  # an extra that cannot live beside the others
FILES = sorted(conf_dir().rglob("*.yaml"))
CHOICES = [path.relative_to(conf_dir()).with_suffix("").as_posix() for path in FILES]
GROUP_CHOICES = [
    choice
    for choice in CHOICES
    if "/" in choice and choice != "data/lab" and choice not in NOT_INSTALLED
]

Compose = Callable[..., DictConfig]


def _explained(compose: Compose, *overrides: str) -> str:
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever Hydra or OmegaConf raises
        check(compose(*overrides))
    line = explain(caught.value, groups)
    assert line is not None
    assert "\n" not in line
    return line


def test_there_are_configs() -> None:
    assert len(GROUP_CHOICES) >= 25


@pytest.mark.parametrize("choice", CHOICES)
def test_a_config_opens_with_a_comment_that_says_what_it_is_for(choice: str) -> None:
    text = (conf_dir() / f"{choice}.yaml").read_text(encoding="utf-8")
    comments = [
        line for line in text.splitlines() if line.startswith("#") and "@package" not in line
    ]
    first = text.removeprefix("# @package _global_\n").splitlines()[0]
    assert first.startswith("# ")
    assert len(comments[0]) > 15


@pytest.mark.parametrize("choice", GROUP_CHOICES)
def test_a_choice_composes_and_its_stage_builds(
    choice: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _run_folder(tmp_path / "folder")
    group, _, name = choice.partition("/")
    config = compose(f"{group}={name}", *NEEDED.get(choice, []))
    check(config)
    node = OmegaConf.to_container(
        config.stage, resolve=True, throw_on_missing=True, enum_to_str=True
    )
    stage = hydra.utils.instantiate(node)
    assert isinstance(stage, functools.partial)
    assert stage.func.__module__.startswith("understudy.stages.")


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_a_launcher_that_is_not_installed_says_which_extra_brings_it(compose: Compose) -> None:
    assert _explained(compose, "launcher=ray") == (
        "ray is not installed; type pip install 'understudy[ray]'"
    )


@pytest.mark.parametrize(
    ("choice", "target"),
    [("basic", "BasicLauncher"), ("joblib", "JoblibLauncher"), ("slurm", "SlurmLauncher"),
     ("slurm_local", "LocalLauncher")],
)  # fmt: skip
def test_a_launcher_is_hydras_own(choice: str, target: str, compose: Compose) -> None:
    assert compose(f"launcher={choice}").hydra.launcher._target_.endswith(f".{target}")


@pytest.mark.parametrize("launcher", ["basic", "slurm"])
def test_the_line_chooses_another_launcher_than_the_experiment(
    launcher: str, compose: Compose
) -> None:
    line = ("experiment=quickstart",)
    assert compose(*line).hydra.launcher._target_.endswith(".JoblibLauncher")
    own = compose(f"launcher={launcher}")
    config = compose(*line, f"launcher={launcher}")
    assert config.hydra.launcher._target_ == own.hydra.launcher._target_
    assert config.trainer.progress == own.trainer.progress


def _run_folder(folder: Path) -> None:
    """What an earlier run leaves for those who take its evaluation over."""
    folder.mkdir()
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    arm = {"teacher": "gpt4", "collection": "alpaca", "answers": {"sha256": ""}}
    (folder / "arm.json").write_text(json.dumps(arm), encoding="utf-8")
    rouge = {"_target_": "understudy.eval.rouge.RougeScorer"}
    greedy = {"_target_": "understudy.models.generate.Decoding"}
    evaluation = {
        "scorers": [rouge],
        "decodings": [greedy],
        "reference_loss": False,
        "parts": ["lang"],
    }
    config = {"name": "earlier", "eval": evaluation}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=CHOICES)
def test_targets_are_ours_or_a_trusted_package(path: Path) -> None:
    for target in _targets(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert target.startswith(ALLOWED_TARGETS), target


def _targets(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.max_stps=3", "did you mean trainer.max_steps?"),
        ("trainer.max_steps=abc", "trainer.max_steps=VALUE"),
        ("modle=lab", "did you mean model?"),
        ("model=labb", "did you mean model=lab?"),
        ("data.budget=tokens", "expected one of [examples, supervised_tokens, steps]"),
        ("prompt.overlength=cut", "truncate_response"),
        ("a b", "type key=value"),
        ("seed=1,2", "add -m"),
    ],
)
def test_a_wrong_override_is_answered_in_one_line(
    override: str, said: str, compose: Compose
) -> None:
    assert said in _explained(compose, override)


def test_what_must_be_given_is_named(compose: Compose) -> None:
    config = compose("stage=report")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - OmegaConf's own
        OmegaConf.to_container(config.stage, resolve=True, throw_on_missing=True)
    assert explain(caught.value, []) == "runs is needed; type runs=VALUE"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.budget=steps", "model=scratch_10m"], "needs trainer.max_steps=N"),
        (["data.num_supervised_tokens=5"], "needs data.budget=supervised_tokens"),
        (["trainer.batch_size=0"], "type trainer.batch_size=N"),
        (["seed=-1"], "seed=-1"),
        (["trainer.devices=2"], "type trainer=ddp or trainer=fsdp"),
        (["data=alpaca_json"], "data.path is needed; type data.path=VALUE"),
        (["data=comparison_v2", "data.path=a.json"], "type stage=reward"),
        (["stage=reward", "data=lab_strong"], "data=comparison_json data.path=FILE"),
        (["stage=reward", "data.ties=half"], "expected one of [drop, soft]"),
        (["model=checkpoint"], "model.path is needed; type model.path=VALUE"),
        (["data.budget=supervised_tokens"], "trainer.max_steps=-1"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(
    overrides: list[str], said: str, compose: Compose
) -> None:
    assert said in _explained(compose, *overrides)


def test_an_arm_is_every_override_but_the_seed_however_it_is_spelled() -> None:
    assert normalised_arm(["seed=3", "data=lab_weak", "a=1"]) == "a=1,data=lab_weak"
    assert normalised_arm(["++seed=3", "+b=False", "a=2", "a=1"]) == "a=1,b=false"


def test_a_choice_on_the_command_line_wins_over_what_data_or_stage_choose(compose: Compose) -> None:
    assert compose("data=alpaca_json").prompt.template == "alpaca"
    assert compose("data=alpaca_json", "prompt=lab").prompt.template == "alpaca_compact"
    assert compose("stage=evaluate", "data=alpaca_json").prompt.template is None
