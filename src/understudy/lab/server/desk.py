"""One call from its body to its reply: valid, within the limits, answered, billed.

The same for calls over a connection and for those of a batch.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.lab.server.answers import models_of
from understudy.lab.server.bills import Bill, Bills, Prices
from understudy.lab.server.call import Call, content_of, read_call
from understudy.lab.server.errors import ApiError, Headers, unknown_model
from understudy.lab.server.faults import Fault, Faults
from understudy.lab.server.limits import Limits
from understudy.lab.server.replies import Choice, Names, choices_of, usage_of
from understudy.lab.server.settings import ServerConfig


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call's choices, not sent yet, with the bill that is due when they are."""

    call: Call
    choices: list[Choice]
    names: Names
    usage: dict[str, int]
    headers: Headers
    fault: Fault | None


class Desk:
    """Answers and bills."""

    def __init__(self, config: ServerConfig, bills: Path | None = None) -> None:
        """``bills`` is the file that the bills are in; null keeps none.

        Raises:
            InputError: A price or the file of bills is wrong.
        """
        self.config = config
        self.models = models_of(config.lab)
        self.bills = Bills(bills)
        self.limits = Limits(config.requests_per_minute, config.tokens_per_minute)
        self.faults = Faults(config.faults, config.seed)
        self.created = int(time.time())
        self._prices = Prices(config.prices)
        self.prefix = f"lab{secrets.token_hex(4)}"

    def id_of(self, kind: str, number: int) -> str:
        """What a request is called: "chatcmpl-lab1234abcd-17"."""
        return f"{kind}-{self.prefix}-{number}"

    def prepare(
        self, values: Mapping[str, Any], bill: Bill, *, is_chat: bool, fault: Fault | None
    ) -> Prepared:
        """The reply to a call; what is known of it is entered in the bill, which is not due yet.

        Raises:
            ApiError: The call is wrong, beyond the limits, or has a fault that is a refusal.
        """
        bill.content = content_of(values) if is_chat else f"text{content_of(values)}"
        fault = fault or self.faults.on(bill.number, bill.content)
        if bill.batch is not None and fault is not None and fault.is_of_connection:
            fault = None
        bill.fault = None if fault is None else fault.name
        if fault is not None and (error := fault.error()):
            raise error
        call = read_call(values, is_chat=is_chat, refuses=self.config.refuses)
        model = self.models.get(call.model)
        if model is None:
            raise unknown_model(call.model, self.models)
        bill.model = call.model
        choices = choices_of(call, model, fault)
        usage = usage_of(call, choices)
        headers = () if bill.batch else self.limits.take(usage["total_tokens"])
        kind = "chatcmpl" if is_chat else "cmpl"
        names = Names(self.id_of(kind, bill.number), int(time.time()), call.model)
        return Prepared(call, choices, names, usage, headers, fault)

    def bill(self, prepared: Prepared, bill: Bill) -> None:
        """Bills a reply that was sent whole."""
        bill.status, bill.outcome = 200, "answered"
        bill.is_full = all(choice.is_full for choice in prepared.choices)
        bill.prompt_tokens = prepared.usage["prompt_tokens"]
        bill.completion_tokens = prepared.usage["completion_tokens"]
        bill.picodollars = self._prices.of(
            bill.model, bill.prompt_tokens, bill.completion_tokens, batch=bill.batch is not None
        )
        self.bills.add(bill)

    def refuse(self, error: ApiError, bill: Bill) -> None:
        """Enters a refusal, which costs nothing."""
        bill.status, bill.outcome = error.status, "refused"
        self.bills.add(bill)

    def lose(self, bill: Bill, outcome: str, *, status: int = 0) -> None:
        """Enters a reply that did not arrive whole: nobody pays for it."""
        bill.status, bill.outcome = status, outcome
        self.bills.add(bill)
