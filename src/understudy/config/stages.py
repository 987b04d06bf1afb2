"""What single stages have beside the value nodes of every run: a schema a stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from understudy.config.nodes import Root


@dataclass
class ReportConfig(Root):
    """``stage=report``: the folder whose runs are compared."""

    runs: str = MISSING


@dataclass
class DashboardConfig(Root):
    """``stage=dashboard``: the folder, or entity/project, whose runs are shown."""

    runs: str = MISSING


@dataclass
class ScoreConfig(Root):
    """``stage=score``: a file of answers and the names of its fields."""

    answers: str = MISSING
    fields: dict[str, str | None] = field(default_factory=dict)


@dataclass
class TourConfig(Root):
    """``stage=tour``: the lines to run, in order, and how many of them side by side."""

    tour: Any = MISSING


@dataclass
class SampleConfig(Root):
    """``stage=sample``: who draws, how many answers to a question, and whether two more for B."""

    sampler: Any = MISSING
    n: int = MISSING
    baseline: bool = MISSING


@dataclass
class RewardEvalConfig(Root):
    """``stage=reward_eval``: the tokens that go through the reward model at once."""

    batch_tokens: int = MISSING


@dataclass
class RankConfig(Root):
    """``stage=rank``: whose samples are ranked, how many of a question, and what counts as gold."""

    samples: str = MISSING
    n: int | None = MISSING
    gold: str | None = MISSING
    batch_tokens: int = MISSING


@dataclass
class InspectConfig(Root):
    """``stage=inspect``: how many encoded rows to print."""

    rows: int = 3


@dataclass
class ServeConfig(Root):
    """``stage=serve``: the server that answers on this machine, and what it bills."""

    server: Any = MISSING
    prices: Any = MISSING


@dataclass
class PushConfig(Root):
    """``stage=push``: the run whose arm or checkpoint is saved, and the Hub repository, if any.

    ``license``: what the card states, such as cc-by-nc-4.0; null is unknown, and the card says so.
    """

    run: str = MISSING
    repo: str | None = None
    private: bool = True
    path: str | None = None
    license: str | None = None


@dataclass
class AskingConfig(Root):
    """What every stage has that asks a model behind an API.

    ``teacher``: who is asked. ``asker``: asks, keeps, counts and pays. ``ledger``: the file that
    every reply is in before anything else happens with it. ``budget_usd``: no request is made that
    could lead beyond it. ``batch``: through the provider's Batch API. ``limit``: only so many rows.
    ``max_failed``: the share of failed requests beyond which asking ends.
    """

    teacher: Any = MISSING
    prices: Any = MISSING
    asker: Any = MISSING
    ledger: str = MISSING
    budget_usd: float | None = None
    batch: bool = False
    limit: int | None = None
    max_failed: float = 0.05


@dataclass
class CollectConfig(AskingConfig):
    """``stage=collect``: the language that is asked for, null for that of each instruction."""

    lang: str | None = None


@dataclass
class TranslateConfig(AskingConfig):
    """``stage=translate``: the least share of Chinese characters in a translated instruction."""

    min_cjk: float = 0.3


@dataclass
class RateConfig(AskingConfig):
    """``stage=rate``: the runs or files whose answers are rated."""

    answers: Any = MISSING


@dataclass
class SelfInstructConfig(AskingConfig):
    """``stage=selfinstruct``: the seed tasks, how many instructions to invent, and how.

    ``invention``: what ``recipe=NAME`` chooses. It ends when fewer than ``min_acceptance`` of the
    candidates of the last ``patience`` rounds are accepted, or after ``max_rounds``.
    """

    seeds: str | None = None
    num_instructions: int = MISSING
    invention: Any = MISSING
    min_acceptance: float = MISSING
    patience: int = MISSING
    max_rounds: int | None = None
