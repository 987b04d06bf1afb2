"""What ``stage=push`` saves and pushes, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hub_server import TOKEN, Hub
from understudy.data.uploads import MARK
from understudy.models.folders import save_checkpoint
from understudy.prompts import ALPACA, ChatTemplate, Template
from understudy.records import (
    InputError,
    Instruction,
    Prediction,
    Question,
    RunError,
    prediction_to_json,
    question_to_json,
    write_jsonl,
)
from understudy.stages.push import check, plan
from understudy.stages.push import run as push
from understudy.tracking.manifest import Manifest
from understudy.tracking.run import Run

NOWHERE: dict[str, Any] = {"base": None, "dataset": None, "made_by": None, "window": 64}
UPLOADS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""The Hub's client hands bytes over in a way that its HTTP client wants otherwise."""

QUESTIONS = [
    Question(Instruction(f"q{n}", f"Name {n} `colors` | {{braces}}.", lang=lang), {"gpt4": "red"})
    for n, lang in enumerate(("en", "zh", "en"))
]
CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{{ m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def manifest_of(stage: str, metrics: dict[str, float | None]) -> Manifest:
    """The manifest of a finished run."""
    return Manifest(
        id=f"{stage}-0001", stage=stage, name="mine", arm="data=gpt4", seed=3, teacher="gpt4",
        base_model="tiny", status="finished", overrides=["data=gpt4", "seed=3"],
        git={"commit": "c0ffee", "dirty": True}, started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T01:00:00+00:00", versions={"python": "3.11"}, metrics=metrics,
        num_parameters=1000,
    )  # fmt: skip


def trained(
    folder: Path, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
    template: Template = ALPACA, stage: str = "sft",
) -> Path:  # fmt: skip
    """The folder of a finished run of ``stage`` with a checkpoint."""
    save_checkpoint(
        policy, tokenizer, folder / "checkpoints/last", template=template,
        extra={"base_model": "tiny"},
    )  # fmt: skip
    write_jsonl(folder / "held_out.jsonl", map(question_to_json, QUESTIONS))
    answers = [
        Prediction(each, "student", "red", scores={"eval/rouge_l": n / 2})
        for n, each in enumerate(QUESTIONS)
    ]
    write_jsonl(folder / "predictions.jsonl", map(prediction_to_json, answers))
    manifest_of(stage, {"eval/rouge_l": 0.5, "val/loss": 1.25}).write(folder)
    return folder


@pytest.fixture
def model_run(
    tmp_path: Path,
    make_policy: Callable[..., PreTrainedModel],
    tiny_tokenizer: PreTrainedTokenizerBase,
) -> Path:
    """A finished run of ``stage=sft``."""
    return trained(tmp_path / "sft", make_policy("llama"), tiny_tokenizer)


def arguments(of_run: Path, **values: object) -> dict[str, Any]:
    """What the config hands to the stage."""
    defaults = {"path": None, "repo": None, "private": True, "license": None, "origin": NOWHERE}
    return {"of_run": str(of_run), **defaults, **values}


def code_of(card: str) -> str:
    """The first block of Python in a card."""
    found = re.search(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_transformers_alone_loads_a_saved_model_and_its_card_is_filled(
    model_run: Path, opened: Callable[[], Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "saved"
    run = opened()
    origin = {**NOWHERE, "base": "owner/tiny", "dataset": "owner/data"}
    push(run=run, **arguments(model_run, path=str(folder), license="mit", origin=origin))
    text = (folder / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "base_model": "owner/tiny", "datasets": ["owner/data"], "language": ["en", "zh"],
        "library_name": "transformers", "license": "mit", "pipeline_tag": "text-generation",
        "tags": ["understudy", "instruction-tuning"],
    }  # fmt: skip
    assert "| ROUGE-L (`eval/rouge_l`) | .500 [.000, 1.00], n 3 |" in text
    assert "python run.py stage=sft data=gpt4 seed=3" in text
    assert "c0ffee with changes that were not committed" in text
    assert ALPACA.sha256 in text
    assert "Licence: mit" in text
    said = re.sub(r"```python.*?```", "", text, flags=re.DOTALL)
    assert not re.search(r"None|null|TODO|\|\s*\|\n", said.replace("|  |  |\n", ""))
    code = code_of(text).replace("owner/name", str(folder)).replace("'FOLDER'", repr(str(folder)))
    capsys.readouterr()
    exec(code.replace("max_new_tokens=256", "max_new_tokens=2"), {})
    assert capsys.readouterr().out.endswith("\n")
    prompt = ALPACA.render(QUESTIONS[0].prompt.instruction)
    assert repr(prompt) in code
    assert prompt in text.partition("```text\n")[2]
    assert run.manifest.parents == ["sft-0001"]
    assert run.manifest.teacher == "gpt4"


def test_a_chat_model_is_shown_as_its_own_template_writes_it(
    opened: Callable[[], Run],
    tmp_path: Path,
    make_policy: Callable[..., PreTrainedModel],
    tiny_tokenizer: PreTrainedTokenizerBase,
) -> None:
    folder = trained(tmp_path / "sft", make_policy("llama"), tiny_tokenizer, ChatTemplate(CHAT))
    push(run=opened(), **arguments(folder))
    text = (tmp_path / "run0/push/README.md").read_text()
    assert (
        "<|im_start|>user\nName 0 `colors` | {braces}.<|im_end|>\n<|im_start|>assistant\n" in text
    )
    assert "add_special_tokens=False" in code_of(text)


def test_a_reward_model_is_saved_with_code_that_gives_its_reward(
    opened: Callable[[], Run],
    tmp_path: Path,
    make_reward: Callable[..., PreTrainedModel],
    tiny_tokenizer: PreTrainedTokenizerBase,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reward = make_reward("llama")
    reward.config.reward_scale, reward.config.reward_shift = 1.0, 100.0
    folder = trained(tmp_path / "reward", reward, tiny_tokenizer, stage="reward")
    (folder / "predictions.jsonl").unlink()
    push(run=opened(), **arguments(folder))
    saved = tmp_path / "run0/push"
    text = (saved / "README.md").read_text()
    assert "pipeline_tag: text-classification" in text
    capsys.readouterr()
    exec(code_of(text).replace("FOLDER", str(saved)), {})
    assert 90 < float(capsys.readouterr().out) < 110
    assert AutoModelForSequenceClassification.from_pretrained(saved).num_labels == 1


def test_a_pooled_reward_model_is_asked_through_understudy(
    opened: Callable[[], Run],
    tmp_path: Path,
    make_reward: Callable[..., PreTrainedModel],
    tiny_tokenizer: PreTrainedTokenizerBase,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = trained(
        tmp_path / "reward", make_reward("bert", pooling="mean"), tiny_tokenizer, stage="reward"
    )
    (folder / "predictions.jsonl").unlink()
    push(run=opened(), **arguments(folder))
    saved = tmp_path / "run0/push"
    capsys.readouterr()
    exec(code_of((saved / "README.md").read_text()).replace("FOLDER", str(saved)), {})
    assert re.fullmatch(r"\[\[-?[0-9.]+\]\]\n", capsys.readouterr().out)


@UPLOADS
def test_what_was_pushed_is_on_the_hub_and_private(
    hub: Hub, model_run: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    values = arguments(model_run, path=str(folder), repo="me/mine")
    push(run=opened(), **values)
    repo = hub.repos["models/me/mine"]
    assert repo.private
    assert repo.messages == ["sft run sft-0001"]
    there = {each.name: each.read_bytes() for each in folder.iterdir()}
    assert there == {name: repo.files[name] for name in there}
    assert repo.files["model.safetensors"]
    assert "folder = 'me/mine'" in (folder / "README.md").read_text()
    repo.files |= {"old.safetensors": b"old", "image.png": b"theirs"}
    push(run=opened(), **values)
    assert repo.files.keys() == {*there, ".gitattributes", "image.png"}
    for written in tmp_path.rglob("*"):
        assert not written.is_file() or TOKEN.encode() not in written.read_bytes()


@UPLOADS
def test_the_hubs_refusals_are_one_line_without_the_token(
    hub: Hub, model_run: Path, opened: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = arguments(model_run, repo="me/mine")
    push(run=opened(), **values)
    repo = hub.repos["models/me/mine"]
    repo.private = False
    with pytest.raises(InputError, match="repo=me/mine is there already and public; type private="):
        push(run=opened(), **values)
    push(run=opened(), **{**values, "private": False})
    del repo.files[MARK]
    with pytest.raises(InputError, match="holds files that were not saved here"):
        push(run=opened(), **{**values, "private": False})
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(RunError, match="the Hub did not take it") as refused:
        push(run=opened(), **{**values, "repo": "me/other"})
    assert "hf_wrong" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("repo", "said"),
    [("mine", "names no owner"), ("a/b/c", "type repo=OWNER/NAME"), ("a b/c", "OWNER/NAME")],
)
def test_a_repository_is_owner_and_name(hub: Hub, model_run: Path, repo: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check(**arguments(model_run, repo=repo))
    assert hub.asked == []


def test_without_a_token_nothing_is_written(
    model_run: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    folder = tmp_path / "saved"
    with pytest.raises(InputError, match="export HF_TOKEN=TOKEN"):
        check(**arguments(model_run, path=str(folder), repo="me/mine"))
    assert not folder.exists()
    assert hub.asked == []


def test_a_folder_that_holds_anything_else_is_refused(
    model_run: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    values = arguments(model_run, path=str(folder))
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds files that were not saved here"):
        check(**values)
    (folder / "thesis.tex").unlink()
    push(run=opened(), **values)
    push(run=opened(), **values)
    readme = folder / "README.md"
    readme.write_text(readme.read_text() + "\nMy remark.")
    with pytest.raises(InputError, match=r"README\.md was changed or put there since"):
        check(**values)
    with pytest.raises(InputError, match="is a file; give a folder"):
        check(**{**values, "path": str(readme)})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"status": "failed"}, "is failed, not finished; go on with it first"),
        (
            {"stage": "report"},
            "is of stage=report, which leaves neither an arm nor a model",
        ),
    ],
)
def test_a_run_with_nothing_to_save_is_refused(
    model_run: Path, changed: dict[str, str], said: str
) -> None:
    file = model_run / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    with pytest.raises(InputError, match=said):
        check(**arguments(model_run))


def test_a_run_without_a_checkpoint_or_no_run_is_refused(model_run: Path, tmp_path: Path) -> None:
    (model_run / "checkpoints/last").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="left no checkpoint"):
        check(**arguments(model_run))
    with pytest.raises(InputError, match="is no run folder"):
        check(**arguments(tmp_path / "elsewhere"))


def test_the_plan_says_what_and_how_large_and_writes_nothing(
    model_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before: Sequence[Path] = sorted(model_run.rglob("*"))
    plan(seed=0, **arguments(model_run, repo="me/mine"))
    said = " ".join(capsys.readouterr().out.split())
    assert "pushed to me/mine, private, as a model" in said
    assert "licence unknown; type license=NAME" in said
    assert re.search(r"size about [0-9.]+ kB", said)
    assert sorted(model_run.rglob("*")) == before


def test_tokenizer_and_weights_are_those_of_the_run(
    model_run: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    push(run=opened(), **arguments(model_run))
    saved, own = tmp_path / "run0/push", model_run / "checkpoints/last"
    first, second = (AutoModelForCausalLM.from_pretrained(each) for each in (saved, own))
    tokens = AutoTokenizer.from_pretrained(saved)("Red, yellow", return_tensors="pt")
    tokens.pop("token_type_ids", None)
    assert first(**tokens).logits.equal(second(**tokens).logits)
