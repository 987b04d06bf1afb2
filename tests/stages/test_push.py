"""What ``stage=push`` saves and pushes, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset  # type: ignore[import-untyped]  # it has none
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hub_server import TOKEN, Hub
from understudy.data.comparison_files import ComparisonFiles
from understudy.data.files import AnswerFile
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
from understudy.tracking.run import Run, RunSpec, open_run
from understudy.tracking.wandb_run import Tracking

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


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Run]]:
    """Opens runs of ``stage=push``, and closes them when the test ends."""
    open_ones: list[Any] = []

    def new() -> Run:
        number = len(open_ones)
        spec = RunSpec("push", "mine", "", 0, tmp_path / f"run{number}", {"number": number})
        entered = open_run(
            spec, Tracking("understudy", None, "disabled", log_text=True, checkpoints="off")
        )
        open_ones.append(entered)
        return entered.__enter__()

    yield new
    for entered in reversed(open_ones):
        entered.__exit__(None, None, None)


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


ASKING = {
    "name": "gpt4", "model": "gpt-4-0613", "api": "openai", "endpoint": "https://api.openai.com/v1",
    "params": {"temperature": 1.0, "max_tokens": 512}, "refused": [], "batch": False,
    "prices_of": "2026-01-01",
    "tally": {"prompt_tokens": 7, "completion_tokens": 9, "ledger_usd": 0.5},
}  # fmt: skip
ARM_FACTS = {
    "data": "alpaca_gpt35", "models": {"gpt-4-0613": 3}, "prompts_sha256": "f00d",
    "template": {"name": "alpaca", "sha256": ALPACA.sha256}, "left_out": {"duplicate": 2},
    "counts": {"rows": 3, "truncated": 1, "refused": 0, "empty": 0, "failed": 4},
    "tokens": {"prompt": 1234, "completion": 5678}, "usd": {"arm": 0.375},
}  # fmt: skip
COLLECTED = [
    {"id": "a", "instruction": "Name a color.", "input": "", "output": "red | `blue`",
     "lang": "en", "truncated": False, "references": {}},
    {"id": "b", "instruction": "列出颜色", "input": "三种", "output": "红色和黄色", "lang": "zh",
     "truncated": True, "references": {}},
    {"id": "c", "instruction": "Add {them}.", "input": "1 2", "output": "3", "lang": "en",
     "truncated": False, "references": {}},
]  # fmt: skip


def asked(folder: Path, stage: str, file: str, rows: Sequence[dict[str, Any]]) -> Path:
    """The folder of a finished run of a stage that asks."""
    write_jsonl(folder / file, rows)
    manifest = manifest_of(stage, {f"{stage}/rows": 3})
    manifest.asking = dict(ASKING)
    manifest.write(folder)
    return folder


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A finished run of ``stage=collect``."""
    folder = asked(tmp_path / "collect", "collect", "answers.jsonl", COLLECTED)
    (folder / "arm.json").write_text(json.dumps(ARM_FACTS))
    return folder


