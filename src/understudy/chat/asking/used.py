"""What the replies came to that became rows, whenever they were paid: an earlier run counts too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.requests import Reply

_DIGITS = 12  # of a dollar; more would be the rounding of sums


@dataclass
class Used:
    """Counts each reply once, however often it is read.

    Attributes:
        models: What the server called the models that answered, with how many replies each gave.
        prompt_tokens: As billed, where the server counts them.
        completion_tokens: The same.
        usd: Null where a reply's price is not known.
        first: When the earliest reply was received, in UTC; "" where there is none.
        last: The same of the latest.
    """

    models: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0
    first: str = ""
    last: str = ""
    _seen: set[bytes] = field(default_factory=set, repr=False)

    def count(self, reply: Reply) -> None:
        """Counts a reply that was read."""
        digest = bytes.fromhex(reply.key)
        if digest in self._seen:
            return
        self._seen.add(digest)
        self.models[reply.model] += 1
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0
        known = self.usd is not None and reply.cost_usd is not None
        self.usd = (self.usd or 0.0) + (reply.cost_usd or 0.0) if known else None
        self.first = min(self.first or reply.created, reply.created)
        self.last = max(self.last, reply.created)

    @property
    def has_tokens(self) -> bool:
        """Whether the server counts tokens, as far as is known."""
        return not self.models or self.prompt_tokens + self.completion_tokens > 0

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "models": dict(sorted(self.models.items())),
            "prompt_tokens": self.prompt_tokens if self.has_tokens else None,
            "completion_tokens": self.completion_tokens if self.has_tokens else None,
            "usd": None if self.usd is None else round(self.usd, _DIGITS),
            "first_reply": self.first or None,
            "last_reply": self.last or None,
        }
