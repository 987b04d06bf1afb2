"""The schemas and resolvers, registered by name where Hydra and OmegaConf look for them.

A value node is typed by a dataclass (``nodes``, ``stages``); an object node carries ``_target_``,
and the constructor's signature is its schema. Only this package and ``app`` know Hydra and
OmegaConf.
"""

from __future__ import annotations

from dataclasses import fields

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from understudy.config import stages
from understudy.config.nodes import Root
from understudy.config.resolvers import register_resolvers

_STAGE_SCHEMAS = {
    "report_schema": stages.ReportConfig,
    "dashboard_schema": stages.DashboardConfig,
    "score_schema": stages.ScoreConfig,
    "sample_schema": stages.SampleConfig,
    "reward_eval_schema": stages.RewardEvalConfig,
    "rank_schema": stages.RankConfig,
    "inspect_schema": stages.InspectConfig,
    "tour_schema": stages.TourConfig,
    "serve_schema": stages.ServeConfig,
    "push_schema": stages.PushConfig,
    "collect_schema": stages.CollectConfig,
    "translate_schema": stages.TranslateConfig,
    "rate_schema": stages.RateConfig,
    "selfinstruct_schema": stages.SelfInstructConfig,
}


def register() -> None:
    """Puts the schemas and resolvers where Hydra finds them by name."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Root)
    for name, node in _STAGE_SCHEMAS.items():
        store.store(name=name, node=_only_own_keys(node))
    register_resolvers()


def _only_own_keys(schema: type[Root]) -> DictConfig:
    """The schema with every key of the root unset, so that merging it changes no choice."""
    config: DictConfig = OmegaConf.structured(schema)
    for key in fields(Root):
        config[key.name] = MISSING
    return config
