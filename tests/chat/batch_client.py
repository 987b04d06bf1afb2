"""A process that asks the lab through its Batch API, to be killed: URL LEDGER COUNT."""

from __future__ import annotations

import sys

from understudy.chat.asking.asker import Asker
from understudy.chat.asking.prices import PriceList
from understudy.chat.batches.files import BatchRules
from understudy.chat.chat_model import ChatModel
from understudy.chat.requests import ChatRequest

PRICES = {"lab-strong": {"input": 30.0, "output": 60.0}}


def asker_of(url: str, ledger: str, **settings: object) -> Asker:
    """Asks the lab's best teacher; ``settings`` are the asker's own."""
    model = ChatModel(
        "strong", "lab-strong", base_url=url, identity="lab", key_env=None,
        params={"max_tokens": 20, "seed": 0}, retry_seconds=0.01,
    )  # fmt: skip
    chosen = {"batch": True, "batches": BatchRules(poll_seconds=0.02), **settings}
    return Asker(model, ledger, PriceList("2026-01-01", "-", PRICES), **chosen)  # type: ignore[arg-type]  # by name


def requests_of(count: int) -> list[ChatRequest]:
    """So many exercises of the lab."""
    return [
        ChatRequest.of_user(f"give the first item\n\nc a w{n}", id=f"row{n}") for n in range(count)
    ]


if __name__ == "__main__":
    url, ledger, count = sys.argv[1:]
    asker_of(url, ledger).ask(requests_of(int(count)), title="batches")
