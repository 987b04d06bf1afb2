"""The typed value nodes that every run has.

A wrong key or type in one of them fails while the config composes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING


class Overlength(Enum):
    """What happens to a row longer than ``prompt.max_length`` tokens."""

    drop = "drop"
    truncate_response = "truncate_response"
    truncate_prompt_left = "truncate_prompt_left"
    error = "error"


class Budget(Enum):
    """What is held equal between the arms of a comparison."""

    examples = "examples"
    supervised_tokens = "supervised_tokens"
    steps = "steps"


class StepsPerEpoch(Enum):
    """``ceil`` trains an epoch's last, partial window; ``hf_floor`` counts as HF's Trainer did."""

    ceil = "ceil"
    hf_floor = "hf_floor"


class Duplicates(Enum):
    """What happens to a row whose instruction and input stood before."""

    keep_first = "keep_first"
    error = "error"


class EmptyOutput(Enum):
    """What happens to a row whose output is empty."""

    error = "error"
    drop = "drop"


class SplitBy(Enum):
    """What stays together when rows are held out."""

    instruction = "instruction"
    row = "row"


class Decontaminate(Enum):
    """What happens to a training row that is, or nearly is, a question that will be asked."""

    off = "off"
    warn = "warn"
    drop = "drop"


class Ties(Enum):
    """What becomes of two answers with one score: no pair, or a pair with a target of 0.5."""

    drop = "drop"
    soft = "soft"


class InvalidScore(Enum):
    """What happens to an answer whose score is outside ``data.score_range``."""

    drop = "drop"
    error = "error"


class Histories(Enum):
    """Whether a conversation stays one, or becomes one instruction for templates of one turn."""

    keep = "keep"
    flatten = "flatten"


class Part(Enum):
    """All comparisons, or a side of the split that is made before training and validation."""

    all = "all"
    train = "train"
    test = "test"


@dataclass
class DataConfig:
    """An arm's answers: where they come from (``source``) and which of them train.

    ``peers``: the other arms of a comparison, as files or as source nodes. An instruction that one
    of them lacks leaves every arm. Under ``-m`` null means every other teacher of the sweep; an
    empty list means none.
    ``local``: local copies of Hub data, by the name of the arm (``data.local.alpaca_gpt4=PATH``).
    ``train_lang``: trains on the rows of one language, or on all (``mixed``, null); rows of every
    language are held out.
    ``max_length_ratio``: trains on the instructions whose answers in all arms differ in length by
    at most this factor.
    ``decontaminate``: training rows against the run's questions and the sets in ``avoid``;
    ``min_similarity`` is the least share of common word triples that counts as nearly the same.

    Of comparisons (``stage=reward``): ``sources`` are those whose answers are compared, ``subsets``
    the parts of the data that are read, ``rater`` who judged them, ``samples`` the run whose
    samples join them in the lab. ``ties``, ``invalid_score``, ``score_range`` and ``histories`` say
    what becomes of what; ``transitive`` adds pairs that follow from others; ``shuffle_labels`` is
    the control that must end at chance. ``part`` keeps ``test_fraction`` of the prompts for one
    last look (``data.part=train``, then ``data.part=test``).
    """

    source: dict[str, Any] = MISSING
    teacher: str | None = None
    path: Any = None
    local: dict[str, str] = field(default_factory=dict)
    peers: list[Any] | None = None
    empty_output: EmptyOutput = EmptyOutput.error
    duplicates: Duplicates = Duplicates.keep_first
    max_field_chars: int = 100_000
    lang: str = "auto"
    fields: dict[str, str] = field(default_factory=dict)
    train_lang: str | None = None
    max_length_ratio: float | None = None
    decontaminate: Decontaminate = Decontaminate.warn
    min_similarity: float = 0.7
    avoid: dict[str, Any] = field(default_factory=dict)
    num_examples: int | None = None
    num_val: int = 200
    max_val_fraction: float = 0.1
    split_by: SplitBy = SplitBy.instruction
    split_seed: int = 0
    budget: Budget = Budget.examples
    num_supervised_tokens: int | None = None
    min_common_fraction: float = 0.5
    sources: list[str] | None = None
    subsets: list[str] | None = None
    rater: str | None = None
    samples: str | None = None
    ties: Ties = Ties.drop
    invalid_score: InvalidScore = InvalidScore.drop
    score_range: list[float] | None = field(default_factory=lambda: [1.0, 10.0])
    histories: Histories = Histories.keep
    transitive: bool = False
    shuffle_labels: bool = False
    part: Part = Part.all
    test_fraction: float = 0.2
    cache_dir: str = "${output_dir}/cache"


@dataclass
class PromptConfig:
    """The template and how a row becomes tokens; a null template is the checkpoint's own."""

    template: str | None = "alpaca"
    response_sep: str = ""
    max_length: int = 512
    overlength: Overlength = Overlength.truncate_response
    train_on_inputs: bool = False
    max_dropped_fraction: float = 0.01


