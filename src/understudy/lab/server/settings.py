"""All that can be chosen of the server; the models' own knobs are those of rater and judge."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from understudy.lab.judge import Judge
from understudy.lab.rater import Rater
from understudy.lab.server.answers import Lab
from understudy.lab.server.faults import FaultRates
from understudy.lab.world import World
from understudy.records import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """How batches go: how long they take at least, and what share of their requests fails.

    Attributes:
        validating_seconds: How long a batch is validated.
        seconds: How long it then takes at least, however small it is.
        failed_rate: Share of its requests that fail with status 500.
    """

    validating_seconds: float = 0.5
    seconds: float = 2.0
    failed_rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuses times and shares that are none.

        Raises:
            InputError: A time is negative, or the share not from 0 to 1.
        """
        if min(self.validating_seconds, self.seconds) < 0 or not 0 <= self.failed_rate <= 1:
            raise InputError("server.batches: times are 0 or more, failed_rate is from 0 to 1")


@dataclass(frozen=True)
class ServerConfig:
    """What the server is.

    Attributes:
        world: Whose exercises the models know.
        host: Where it listens; other machines reach it on any but loopback.
        port: 0 takes a free one.
        key_env: The variable that holds the key that clients must send; null wants none.
        prices: Dollars a million tokens, ``input`` and ``output`` by model.
        refuses: Parameters that are answered with 400, as some models do.
        requests_per_minute: Beyond which it answers 429 itself.
        tokens_per_minute: The same for tokens, of prompts and completions.
        latency_seconds: How long each reply takes.
        seed: Of the faults.
        faults: What goes wrong.
        rater: Behind ``lab-rater``.
        judge: Behind ``lab-judge``.
        loses_numbers: Share of stand-in translations without their numbers.
        batches: How batches go.
    """

    world: World
    host: str = "127.0.0.1"
    port: int = 8321
    key_env: str | None = None
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    refuses: Sequence[str] = ()
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    latency_seconds: float = 0.0
    seed: int = 0
    faults: FaultRates = field(default_factory=FaultRates)
    rater: Rater = field(default_factory=Rater)
    judge: Judge = field(default_factory=Judge)
    loses_numbers: float = 0.0
    batches: BatchTimes = field(default_factory=BatchTimes)

    def __post_init__(self) -> None:
        """Refuses what no server can be.

        Raises:
            InputError: A port, limit, time or share is out of range.
        """
        if not 0 <= self.port <= 65535:
            raise InputError(f"server.port={self.port} is no port; type 0 for a free one")
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise InputError(f"server.{name}={limit}; give 1 or more, or null for no limit")
        if self.latency_seconds < 0:
            raise InputError(f"server.latency_seconds={self.latency_seconds} is below 0")
        _ = self.lab

    @property
    def lab(self) -> Lab:
        """What the models know."""
        return Lab(self.world, self.rater, self.judge, self.loses_numbers)

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK

    def key(self) -> str | None:
        """The key that clients must send; null where none is wanted.

        Raises:
            InputError: The variable that should hold it is not set.
        """
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env)
        if not key:
            raise InputError(
                f"server.key_env={self.key_env}: the variable is not set; export {self.key_env}=KEY"
            )
        return key