def test_an_arm_is_a_data_set_for_others_and_for_us(
    collected: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    push(run=opened(), **arguments(collected, path=str(folder), license="cc-by-nc-4.0"))
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    without = [{k: v for k, v in row.items() if k != "references"} for row in COLLECTED]
    assert loaded["train"].to_list() == without
    rows = AnswerFile(path=str(folder / "data/train.parquet"), teacher="gpt4").read().rows
    assert [(row.prompt.instruction, row.prompt.input, row.output) for row in rows] == [
        (row["instruction"], row["input"], row["output"]) for row in COLLECTED
    ]
    assert [row.prompt.lang for row in rows] == ["en", "zh", "en"]


def test_a_data_card_is_filled(collected: Path, opened: Callable[[], Run], tmp_path: Path) -> None:
    push(run=opened(), **arguments(collected, license="cc-by-nc-4.0"))
    text = (tmp_path / "run0/push/README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "language": ["en", "zh"], "license": "cc-by-nc-4.0", "size_categories": ["n<1K"],
        "task_categories": ["text-generation"], "pretty_name": "mine",
        "tags": ["understudy", "instruction-tuning"],
        "configs": [{"config_name": "default",
                     "data_files": [{"split": "train", "path": "data/train.parquet"}]}],
    }  # fmt: skip
    for said in (
        "| languages | 2 en, 1 zh |", "| instructions of | alpaca_gpt35 |",
        "| model, as asked for | gpt-4-0613 |",
        "| model, as the server called it | 3 gpt-4-0613 |",
        "| parameters | temperature 1.0, max_tokens 512 |", f"| template, sha256 | {ALPACA.sha256}",
        "| truncated | 1 |", "| failed | 4 |", "| left out before asking | 2 duplicate |",
        "| prompt tokens | 1,234 |", "| cost, USD | 0.3750 |", "| prices of | 2026-01-01 |",
        "| `output` | zh | characters | 1 | 5 | 5 | 5 | 5 |",
        "| `output` | en | words | 2 | 2 | 2 | 3 | 3 |",
        '"output": "red | `blue`"', "fall under its provider's terms",
        "python run.py stage=collect data=gpt4 seed=3",
        "stage=sft data=alpaca_json data.path=FOLDER/data/train.parquet",
    ):  # fmt: skip
        assert said in text, said
    assert not re.search(r"None|null|TODO|\|\s*\|\n", text.replace("|  |  |\n", ""))
    assert "the lab" not in text


def test_what_the_lab_wrote_is_said_to_be_the_labs(
    collected: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    file = collected / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["asking"]["endpoint"] = "lab"
    file.write_text(json.dumps(manifest))
    (collected / "arm.json").unlink()
    push(run=opened(), **arguments(collected))
    text = (tmp_path / "run0/push/README.md").read_text()
    assert "This comes from the lab" in text
    assert "- lab\n" in text
    assert "Licence: unknown; nobody has stated one" in text
    assert "| model, as the server called it | unknown |" in text
    assert "| completion tokens | 9 |" in text


def test_ratings_are_comparisons_for_a_reward_model(
    opened: Callable[[], Run], tmp_path: Path
) -> None:
    rows = [
        {"user_input": f"Name {n}.", "responses_and_scores": [
            {"response": "good one", "source": "gpt4", "score": 9.0},
            {"response": "", "source": "weak", "score": 2.5}]}
        for n in range(3)
    ]  # fmt: skip
    push(run=opened(), **arguments(asked(tmp_path / "rate", "rate", "comparisons.jsonl", rows)))
    saved = tmp_path / "run0/push"
    loaded = load_dataset(str(saved), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].to_list() == rows
    found = ComparisonFiles(path=str(saved / "data/train.parquet")).read().rows
    assert [[each.score for each in row.candidates] for row in found] == [[9.0, 2.5]] * 3
    assert "| `response of gpt4` | en | words | 3 | 2 |" in (saved / "README.md").read_text()


def test_parts_of_the_rows_become_splits(opened: Callable[[], Run], tmp_path: Path) -> None:
    rows = [{"instruction": "q", "output": "a", "split": name} for name in ("test", "dev", "test")]
    folder = asked(tmp_path / "sample", "sample", "samples.jsonl", rows)
    push(run=opened(), **arguments(folder))
    loaded = load_dataset(str(tmp_path / "run0/push"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"test": 2, "dev": 1}


@UPLOADS
def test_a_data_set_is_pushed_as_one(
    hub: Hub, collected: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    push(run=opened(), **arguments(collected, repo="me/arm", private=False))
    repo = hub.repos["datasets/me/arm"]
    assert not repo.private
    sent = (tmp_path / "run0/push/data/train.parquet").read_bytes()
    assert repo.files["data/train.parquet"] == sent
    assert b"load_dataset('me/arm')" in repo.files["README.md"]


def test_a_field_of_several_types_and_no_rows_are_refused(
    collected: Path, opened: Callable[[], Run]
) -> None:
    write_jsonl(collected / "answers.jsonl", [{"output": "a"}, {"output": {"b": 1}}])
    with pytest.raises(InputError, match="field 'output' holds values of several types"):
        push(run=opened(), **arguments(collected))
    (collected / "answers.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no rows, so there is nothing to save"):
        check(**arguments(collected))


def test_tokenizer_and_weights_are_those_of_the_run(
    model_run: Path, opened: Callable[[], Run], tmp_path: Path
) -> None:
    push(run=opened(), **arguments(model_run))
    saved, own = tmp_path / "run0/push", model_run / "checkpoints/last"
    first, second = (AutoModelForCausalLM.from_pretrained(each) for each in (saved, own))
    tokens = AutoTokenizer.from_pretrained(saved)("Red, yellow", return_tensors="pt")
    tokens.pop("token_type_ids", None)
    assert first(**tokens).logits.equal(second(**tokens).logits)