@dataclass
class TrainerConfig:
    """How long, in what batches and on which devices a model trains.

    ``max_steps`` of -1 and ``max_epochs`` of null leave it to the other; with both given, the
    lesser ends training. ``val_every`` is a fraction of the run below 1, else optimizer steps;
    so is ``save_every``, of the state that a run resumes from.
    """

    max_steps: int = -1
    max_epochs: int | None = None
    batch_size: int = 128
    micro_batch_tokens: int = 8192
    micro_batch_size: int | None = None
    gradient_clip_norm: float = 1.0
    steps_per_epoch: StepsPerEpoch = StepsPerEpoch.ceil
    val_every: float = 0.25
    save_every: float = 0.25
    log_every: int = 1
    accelerator: str = "auto"
    devices: str = "1"
    num_nodes: int = 1
    strategy: str = "auto"
    cpu_offload: bool = False
    precision: str = "32-true"
    progress: bool = True


class Margin(Enum):
    """By how much the better answer should lead: not at all, or more the larger the gap is."""

    none = "none"
    scaled = "scaled"
    llama2 = "llama2"


class Normalisation(Enum):
    """What a step's loss is a mean over: prompts, of the mean over their pairs, or pairs."""

    prompt_mean = "prompt_mean"
    pair_mean = "pair_mean"


class NormaliseOn(Enum):
    """Whose mean reward becomes 0 after training: each prompt's best answer's, all answers'."""

    best = "best"
    all = "all"
    nothing = "nothing"


@dataclass
class RewardConfig:
    """A reward model: one that was trained (``path``), or what a new one learns.

    ``pooling``: how the states of a text become one (last, mean, cls, sum); null is what the
    checkpoint has, else the last token of a decoder and the mean of an encoder. ``layers``: keeps
    the first so many of the backbone's. ``fit_head``: fits the head alone first, with this penalty.
    ``margin``, times ``margin_scale``: by how much the better answer should lead. ``lm_weight``:
    weight of the best answer's language-model loss. ``centring``: weight of the square of the sum
    of a pair's rewards, 0.01 in TRL.
    """

    path: str | None = None
    pooling: str | None = None
    layers: int | None = None
    fit_head: float | None = None
    margin: Margin = Margin.none
    margin_scale: float = 1.0
    normalisation: Normalisation = Normalisation.prompt_mean
    lm_weight: float = 0.0
    centring: float = 0.0
    normalise_on: NormaliseOn = NormaliseOn.best


@dataclass
class TrackingConfig:
    """Where runs are logged; ``mode``: auto, online, offline, disabled. WANDB_MODE wins.

    ``log_text``: whether instructions and answers go to W&B. ``checkpoints``: ``reference`` records
    where they lie, ``upload`` sends them, ``off`` does neither.
    """

    _target_: str = "understudy.tracking.wandb_run.Tracking"
    project: str = "understudy"
    entity: str | None = None
    mode: str = "auto"
    log_text: bool = True
    checkpoints: str = "reference"


@dataclass
class Root:
    """What every run has; a stage's own schema adds to it.

    ``ask`` names what may differ between the arms of a sweep or report, where it cannot be told
    from their overrides.
    ``resume``: the folder of a run or sweep to go on with; ``auto``: the newest unfinished one of
    the same line; ``never``: a new one. A sweep's null is ``auto``, a single run's ``never``.
    ``requeue``: the signals after which SLURM is asked to queue the job again, where the line then
    goes on with what it began (a sweep, or ``resume=auto``).
    ``objective``: the metric that names the best job of a sweep, and that a search looks for.
    """

    stage: Any = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    model: Any = MISSING
    adapter: Any = None
    lab: Any = MISSING
    questions: Any = MISSING
    prompt: PromptConfig = field(default_factory=PromptConfig)
    optimizer: Any = MISSING
    schedule: Any = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval: Any = MISSING
    reward: RewardConfig = field(default_factory=RewardConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    arm: Any = MISSING
    comparisons: Any = MISSING
    encoding: Any = MISSING
    recipe: Any = MISSING
    seed: int = 0
    threads: int | None = None
    name: str = "${first:${hydra:runtime.choices.experiment},${hydra:runtime.choices.data}}"
    ask: list[str] = field(default_factory=list)
    plan: bool = False
    recorded: bool = True
    output_dir: str = "outputs"
    resume: str | None = None
    requeue: list[str] = field(default_factory=lambda: ["SIGUSR1", "SIGUSR2", "SIGTERM"])
    objective: str | None = None
